"""Causal analysis of a run's checkpoint, as files: arrays, tables and a page of pictures."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import plotly.graph_objects as go
import torch
import xarray as xr

from analysis.circuits import (
    EdgeScores,
    against_truth,
    circuit_curve,
    ranked,
    setting,
)
from analysis.circuits.scores import score
from analysis.circuits.setting import Setting
from analysis.circuits.truth import NoRankingError
from analysis.patching import sweep
from analysis.patching.sites import short_name
from analysis.plots.attention import attention_html, attention_patterns, named_tokens
from analysis.plots.circuit import circuit_figure
from analysis.plots.circuit_curves import circuit_curves_figure
from analysis.plots.page import figures_json, html_page, page
from analysis.plots.patching import patching_figure
from interp.arguments import complain
from interp.known_circuit import known_circuit
from interp.models.config import CompiledConfig, IterationHeadConfig
from interp.models.graph import Edge
from interp.models.partial import Network
from interp.models.transformer import TaskTransformer
from interp.models.true_circuit import Kind
from interp.runs.run import Run
from tasks.atomic import atomic_path, write_text
from tasks.pairs import Pairs

SWEPT = ("embed_a", "embed_b", "post", "resid_pre", "attn_out", "mlp_out", "z")
"""Hook points that are patched unless others are named: those of them that the network has; post,
the neurons, in networks without a residual stream."""
FAITHFUL = 0.9
"""Drawn is the smallest circuit of a ranking from which on no larger one is less faithful."""
N_RANDOM = 5
"""Random rankings beside a method's."""


def write_patching(
    run: Run,
    model: Network,
    pairs: Pairs,
    folder: Path,
    *,
    hooks: Sequence[str] = (),
    metric: str = "logit_difference",
    direction: Any = "noise",
) -> None:
    """Patch every layer, head and position of some hook points, those of `SWEPT` if none is named.

    Writes `patching.csv` (a row for each cell), `patching.nc` (the metric of every pair in every
    cell, to be read by xarray) and `patching.html`; of a transformer also `attention.html`, where
    its heads look in the first clean input.

    Raises `ValueError` as `analysis.patching.sweep` does.
    """
    found = {
        hook: sweep(model, pairs, hook, metric=metric, direction=direction)
        for hook in hooks or _swept(model)
    }
    tables = [result.frame().assign(hook=hook) for hook, result in found.items()]
    table = pd.concat(tables, ignore_index=True)
    arrays = {hook: result.values for hook, result in found.items()}
    first = next(iter(found.values()))
    arrays |= {"clean": first.clean, "corrupted": first.corrupted}
    about = f"{run.name}: {_in_what(pairs)}"
    figures = {
        hook: patching_figure(result, title=f"{hook}, {direction.removesuffix('e')}ing ({about})")
        for hook, result in found.items()
    }
    places = [axis for axis in ("hook", "layer", "head", "position") if axis in table]
    rest = [column for column in table if column not in places]
    _write(folder, "patching", table.loc[:, [*places, *rest]], xr.Dataset(arrays), about, figures)
    if isinstance(model, TaskTransformer):
        write_text(folder / "attention.html", _attention_page(run, model, pairs))


def _in_what(pairs: Pairs) -> str:
    return f"pairs differ in {pairs.variable.replace('+', ', ')}"


def _attention_page(run: Run, model: TaskTransformer, pairs: Pairs) -> str:
    tokens, names = named_tokens(run.recipe.task, pairs.clean.tokens[0])
    title = f"{run.name}: attention on a clean input"
    return html_page(title, attention_html(attention_patterns(model, tokens), names, title=title))


def _swept(model: Any) -> list[str]:
    names = {short_name(hook) for hook in model.hook_dict}
    skipped = {"post"} if "resid_pre" in names else set()
    return [hook for hook in SWEPT if hook in names - skipped]


