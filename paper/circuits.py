"""How well methods find circuits that are known: `python -m paper.circuits --out OUT`.

Writes `circuit_benchmark.csv` (plain numbers, a row for each circuit, hardness, method and
ablation), `circuit_benchmark.md` (means over circuits) and `circuit_missed.md` (the true edges that
exact patching does not find, and why).
"""

import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from tyro.conf import Positional

from analysis.circuits import METHODS, EdgeScores, against_truth, missed, setting
from analysis.circuits.setting import Setting
from interp.arguments import UsageError
from interp.known_circuit import known_circuit
from interp.models.graph import Edge, node_of
from interp.models.iteration_head import GAP, iteration_head
from interp.models.partial import Network
from interp.models.true_circuit import Circuit
from interp.progress import Show, progress
from interp.rasp import compile_task
from paper.command import refuse_unknown, run_module
from paper.tables import Table, markdown, write_files
from tasks.iteration import Copy, GroupProduct, IterationTask, Mixed, Parity, Polynomial
from tasks.pairs import Pairs, pairs_of_all_variables
from tasks.sequences import (
    DominantPeak,
    Fraction,
    Histogram,
    Palindrome,
    Peak,
    Reverse,
    Sort,
    Triplets,
)
from tasks.task import Task

TASKS: dict[str, Task] = {
    "peak": Peak("0..4", max_length=8),
    "dominant_peak": DominantPeak("0..6", max_length=8),
    "palindrome": Palindrome("a..e", max_length=8),
    "fraction": Fraction("x,a..c", max_length=8),
    "histogram": Histogram("a..e", max_length=8),
    "reverse": Reverse("a..e", max_length=8),
    "sort": Sort("a..e", max_length=8),
    "triplets": Triplets("a..e", max_length=8),
    "copy": Copy(max_length=8),
    "parity": Parity(max_length=8),
    "polynomial": Polynomial(modulus=5, max_length=8),
    "product_S3": GroupProduct(group="S3", max_length=8),
    "mixed": Mixed(max_length=8),
}
"""The compiled programs, and the problems whose iteration head is set by hand."""
TRACR = 100.0
HARDNESS = (None, TRACR)
"""Of compiled programs: the least that keeps their leakage within 1e-6, and tracr's, which is that
of iteration heads too."""
ABLATIONS = ("corrupted", "zero", "mean", "position_mean", "resample")
METRIC = "margin"
"""Linear in the logits, and moved by any answer that changes."""
PRINTED = {
    "auroc": "AUROC, variable against absent edges among live nodes",
    "auroc_all_nodes": "AUROC with dead nodes",
    "average_precision": "Average precision",
    "recall": "Share of the variable edges that are found at all",
    "seconds": "Seconds a circuit",
}
"""Columns of the table on the page, each a mean over circuits."""
SMALL = 1e-5
"""Changes of the metric up to this are leakage."""


@dataclass(frozen=True)
class Options:
    """Score all edges of networks whose circuit is known, by every method, against the truth."""

    circuits: Positional[tuple[str, ...]] = ()
    """Such as peak or polynomial; all of them if none is named."""
    out: Path = Path("tables")
    """Folder for the tables."""
    pairs: int = 10
    """Pairs of inputs for every variable of a task."""
    quiet: bool = False
    """Show no progress."""


@dataclass(frozen=True, eq=False)
class Known:
    """A network, pairs, and which of its edges carry what on these."""

    name: str
    hardness: float
    model: Network
    pairs: Pairs
    truth: Circuit


def known(name: str, n_pairs: int) -> Iterator[Known]:
    """The networks that are made for a task, at every hardness.

    The pairs differ in one variable of the task, for each of them, or in all of the input, its
    length too.
    """
    task = TASKS[name]
    pairs = pairs_of_all_variables(task, n_pairs)
    if isinstance(task, IterationTask):
        yield Known(name, GAP, iteration_head(task).double(), pairs, known_circuit(task, pairs))
        return
    for hardness in HARDNESS:
        compiled = compile_task(task, hardness=hardness, dtype="float64")
        truth = known_circuit(task, pairs, hardness=hardness)
        yield Known(name, max(compiled.gaps), compiled.model, pairs, truth)


def rows(circuit: Known) -> Iterator[dict[str, Any]]:
    """The scores of every method under every ablation."""
    for ablation in ABLATIONS:
        on = setting(circuit.model, circuit.pairs, METRIC, ablation)
        for method, score in METHODS.items():
            begin = time.perf_counter()
            scores = EdgeScores(on.graph.edges, score(on).detach(), method, ablation)
            seconds = time.perf_counter() - begin
            yield {
                "circuit": circuit.name,
                "hardness": circuit.hardness,
                "method": method,
                "ablation": ablation,
                **against_truth(scores.edges, scores.magnitude, circuit.truth.kinds),
                "seconds": seconds,
            }


def missed_rows(circuit: Known) -> Iterator[dict[str, Any]]:
    """The variable edges that exact patching of the corrupted messages does not find."""
    on = setting(circuit.model, circuit.pairs, METRIC)
    magnitude = EdgeScores(on.graph.edges, METHODS["exact"](on), "exact", "corrupted").magnitude
    for edge in missed(on.graph.edges, magnitude, circuit.truth.kinds):
        label = {"circuit": circuit.name, "hardness": circuit.hardness, "edge": str(edge)}
        yield label | {"reason": why_missed(on, edge, circuit.truth.edges("variable"))}


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


def page(table: pd.DataFrame, n_pairs: int) -> str:
    """Markdown: means over circuits of some columns, a row for each method and hardness."""
    kind = table["hardness"].where(table["hardness"] == TRACR, "least").astype(str)
    parts = []
    for column, title in PRINTED.items():
        means = table.assign(hardness=kind).pivot_table(
            column, ["hardness", "method"], "ablation", sort=False
        )
        printed = pd.DataFrame(means.reset_index().map(_cell))
        parts.append(f"## {title}\n\n{markdown(Table(column, printed))}")
    n_circuits = table["circuit"].nunique()
    head = f"{n_circuits} circuits, {n_pairs} pairs for each variable of a task, metric {METRIC}.\n"
    return "\n".join([head, *parts])


def _cell(value: Any) -> str:
    return f"{value:.3f}" if isinstance(value, float) else str(value)


def benchmark(options: Options, show: Show) -> int:
    """Score and write; the work of `python -m paper.circuits`."""
    if options.pairs < 1:
        raise UsageError(f"--pairs is {options.pairs}: it must be at least 1")
    refuse_unknown("circuit", options.circuits, TASKS)
    names = options.circuits or tuple(TASKS)
    found, lost = [], []
    for done, name in enumerate(names):
        show("circuits", done, len(names), name)
        for circuit in known(name, options.pairs):
            found += rows(circuit)
            lost += missed_rows(circuit)
    show("circuits", len(names), len(names), "")
    table = pd.DataFrame(found)
    columns = ["circuit", "hardness", "edge", "reason"]
    files = {
        "circuit_benchmark.csv": table.to_csv(index=False),
        "circuit_benchmark.md": page(table, options.pairs),
        "circuit_missed.md": markdown(Table("missed", pd.DataFrame(lost, columns=columns))),
    }
    write_files(options.out, files)
    print(*(options.out / name for name in files), sep="\n")
    return 0


def _work(options: Options) -> int:
    with progress(options.quiet) as show:
        return benchmark(options, show)


if __name__ == "__main__":
    sys.exit(run_module(Options, "paper.circuits", _work))
