"""How well methods find circuits that are known: `python -m paper.circuits --out OUT`.

Writes plain numbers for each circuit, hardness and ablation:

- `circuit_benchmark.csv`: how well each method ranks the true edges and nodes;
- `circuit_faithfulness.csv`: of each method, the areas under the curves of faithfulness and
  completeness, at the least hardness;
- `circuit_truth.csv`: the faithfulness, completeness and minimality of the true circuit itself;

and `circuit_benchmark.md` (all of it over circuits) and `circuit_missed.md` (the true edges that
exact patching does not find, and why).
"""

import sys
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from tyro.conf import Positional

from interp.arguments import UsageError
from interp.known_circuit import known_circuit
from interp.models.iteration_head import GAP, iteration_head
from interp.progress import Show
from interp.rasp import compile_task
from paper.circuit_rows import METRIC, Known, Rows, rows
from paper.command import Watched, refuse_unknown, run_watched
from paper.tables import Table, markdown, write_files
from tasks.iteration import Copy, GroupProduct, IterationTask, Mixed, Parity, Polynomial
from tasks.pairs import pairs_of_all_variables
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
PRINTED = {
    "auroc": "AUROC, variable against absent edges among live nodes",
    "auroc_all_nodes": "AUROC with dead nodes",
    "average_precision": "Average precision",
    "node_auroc": "AUROC of nodes",
    "node_average_precision": "Average precision of nodes",
    "recall": "Share of the variable edges that are found at all",
    "seconds": "Seconds a circuit",
}
"""Columns of the benchmark on the page, each a mean over circuits."""
AREAS = {
    "faithfulness": "Faithfulness: area under the curve over the share of edges",
    "completeness": "Completeness: area under the curve",
}
"""The same, of the circuits of the highest scores."""
QUALITIES = ["faithfulness", "completeness", "minimality"]
"""Of a circuit."""


@dataclass(frozen=True)
class Options(Watched):
    """Score all edges of networks whose circuit is known, by every method, against the truth."""

    circuits: Positional[tuple[str, ...]] = ()
    """Such as peak or polynomial; all of them if none is named."""
    out: Path = Path("tables")
    """Folder for the tables."""
    pairs: int = 10
    """Pairs of inputs for every variable of a task."""


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


def page(tables: dict[str, pd.DataFrame], n_pairs: int) -> str:
    """Markdown: over circuits, a row for each method and hardness, a column for each ablation."""
    benchmark = tables["benchmark"]
    n_circuits = benchmark["circuit"].nunique()
    n_judged = benchmark.dropna(subset="node_auroc")["circuit"].nunique()
    parts = [
        f"{n_circuits} circuits, {n_pairs} pairs for each variable of a task, metric {METRIC}. "
        f"Nodes are judged in {n_judged} of them: in the others none is dead.\n"
    ]
    least = benchmark["hardness"].where(benchmark["hardness"] == TRACR, "least").astype(str)
    by_hardness = benchmark.assign(hardness=least)
    for column, title in PRINTED.items():
        parts.append(_section(title, by_hardness, column, ["hardness", "method"]))
    for column, title in AREAS.items():
        parts.append(_section(title, tables["faithfulness"], column, ["method"]))
    qualities = tables["truth"].melt(["kinds", "ablation"], QUALITIES, "quality")
    title = "The true circuit by itself, the lowest of all"
    parts.append(_section(title, qualities, "value", ["kinds", "quality"], "min"))
    return "\n".join(parts)


def _section(title: str, table: pd.DataFrame, column: str, by: list[str], how: str = "mean") -> str:
    over = table.pivot_table(column, by, "ablation", sort=False, aggfunc=how)
    printed = pd.DataFrame(over.reset_index().map(_cell))
    return f"## {title}\n\n{markdown(Table(column, printed))}"


def _cell(value: Any) -> str:
    return f"{value:.3f}" if isinstance(value, float) else str(value)


def benchmark(options: Options, show: Show) -> int:
    """Score and write; the work of `python -m paper.circuits`."""
    if options.pairs < 1:
        raise UsageError(f"--pairs is {options.pairs}: it must be at least 1")
    refuse_unknown("circuit", options.circuits, TASKS)
    names = options.circuits or tuple(TASKS)
    found: dict[str, Rows] = defaultdict(list)
    for done, name in enumerate(names):
        show("circuits", done, len(names), name)
        for i, circuit in enumerate(known(name, options.pairs)):
            for table, some in rows(circuit, with_areas=i == 0).items():
                found[table] += some
    show("circuits", len(names), len(names), "")
    tables = {name: pd.DataFrame(some) for name, some in found.items()}
    tables["benchmark"] = tables["benchmark"].astype({"edges": int, "positives": int})
    columns = ["circuit", "hardness", "edge", "reason"]
    files = {
        f"circuit_{name}.csv": tables[name].to_csv(index=False)
        for name in ("benchmark", "faithfulness", "truth")
    }
    lost = Table("missed", pd.DataFrame(found["missed"], columns=columns))
    files |= {
        "circuit_benchmark.md": page(tables, options.pairs),
        "circuit_missed.md": markdown(lost),
    }
    write_files(options.out, files)
    print(*(options.out / name for name in files), sep="\n")
    return 0


if __name__ == "__main__":
    sys.exit(run_watched(Options, "paper.circuits", benchmark))