def write_circuit(
    run: Run,
    model: Network,
    pairs: Pairs,
    folder: Path,
    *,
    method: str = "exact",
    ablation: str = "corrupted",
    metric: str = "logit_difference",
    n_edges: int | None = None,
    seed: int = 0,
) -> None:
    """Score every edge, and judge the circuits of the highest scores.

    Writes `circuit.csv` (a row for each edge; of a network that was made and not trained, with
    what the edge truly is), `circuit.nc` (the score of every pair and edge), `curve.csv`
    (faithfulness, completeness and minimality by the number of edges), `truth.csv` (how well the
    method finds a circuit that is known, unless the pairs leave nothing to judge it by) and
    `circuit.html`, which draws `n_edges` edges: if not given, as few as are `FAITHFUL`.

    Raises `ValueError` as `edge_scores` does, and for more edges than there are.
    """
    on = setting(model, pairs, metric, ablation, seed=seed)
    scores = score(on, method)
    ranking = ranked(scores.edges, scores.magnitude)
    curve = circuit_curve(on, ranking)
    n_drawn = fewest_faithful(curve) if n_edges is None else n_edges
    if not 0 <= n_drawn <= len(ranking):
        raise ValueError(f"{n_drawn} edges are to be drawn: the network has {len(ranking)}")
    kinds, table = _known_kinds(run, pairs), scores.frame()
    if kinds:
        named = {str(edge): kind for edge, kind in kinds.items()}
        table["truth"] = [named[edge] for edge in table["edge"]]
        _write_truth(folder / "truth.csv", scores, kinds)
    about = f"{run.name}: {method} scores, {ablation} ablation, {_in_what(pairs)}"
    drawn = circuit_figure(scores, ranking[:n_drawn], title=about, kinds=kinds)
    figures = {"circuit": drawn, "curve": _curve_figure(on, method, curve, about)}
    values = xr.DataArray(
        scores.values.cpu().numpy(),
        {"edge": list(map(str, scores.edges))},
        ("example", "edge"),
    )
    write_text(folder / "curve.csv", curve.to_csv(index=False))
    _write(folder, "circuit", table, xr.Dataset({"score": values}), about, figures)


def _write_truth(path: Path, scores: EdgeScores, kinds: Mapping[Edge, Kind]) -> None:
    try:
        found = against_truth(scores.edges, scores.magnitude, kinds)
    except NoRankingError as error:
        path.unlink(missing_ok=True)  # of other pairs
        complain(f"{path} is left out: {error}")
        return
    write_text(path, pd.DataFrame([found]).to_csv(index=False))


def fewest_faithful(curve: pd.DataFrame) -> int:
    """The number of edges from which on the circuits are faithful."""
    below = curve.loc[~(curve["faithfulness"] >= FAITHFUL), "edges"]
    return min(int(below.max()) + 1, len(curve) - 1) if len(below) else 0


def _known_kinds(run: Run, pairs: Pairs) -> Mapping[Edge, Kind] | None:
    """What the edges of a network truly are, if it was made."""
    config = run.recipe.model
    if isinstance(config, CompiledConfig):
        return known_circuit(run.recipe.task, pairs, hardness=config.hardness).kinds
    if isinstance(config, IterationHeadConfig):
        return known_circuit(run.recipe.task, pairs).kinds
    return None


def _curve_figure(on: Setting, method: str, curve: pd.DataFrame, title: str) -> go.Figure:
    generator = torch.Generator().manual_seed(0)
    n_edges = len(on.graph.edges)
    orders = [torch.randperm(n_edges, generator=generator).tolist() for _ in range(N_RANDOM)]
    random = [
        circuit_curve(on, [on.graph.edges[i] for i in order], minimality=False) for order in orders
    ]
    return circuit_curves_figure({method: curve}, title=title, random=random)


def _write(
    folder: Path,
    name: str,
    table: pd.DataFrame,
    arrays: xr.Dataset,
    title: str,
    figures: Mapping[str, go.Figure],
) -> None:
    with atomic_path(folder / f"{name}.nc") as temporary:
        arrays.to_netcdf(temporary, engine="scipy")
    write_text(folder / f"{name}.csv", table.to_csv(index=False))
    write_text(folder / f"{name}.html", page(title, figures))
    write_text(folder / f"{name}.figures.json", figures_json(figures))
