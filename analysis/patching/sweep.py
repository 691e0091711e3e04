"""Activation patching: part of one run's activations put into the other run of a pair.

Noising shows what a network cannot do without, denoising what is enough (Heimersheim and Nanda
2024, arXiv 2404.15255). All numbers are exact, those of one forward pass for each cell.
"""

from collections.abc import Mapping, Sequence
from itertools import product
from typing import Any

import xarray as xr
from torch import Tensor

from analysis.patching.engine import Cell, Runs, Which, record, run_cells
from analysis.patching.metrics import METRICS, Metric, named_metric
from analysis.patching.result import Direction, Patching
from analysis.patching.sites import Site, axes, hook_points
from interp.arguments import nearest
from interp.models.partial import Network
from tasks.pairs import Pairs

Coordinates = Mapping[str, Sequence[Any]]
RUNS: dict[str, tuple[Which, Which]] = {
    "noise": ("clean", "corrupted"),
    "denoise": ("corrupted", "clean"),
}
"""The run that is disturbed, and the one that the activations are from."""


def patch(
    model: Network,
    pairs: Pairs,
    cells: Mapping[str, Sequence[Site]],
    metric: str | Metric = "logit_difference",
    direction: Direction = "noise",
) -> Patching:
    """Patch named sets of sites, all sites of a set together.

    Args:
        model: any network with hook points.
        pairs: the inputs of both runs.
        cells: the sets.
        metric: one of `METRICS`, or any function like them.
        direction: noise puts the corrupted run's activations into the clean run, and denoise the
            clean run's into the corrupted run.

    Returns:
        Values [example, cell].

    Raises:
        ValueError: a hook point, a head, a position, the metric or the direction is not there, or
            the metric is not one number an example.
    """
    base, source = runs_of(direction)
    metric = named_metric(metric)
    found = named_sites(model, cells)
    runs = record(model, pairs, [hook for cell in found for hook, _ in cell], metric)
    values = run_cells(runs, found, getattr(runs, source), metric, base)
    return labelled(runs, values, {"cell": list(cells)}, metric, direction, source)


def sweep(
    model: Network,
    pairs: Pairs,
    hook: str = "z",
    over: Sequence[str] | None = None,
    metric: str | Metric = "logit_difference",
    direction: Direction = "noise",
) -> Patching:
    """Patch every cell of a grid over layers, heads and positions of one kind of activation.

    Args:
        model: any network with hook points.
        pairs: the inputs of both runs.
        hook: a hook point's name, in short (`resid_pre`, `attn_out`, `mlp_out`, `z`, `q`, `k`,
            `v`, `pattern`, `post`, `embed`, ...) for all layers, or in full for one.
        over: the axes of the grid, of layer, head and position (of a pattern: the query's). What
            is left out is patched at once. Not given: all that the activation has.
        metric: one of `METRICS`, or any function like them.
        direction: as in `patch`.

    Returns:
        Values [example, *over].

    Raises:
        ValueError: as in `patch`, or when the activation does not have an axis.
    """
    base, source = runs_of(direction)
    metric = named_metric(metric)
    points = hook_points(model, hook)
    runs = record(model, pairs, points.values(), metric)
    grid = _grid(runs, hook, points, over)
    cells: list[Cell] = [
        [
            (name, Site(name, place.get("head"), place.get("position")))
            for layer, name in points.items()
            if place.get("layer", layer) == layer
        ]
        for values in product(*grid.values())
        for place in [dict(zip(grid, values, strict=True))]
    ]
    values = run_cells(runs, cells, getattr(runs, source), metric, base)
    return labelled(runs, values, grid, metric, direction, source)


def named_sites(model: Network, cells: Mapping[str, Sequence[Site]]) -> list[Cell]:
    """The sites of every cell, with their hook points. Raises `ValueError` for unknown ones."""
    return [[(site.hook_point(model), site) for site in cell] for cell in cells.values()]


def labelled(
    runs: Runs,
    values: Tensor,
    grid: Coordinates,
    metric: Metric,
    direction: Direction,
    source: str,
    seed: int | None = None,
) -> Patching:
    """Values [example, cell] in the shape of their grid."""
    n_examples = len(values)
    shape = (n_examples, *map(len, grid.values()))
    names = {function: name for name, function in METRICS.items()}
    clean, corrupted = (
        xr.DataArray(runs.undisturbed(metric, which).cpu().numpy(), dims="example")
        for which in ("clean", "corrupted")
    )
    return Patching(
        xr.DataArray(values.cpu().numpy().reshape(shape), dict(grid), ("example", *grid)),
        clean,
        corrupted,
        names.get(metric) or getattr(metric, "__name__", type(metric).__name__),
        direction,
        source,
        runs.pairs.variable,
        seed,
    )


def runs_of(direction: str) -> tuple[Which, Which]:
    """The run that is disturbed, and the one that activations are from. Raises `ValueError`."""
    if direction not in RUNS:
        raise ValueError(
            f"direction is {direction!r}: it must be one of {', '.join(RUNS)}"
            f"{nearest(direction, RUNS)}"
        )
    return RUNS[direction]


def _grid(
    runs: Runs, hook: str, points: Mapping[int | None, str], over: Sequence[str] | None
) -> Coordinates:
    """The coordinates of the axes that are swept over."""
    name = next(iter(points.values()))
    activation = runs.clean[name]
    found = {} if None in points else {"layer": list(points)}
    sizes = dict(zip(axes(name, activation), activation.shape[1:-1], strict=True))
    found |= {axis: range(sizes[axis]) for axis in ("head", "position") if axis in sizes}
    for axis in over or ():
        if axis not in found:
            raise ValueError(
                f"over has {axis!r}: {hook} can be swept over {', '.join(found) or 'nothing'}"
                f"{nearest(axis, found)}"
            )
    return found if over is None else {axis: found[axis] for axis in over}
