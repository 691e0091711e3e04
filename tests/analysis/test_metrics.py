from pathlib import Path

from analysis.metrics import REPRESENTATION_METRICS, metrics_page
from analysis.representation import representation_metrics
from interp.models.config import TransformerConfig
from tasks.composition import GroupComposition


def test_the_documented_metrics_are_those_that_are_measured():
    task = GroupComposition("C5", train_fraction=0.5, equals_token=True)
    config = TransformerConfig(n_heads=1, d_model=4, d_head=4, d_mlp=4)
    measured = representation_metrics(config.build(task, 0), task)
    assert set(measured) == {metric.name for metric in REPRESENTATION_METRICS}
    for metric in REPRESENTATION_METRICS:
        assert metric.per_irrep == any(c.startswith("irrep:") for c in measured[metric.name])


def test_the_page_is_up_to_date():
    page = Path(__file__).parents[2] / "docs" / "metrics.md"
    assert page.read_text() == metrics_page(), "write docs/metrics.md anew from metrics_page()"
