"""Tables of runs: their columns, and what they say below."""

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from analysis.describe import GENERALISED, Findings
from analysis.metrics import METRICS

ABSENT = "–"
Number = int | float


@dataclass(frozen=True)
class Column:
    """A column of a table of runs: its heading, the number, how it is printed, what it means."""

    heading: str
    value: Callable[[Findings], Number | None]
    form: str
    note: str = ""

    def printed(self, value: Number | None) -> str:
        return ABSENT if value is None else format(value, self.form)


def _metric(name: str) -> Callable[[Findings], Number | None]:
    return lambda found: found.values.get(name)


def _best_head(found: Findings, role: str) -> Number | None:
    names = (n for n in found.values if n.startswith("attention/above_half[") and f":{role}]" in n)
    return max((found.values[name] for name in names), default=None)


SCORES = (
    Column("step", lambda f: f.step, ",d", "Step: of the weights that were measured."),
    Column("train loss", lambda f: f.loss_train, ".2e"),
    Column("test loss", lambda f: f.loss_test, ".2e"),
    Column("test accuracy", lambda f: f.accuracy_test, ".2%"),
    Column(
        "generalised at",
        lambda f: f.generalised_at,
        ",d",
        f"Generalised at: the first recorded step with a test accuracy of {GENERALISED:.0%}.",
    ),
    Column(
        "excluded loss",
        _metric("model/excluded_loss"),
        ".2f",
        "Excluded loss: on the training set, without the last hidden layer's part in the key "
        "irreps of ab.",
    ),
    Column(
        "restricted loss",
        _metric("model/restricted_loss"),
        ".2e",
        "Restricted loss: on all data, with only that part.",
    ),
)
THOUGHTS = (
    Column(
        "states",
        _metric("iteration/token_accuracy"),
        ".2%",
        "States: the share that is right when the network reads the true sequence; whole "
        "sequences: all of whose states and end are right. Means over the lengths from 4.",
    ),
    Column("whole sequences", _metric("iteration/sequence_accuracy"), ".2%"),
    Column(
        "free running",
        _metric("iteration/free_running_accuracy"),
        ".2%",
        "Free running: the same, and the final answer, when it reads its own output.",
    ),
    Column("final answer", _metric("iteration/final_answer_accuracy"), ".2%"),
    Column(
        "to EoI",
        lambda f: _best_head(f, "EoI"),
        ".1%",
        "To EoI, to x_t: of the head that does it most, the share of positions that attend there "
        "by more than one half. Both together are an iteration head.",
    ),
    Column("to x_t", lambda f: _best_head(f, "x_t"), ".1%"),
)
IRREPS = (
    Column("key irreps", lambda f: None if f.key_irreps is None else len(f.key_irreps), ",d"),
    Column(
        "their dimensions",
        lambda f: f.dimension_share,
        ".1%",
        "Their dimensions: the key irreps' share of the group's order, which is what they would "
        "explain of a random embedding.",
    ),
    Column(
        "embedding of a",
        _metric("embed_a/fve"),
        ".1%",
        "Embeddings, unembedding and hidden layer: the share of the variance that the key irreps "
        "explain.",
    ),
    Column("embedding of b", _metric("embed_b/fve"), ".1%"),
    Column("unembedding", _metric("unembed/fve"), ".1%"),
    Column("hidden layer", _metric("hidden/fve"), ".1%"),
    Column(
        "logits", _metric("logits/fve"), ".1%", "Logits: the share that all characters explain."
    ),
)
BUILT_IN = {metric.name for metric in METRICS}
MAX_OTHERS = 12


@dataclass(frozen=True)
class RunTable:
    """A table with a row a run, and a last one on the spread over seeds if there are several."""

    note: str
    columns: list[Column]
    rows: list[tuple[Findings, list[str]]]
    spread: list[str]
    lists_irreps: bool


def run_table(columns: Sequence[Column], found: list[Findings]) -> RunTable:
    """The columns for which any run has a number."""
    shown = [column for column in columns if any(column.value(f) is not None for f in found)]
    return RunTable(
        note=" ".join(column.note for column in shown if column.note),
        columns=shown,
        rows=[(f, [column.printed(column.value(f)) for column in shown]) for f in found],
        spread=[spread(column, found) for column in shown] if len(found) > 1 else [],
        lists_irreps=columns is IRREPS,
    )


def others(found: list[Findings]) -> list[Column]:
    """Columns for measurements that are not built in, while they are few."""
    names = dict.fromkeys(name for f in found for name in f.values)
    own = [name for name in names if name.partition("[")[0] not in BUILT_IN]
    return [Column(name, _metric(name), ".4g") for name in own[:MAX_OTHERS]]


def spread(column: Column, found: list[Findings]) -> str:
    """Mean and standard deviation over the seeds; of steps and counts, the range; of one, that."""
    values = [value for f in found if (value := column.value(f)) is not None]
    if len(values) < 2:
        return column.printed(values[0] if values else None)
    if column.form == ",d":
        low, high = min(values), max(values)
        return f"{low:,d}" if low == high else f"{low:,d} to {high:,d}"
    mean, deviation = statistics.mean(values), statistics.stdev(values)
    return f"{column.printed(mean)} ± {column.printed(deviation)}"
