"""How well methods find a circuit that is known: rows of the tables of `paper.circuits`."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pandas as pd
import torch

from analysis.circuits import (
    METHODS,
    EdgeScores,
    against_truth,
    area,
    circuit_curve,
    evaluate_circuit,
    missed,
    ranked,
    setting,
)
from analysis.circuits.scores import random, score
from analysis.circuits.setting import Setting
from analysis.circuits.truth import nodes_against_truth
from interp.models.graph import Edge, node_of
from interp.models.partial import Network
from interp.models.true_circuit import Circuit, Kind
from tasks.pairs import Pairs

ABLATIONS = ("corrupted", "zero", "mean", "position_mean", "resample")
METRIC = "margin"
"""Linear in the logits, and moved by any answer that changes."""
N_DRAWS = 100
"""Random scores, whose judgements are averaged."""
N_CURVES = 3
"""The same, of those whose circuits are run."""
TRUE: tuple[tuple[Kind, ...], ...] = (("variable",), ("variable", "constant"))
"""Edges that make up the true circuit: constant ones matter where cut edges carry what never
occurs."""
SMALL = 1e-5
"""Changes of the metric up to this are leakage."""

Rows = list[dict[str, Any]]


@dataclass(frozen=True, eq=False)
class Known:
    """A network, pairs, and which of its edges carry what on these."""

    name: str
    hardness: float
    model: Network
    pairs: Pairs
    truth: Circuit


def rows(circuit: Known, *, with_areas: bool) -> dict[str, Rows]:
    """Every method under every ablation.

    Returns:
        benchmark: how well the scores find the true circuit.
        faithfulness: the areas under the curves of the circuits of the highest scores, which take
            long: only if asked for.
        truth: the faithfulness, completeness and minimality of the true circuit.
        missed: the variable edges that exact patching of corrupted messages does not find.
    """
    found: dict[str, Rows] = {"benchmark": [], "faithfulness": [], "truth": [], "missed": []}
    name = {"circuit": circuit.name, "hardness": circuit.hardness}
    for ablation in ABLATIONS:
        on = setting(circuit.model, circuit.pairs, METRIC, ablation)
        found["truth"] += [name | row for row in true_rows(on, circuit.truth)]
        for method in METHODS:
            label = name | {"method": method, "ablation": ablation}
            begin = time.perf_counter()
            draws = drawn(on, method)
            seconds = {"seconds": (time.perf_counter() - begin) / len(draws)}
            found["benchmark"].append(label | judged(draws, circuit.truth) | seconds)
            if with_areas:
                found["faithfulness"].append(label | areas(on, draws[:N_CURVES]))
            if (method, ablation) == ("exact", "corrupted"):
                found["missed"] += [name | row for row in missed_rows(on, draws[0], circuit.truth)]
    return found


def drawn(on: Setting, method: str) -> list[EdgeScores]:
    """The scores by a method; many of them if they are random."""
    scores = score(on, method)
    if method != "random":
        return [scores]
    return [replace(scores, values=random(on, seed=seed)) for seed in range(N_DRAWS)]


def judged(draws: Sequence[EdgeScores], truth: Circuit) -> dict[str, float]:
    """How well edges and nodes are ranked, on average."""
    found = [
        against_truth(scores.edges, scores.magnitude, truth.kinds)
        | nodes_against_truth(scores.nodes(), truth.kinds)
        for scores in draws
    ]
    return pd.DataFrame(found).mean().to_dict()


def areas(on: Setting, draws: Sequence[EdgeScores]) -> dict[str, float]:
    """The areas under the curves of faithfulness and completeness, on average."""
    curves = [
        circuit_curve(on, ranked(scores.edges, scores.magnitude), minimality=False)
        for scores in draws
    ]
    qualities = ("faithfulness", "completeness")
    found = [{quality: area(curve, quality) for quality in qualities} for curve in curves]
    return pd.DataFrame(found).mean().to_dict()


def true_rows(on: Setting, truth: Circuit) -> Iterator[dict[str, Any]]:
    """How good the true circuit is, without and with its constant edges."""
    for kinds in TRUE:
        edges = [edge for kind in kinds for edge in truth.edges(kind)]
        label = {"ablation": on.ablation, "kinds": " and ".join(kinds), "edges": len(edges)}
        yield label | evaluate_circuit(on, edges)


def missed_rows(on: Setting, scores: EdgeScores, truth: Circuit) -> Iterator[dict[str, Any]]:
    """The variable edges that are not found, and why."""
    for edge in missed(scores.edges, scores.magnitude, truth.kinds):
        yield {"edge": str(edge), "reason": why_missed(on, edge, truth.edges("variable"))}


def why_missed(on: Setting, edge: Edge, variable: list[Edge]) -> str:
    """Why cutting an edge alone changes no answer, though it carries a variable."""
    node = node_of(edge.receiver)
    if not _effect(on, [e for e in variable if e.sender == node]) and node in on.graph.senders:
        return f"unreachable: no answer changes with what {node} writes"
    for other in variable:
        if other != edge and _effect(on, [edge, other], beside=[other]):
            return f"redundant: it matters where {other} is cut too"
    return f"saturated: on every pair {edge.receiver} does the same with either message"


def _effect(on: Setting, edges: list[Edge], beside: list[Edge] | None = None) -> bool:
    """Whether any example changes when edges are cut, compared with others cut."""
    weights = torch.stack([on.graph.weights(edges), on.graph.weights(beside or [])])
    with_edges, without = on.cut(weights)
    return bool((with_edges - without).abs().max() > SMALL)
