"""Pictures: what is in them, on which axes, and what is left out."""

import math

import pandas as pd
import plotly.graph_objects as go
import pytest
import torch

from analysis.plots import curves as curve_plots
from analysis.plots.curves import component_curves, curves, history_curves, total_curves
from analysis.plots.embedding import (
    Embedding,
    circles_figure,
    embeddings_of,
    energy_figure,
    entries_figure,
)
from analysis.plots.gallery import curve_figures, model_figures, seed_figures
from analysis.plots.program import explanation_figure
from analysis.plots.seeds import key_irrep_frequency, key_irrep_number, learning_order
from analysis.plots.style import line_style
from interp.models.anatomy import hidden_layer
from interp.models.config import BilinearConfig, MLPConfig, TransformerConfig
from interp.rasp import compile_program
from interp.rasp.programs import sort
from interp.runs.recipe import Recipe, Schedule
from interp.runs.run import Run
from tasks.composition import GroupComposition
from tasks.groups import find_irrep, finite_group, irreps


def metrics(values: dict[tuple[str, str], list[float]], **columns) -> pd.DataFrame:
    """Measurements at steps 0, 1, 10, ... by metric and component."""
    rows = [
        {"step": int(10 ** (i - 1)), "metric": metric, "component": component, "value": value}
        for (metric, component), series in values.items()
        for i, value in enumerate(series)
    ]
    return pd.DataFrame(rows).assign(**columns)


def similarity(count: int, **columns) -> pd.DataFrame:
    many = {("logits/similarity", f"irrep:freq_{k}"): [0.0, 0.1, 0.2] for k in range(1, count + 1)}
    return metrics(many, **columns)


def assert_axes_have_titles(figure: go.Figure) -> None:
    """Every axis, or of a grid of equal axes those at its edge."""
    assert figure.layout.title.text
    assert any(axis.title.text for axis in figure.select_xaxes())
    assert any(axis.title.text for axis in figure.select_yaxes())


C5 = finite_group("C5")
TURNING = torch.stack(
    [torch.tensor([f(4 * math.pi * g / 5) for g in range(5)]) for f in (math.cos, math.sin)], dim=1
)
"""An embedding of C5 that turns at frequency 2."""
KEYS = {"a": ["sign", "standard"], "b": ["standard", "[3,2]", "sign"], "c": ["sign"]}
HISTORY = pd.DataFrame(
    {"step": [0, 1, 10] * 2, "split": ["train"] * 3 + ["test"] * 3, "loss": [3.0, 2, 1, 3, 3, 2]}
)

FIGURES = {
    "curves": lambda: curves(similarity(2).assign(line="x"), "t", "y"),
    "history": lambda: history_curves(HISTORY, "loss", "t", "y", log_y=True),
    "totals": lambda: total_curves(metrics({("a", ""): [1.0, 2]}), {"a": "A"}, "t", "y"),
    "components": lambda: component_curves(similarity(3), "logits/similarity", "t", "y"),
    "frequency": lambda: key_irrep_frequency(KEYS),
    "number": lambda: key_irrep_number(KEYS),
    "order": lambda: learning_order(KEYS),
    "energy": lambda: energy_figure(Embedding(C5, TURNING), "t"),
    "entries": lambda: entries_figure(Embedding(C5, TURNING), "freq_2", "t"),
    "circles": lambda: circles_figure(Embedding(C5, TURNING), ["freq_2"], "t"),
}


@pytest.mark.parametrize("name", FIGURES)
def test_every_figure_has_titles_on_its_axes(name):
    figure = FIGURES[name]()
    assert isinstance(figure, go.Figure) and figure.data
    assert_axes_have_titles(figure)


def test_steps_are_logarithmic_and_step_zero_is_left_out_there():
    figure = FIGURES["history"]()
    assert figure.layout.xaxis.type == "log" and figure.layout.yaxis.type == "log"
    assert [list(trace.x) for trace in figure.data] == [[1, 10]] * 2
    assert [trace.name for trace in figure.data] == ["train", "test"]


