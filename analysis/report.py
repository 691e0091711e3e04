"""One self-contained HTML page about runs: what was trained, what was found, how sure that is."""

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import plotly.graph_objects as go
from jinja2 import Environment, PackageLoader, StrictUndefined
from plotly.offline import get_plotlyjs

from analysis.describe import (
    GENERALISED,
    Findings,
    describe_model,
    describe_task,
    describe_training,
    findings,
    same_but_seeds,
)
from analysis.metrics import METRICS
from analysis.plots.gallery import curve_figures, model_figures, seed_figures
from interp.runs.run import Run
from tasks.atomic import write_text

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

# The pictures that tell the story, in its order, with a caption; the others are folded away.
STORY = {
    "program": "What each head and each MLP computes; grey parts do nothing.",
    "loss": "Where the test loss falls long after the training loss, the network grokked.",
    "accuracy": "",
    "iteration": (
        "States and whole sequences when the network reads the truth, and when it reads its own "
        "output."
    ),
    "attention_above_half_by_component": (
        "An iteration head is a head that attends to the end of the input (EoI) and, a layer "
        "later, one that attends to x_t where s_t is to be said."
    ),
    "attention": "",
    "logits_similarity_by_irrep": (
        "The cosine between the logits and the character of each irrep at a b c⁻¹. "
        "The irreps that rise are those that the network computes with."
    ),
    "fve": "How much of each part of the network lies in the key irreps.",
    "hidden_losses": (
        "Excluded: the training loss without the hidden layer's part in the key irreps of ab. "
        "Restricted: the loss on all data with nothing but that part."
    ),
    "model_losses": (
        "Excluded: the training loss without the last MLP's part in the key irreps of ab. "
        "Restricted: the loss on all data with only that part of the MLP, beside what bypasses it."
    ),
    "key_irrep_frequency": "",
    "learning_order": "",
    "embed_a_circles": (
        "Each point is an element of the group, projected on the two directions in which the "
        "embedding varies most at that frequency; colour is the angle of the element there."
    ),
    "embed_a_energy": (
        "The length of each direction's part in each irrep. Where the network computes with few "
        "irreps, few rows are filled, and each direction serves one of them."
    ),
}


@dataclass(frozen=True)
class Section:
    """Runs that differ in nothing but their seeds."""

    title: str
    recipe: list[tuple[str, str]]
    summary: list[str]
    found: list[Findings]
    tables: list["RunTable"]
    pictures: "Pictures"
    details: list[tuple[Findings, "Pictures"]]


@dataclass(frozen=True)
class RunTable:
    """A table with a row a run, and a last one on the spread over seeds if there are several."""

    note: str
    columns: list[Column]
    rows: list[tuple[Findings, list[str]]]
    spread: list[str]
    lists_irreps: bool


@dataclass(frozen=True)
class Pictures:
    """Figures by name, each with a caption that may be empty: the story, and the rest."""

    story: dict[str, tuple[go.Figure, str]]
    rest: dict[str, tuple[go.Figure, str]]


