"""Ablation: part of a run's activations replaced by something that carries no information."""

from collections.abc import Mapping, Sequence

from analysis.patching.engine import record, run_cells
from analysis.patching.metrics import Metric, named_metric
from analysis.patching.plan import READS
from analysis.patching.replacement import Ablation, is_token, replacements
from analysis.patching.result import Patching
from analysis.patching.sites import Site
from analysis.patching.sweep import labelled, named_sites
from interp.models.partial import Network
from tasks.pairs import Pairs
from tasks.task import Examples


def ablate(
    model: Network,
    inputs: Pairs | Examples,
    cells: Mapping[str, Sequence[Site]],
    metric: str | Metric = "margin",
    how: Ablation = "mean",
    seed: int = 0,
) -> Patching:
    """Ablate named sets of sites in the clean run, all sites of a set together.

    Args:
        model: any network with hook points.
        inputs: pairs, whose corrupted run is what `normalised` compares with; or examples.
        cells: the sets.
        metric: one of `METRICS`, or any function like them. Examples by themselves have no
            changed answers: of those with names, margin and kl are theirs.
        how: what is put in, as in `replacements`: zero, mean, position_mean or resample.
        seed: draws the other examples.

    Returns:
        Values [example, cell].

    Raises:
        ValueError: as in `patch`; or the ablation is not there, the metric reads nothing, or one
            example is to be resampled.
    """
    metric, found = named_metric(metric), named_sites(model, cells)
    pairs = inputs if isinstance(inputs, Pairs) else Pairs(inputs, inputs)
    hooks = [hook for cell in found for hook, _ in cell]
    runs = record(model, pairs, hooks, metric)
    if metric in READS and not READS[metric](runs.reference.pairs).any():
        raise ValueError(
            "the metric is about the positions where clean and corrupted answers differ, and there "
            "are none: use margin or kl, or pairs with other answers"
        )
    clean = {hook: runs.clean[hook] for hook in hooks}
    sources = replacements(clean, is_token(model, runs.tokens("clean")), how, seed)
    values = run_cells(runs, found, sources, metric, "clean")
    drawn = seed if how == "resample" else None
    return labelled(runs, values, {"cell": list(cells)}, metric, "noise", how, drawn)