def test_a_single_checkpoint_is_a_marker_on_a_linear_axis():
    figure = total_curves(metrics({("a", ""): [1.0]}), {"a": "A"}, "t", "y")
    assert figure.layout.xaxis.type != "log"
    assert list(figure.data[0].x) == [0] and figure.data[0].mode == "markers"


def test_values_without_a_logarithm_are_left_out():
    figure = total_curves(
        metrics({("a", ""): [1.0, 0.0, 0.1, 0.2]}), {"a": "A"}, "t", "y", log_y=True
    )
    assert list(figure.data[0].y) == [0.1, 0.2]


def test_several_runs_are_faint_under_their_mean():
    both = pd.concat(
        [metrics({("a", ""): [1.0, 2, 3]}, run="r"), metrics({("a", ""): [3.0, 4]}, run="s")]
    )
    faint, mean = total_curves(both, {"a": "A"}, "t", "y").data
    assert faint.opacity < 1 and not faint.showlegend and mean.name == "A"
    assert list(mean.x) == [1] and list(mean.y) == [3.0]  # at step 10 one of them is missing
    assert [y for y in faint.y if not math.isnan(y)] == [2.0, 3.0, 4.0]


def test_many_components_are_grey_but_for_the_first():
    figure = component_curves(
        similarity(30), "logits/similarity", "t", "y", first=["freq_7", "freq_3"]
    )
    assert [trace.name for trace in figure.data] == ["freq_7", "freq_3", curve_plots.OTHERS]
    others = figure.data[-1]
    assert sum(math.isnan(y) for y in others.y) == 28 and others.showlegend


def test_lines_that_share_a_colour_differ_in_dash():
    styles = [tuple(line_style(position).values()) for position in range(36)]
    assert len(set(styles)) == 36


def test_frequency_number_and_order_count_runs():
    bars = key_irrep_frequency(KEYS).data[0]
    assert dict(zip(bars.y, bars.x, strict=True)) == {"sign": 3, "standard": 2, "[3,2]": 1}
    bars = key_irrep_number(KEYS).data[0]
    assert dict(zip(bars.y, bars.x, strict=True)) == {"1": 1, "2": 1, "3": 1}
    by_place = {bar.name: dict(zip(bar.y, bar.x, strict=True)) for bar in learning_order(KEYS).data}
    assert by_place["first"] == {"sign": 2, "standard": 1, "[3,2]": 0}
    assert by_place["third"] == {"sign": 1, "standard": 0, "[3,2]": 0}
    assert set(by_place) == {"first", "second", "third"}


def test_an_embedding_that_turns_lies_in_its_irrep_and_on_a_circle():
    embedding = Embedding(C5, TURNING)
    heat = energy_figure(embedding, "t").data[0]
    sizes = dict(zip(heat.y, heat.z, strict=True))
    assert sizes["freq_2"] == pytest.approx([math.sqrt(2.5)] * 2)
    assert sizes["freq_1"] == pytest.approx([0, 0], abs=1e-6)
    circle = circles_figure(embedding, ["freq_2"], "t").data[0]
    radii = [math.hypot(x, y) for x, y in zip(circle.x, circle.y, strict=True)]
    assert radii == pytest.approx([1.0] * 5)
    assert list(circle.marker.color) == [0, 0.4, 0.8, 0.2, 0.6]


def test_coefficients_on_matrix_entries_are_those_put_in():
    group = finite_group("S4")
    entries = find_irrep(group, "standard").matrices.flatten(1)
    heat = entries_figure(Embedding(group, entries[:, [5, 0]]), "standard", "t").data[0]
    assert heat.y[0] == "ρ(1,1)" and heat.z.shape == (9, 2)
    assert heat.z[0, 0] == pytest.approx(math.sqrt(24 / 3))  # |rho_ij|^2 = n / d
    assert heat.z[5, 1] == pytest.approx(math.sqrt(24 / 3))