def write_report(runs: Sequence[Run], path: Path) -> None:
    """Write a page about `runs` that needs nothing but itself: no network, no other file.

    Runs of one recipe stand side by side as seeds; each run's own pictures are folded away below.
    Whatever a run lacks (a history, measurements, checkpoints) is left out.
    """
    sections = [_section(group) for group in same_but_seeds(runs)]
    environment = Environment(
        loader=PackageLoader("analysis", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["plotly_json"] = _plotly_json
    page = environment.get_template("report.html.jinja")
    write_text(path, page.render(sections=sections, plotly_js=get_plotlyjs()))


def _plotly_json(figure: go.Figure) -> str:
    """JSON that can stand inside a `<script>` element."""
    return str(figure.to_json()).replace("<", "\\u003c")


def _section(runs: list[Run]) -> Section:
    recipe = runs[0].recipe
    found = [findings(run) for run in runs]
    several = len(runs) > 1
    own = [_pictures(curve_figures([run]) | model_figures(run)) for run in runs]
    tables = [
        _table(SCORES, found),
        _table(THOUGHTS, found),
        _table(IRREPS, found),
        _table(_others(found), found),
    ]
    return Section(
        title=(several and runs[0].name.rpartition("_seed")[0]) or runs[0].name,
        recipe=[
            ("Task", describe_task(recipe)),
            ("Network", describe_model(recipe)),
            ("Training", describe_training(recipe)),
        ],
        summary=_summary(found),
        found=found,
        tables=[table for table in tables if table.columns],
        pictures=_pictures(curve_figures(runs) | seed_figures(runs) if several else {}),
        details=list(zip(found, own, strict=True)),
    )


def _table(columns: Sequence[Column], found: list[Findings]) -> RunTable:
    shown = [column for column in columns if any(column.value(f) is not None for f in found)]
    return RunTable(
        note=" ".join(column.note for column in shown if column.note),
        columns=shown,
        rows=[(f, [column.printed(column.value(f)) for column in shown]) for f in found],
        spread=[_spread(column, found) for column in shown] if len(found) > 1 else [],
        lists_irreps=columns is IRREPS,
    )


def _others(found: list[Findings]) -> list[Column]:
    """Columns for measurements that are not built in, while they are few."""
    names = dict.fromkeys(name for f in found for name in f.values)
    own = [name for name in names if name.partition("[")[0] not in BUILT_IN]
    return [Column(name, _metric(name), ".4g") for name in own[:MAX_OTHERS]]


def _pictures(figures: dict[str, go.Figure]) -> Pictures:
    """The figures with their captions, the story's in its order."""
    told = [name for name in STORY if name in figures] or list(figures)
    return Pictures(
        story={name: (figures[name], STORY.get(name, "")) for name in told},
        rest={name: (figure, "") for name, figure in figures.items() if name not in told},
    )


def _spread(column: Column, found: list[Findings]) -> str:
    """Mean and standard deviation over the seeds; of steps and counts, the range."""
    values = [value for f in found if (value := column.value(f)) is not None]
    if len(values) < 2:
        return ABSENT
    if column.form == ",d":
        low, high = min(values), max(values)
        return f"{low:,d}" if low == high else f"{low:,d} to {high:,d}"
    mean, deviation = statistics.mean(values), statistics.stdev(values)
    return f"{column.printed(mean)} ± {column.printed(deviation)}"


def _summary(found: list[Findings]) -> list[str]:
    """What was found, in sentences."""
    return [
        sentence
        for write in (_on_generalisation, _on_key_irreps, _on_shares, _on_losses)
        if (sentence := write(found))
    ]


def _on_generalisation(found: list[Findings]) -> str:
    scored = [f for f in found if f.accuracy_test is not None]
    if not scored:
        return ""
    good = [f for f in scored if (f.accuracy_test or 0) >= GENERALISED]
    steps = [f.generalised_at for f in good if f.generalised_at is not None]
    when = f" (from step {_range(steps, ',d')} on)" if steps else ""
    accuracies = _range([f.accuracy_test or 0 for f in scored], ".2%")
    if len(found) == 1:
        who = "It reaches" if good else "It does not reach"
    else:
        verb = "reaches" if len(good) == 1 else "reach"
        who = f"{len(good)} of {len(scored)} networks {verb}"
    return f"{who} a test accuracy of {GENERALISED:.0%}{when}; in the end it is {accuracies}."


def _on_key_irreps(found: list[Findings]) -> str:
    judged = [f for f in found if f.key_irreps is not None]
    if not judged:
        return ""
    if len(judged) == 1:
        (one,) = judged
        if not one.key_irreps:
            return f"It has no key irreps ({one.key_rule or 'none passes the threshold'})."
        return f"Its key irreps, in order of learning: {', '.join(one.key_irreps)}."
    sets = [set(f.key_irreps or ()) for f in judged]
    shared = [i for i in judged[0].key_irreps or () if all(i in s for s in sets)]
    together = f"all share {', '.join(shared)}" if shared else "none is common to all"
    return f"They have {_range([len(s) for s in sets], 'd')} key irreps; {together}."


def _on_shares(found: list[Findings]) -> str:
    sure = [f for f in found if f.key_irreps and f.dimension_share and "embed_a/fve" in f.values]
    if not sure:
        return ""
    dimensions = _range([f.dimension_share or 0 for f in sure], ".1%")
    explained = _range(
        [f.values[name] for f in sure for name in ("embed_a/fve", "embed_b/fve")], ".1%"
    )
    return (
        f"The key irreps hold {dimensions} of the group's dimensions and explain {explained} of "
        "the embeddings."
    )


def _on_losses(found: list[Findings]) -> str:
    names = ("model/excluded_loss", "model/restricted_loss")
    sure = [f for f in found if f.key_irreps and all(name in f.values for name in names)]
    if not sure:
        return ""
    excluded, restricted = ([f.values[name] for f in sure] for name in names)
    return (
        "Without the hidden layer's part in the key irreps of ab, the training loss is "
        f"{_range(excluded, '.2f')} nats; with nothing but that part, the loss on all data is "
        f"{_range(restricted, '.2e')} nats."
    )


def _range(values: Sequence[Number], form: str) -> str:
    low, high = format(min(values), form), format(max(values), form)
    return low if low == high else f"{low} to {high}"