@pytest.mark.parametrize(
    "config", [MLPConfig(d_embed=8, d_mlp=6), BilinearConfig(), TransformerConfig()]
)
def test_embeddings_of_a_network_keep_their_size_in_each_irrep(config):
    task = GroupComposition("S4", equals_token=isinstance(config, TransformerConfig))
    model = config.build(task, seed=0)
    embeddings = embeddings_of(model, task)
    matrices = hidden_layer(model).embeddings
    assert list(embeddings) == (["a"] if task.equals_token else ["a", "b"])
    for embedding, matrix in zip(embeddings.values(), matrices, strict=False):
        assert embedding.matrix.shape[0] == 24  # without the transformer's = token
        before = Embedding(task.finite_group, matrix[:24].detach())
        for irrep in ("trivial", "sign", "standard"):
            size = float(before.in_irrep(irrep).norm())
            assert float(embedding.in_irrep(irrep).norm()) == pytest.approx(size)


@pytest.mark.parametrize("frequencies", [1, 3, 5, 8, 12])
def test_circles_fill_a_grid_without_empty_axes(frequencies):
    group = finite_group("C29")
    names = [irrep.name for irrep in irreps(group)[1:]][:frequencies]
    random = torch.randn(29, 40, generator=torch.Generator().manual_seed(0))
    embedding = Embedding(group, random)
    figure = circles_figure(embedding, names, "t")
    shown = [note.text for note in figure.layout.annotations]
    assert len(figure.data) == len(list(figure.select_xaxes())) == len(shown)
    sizes = {name: float(embedding.in_irrep(name).norm()) for name in names}
    eighth = sorted(sizes.values(), reverse=True)[: min(frequencies, 8)][-1]
    assert shown == [name for name in names if sizes[name] >= eighth]


def run_of(folder, model, task, **summary) -> Run:
    run = Run.create(folder, Recipe(task=task, model=model, schedule=Schedule(steps=1)))
    network = run.recipe.model.build(task, 0)
    run.save_weights(1, dict(network.named_parameters()))
    run.write_json("summary.json", {"step": 1, **summary})
    return run


def test_an_mlp_has_two_embeddings_and_a_transformer_one(tmp_path):
    task = GroupComposition("C5")
    mlp = run_of(tmp_path / "mlp", MLPConfig(8, 6), task, key_irreps=["freq_1"])
    names = {f"embed_{operand}_{what}" for operand in "ab" for what in ("energy", "circles")}
    assert set(model_figures(mlp)) == names
    task = GroupComposition("S3", equals_token=True)
    config = TransformerConfig(d_model=8, n_heads=1, d_head=4, d_mlp=6)
    transformer = run_of(tmp_path / "transformer", config, task, key_irreps=["sign"])
    figures = model_figures(transformer)
    assert set(figures) == {"embed_a_energy", "embed_a_in_sign"}
    assert "principal direction" in figures["embed_a_energy"].layout.xaxis.title.text


def test_the_gallery_follows_what_was_measured(tmp_path):
    run = run_of(tmp_path / "a", MLPConfig(8, 6), GroupComposition("C5"), key_irreps=["freq_2"])
    same = {
        (f"{layer}/{kind}_loss", component): [3.0, 2.0, 1.0]
        for layer in ("hidden", "model")
        for kind in ("excluded", "restricted")
        for component in ("", "irrep:freq_1", "irrep:freq_2")
    }
    run.write_metrics(
        pd.concat(
            [similarity(2), metrics(same), metrics({("mine/score", ""): [1.0, 2.0, 3.0]})],
            ignore_index=True,
        )
    )
    figures = curve_figures([run])
    assert set(figures) == {
        "logits_similarity_by_irrep",
        "hidden_losses",  # model_losses would say the same
        "hidden_excluded_loss_by_irrep",
        "hidden_restricted_loss_by_irrep",
        "mine_score",
    }
    assert figures["logits_similarity_by_irrep"].data[0].name == "freq_2"
    for figure in figures.values():
        assert_axes_have_titles(figure)
    assert seed_figures([run]) == {}


def test_a_compiled_program_is_drawn_part_by_part():
    explanation = compile_program(sort(), "abc", 4).explain()
    figure = explanation_figure(explanation)
    written = [annotation.text for annotation in figure.layout.annotations]
    assert len(written) == explanation.n_layers * (explanation.n_heads + 1)
    assert sum(text != "" for text in written) == len(explanation.parts)
    assert any("sort = " in text and "<" not in text.replace("<br>", "") for text in written)
