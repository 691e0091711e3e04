"""One self-contained HTML page about runs: what was trained, what was found, how sure that is."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import plotly.graph_objects as go
from jinja2 import Environment, PackageLoader, StrictUndefined
from plotly.offline import get_plotlyjs

from analysis.describe import (
    Findings,
    describe_model,
    describe_task,
    describe_training,
    findings,
    same_but_seeds,
)
from analysis.plots.gallery import curve_figures, model_figures, seed_figures
from analysis.report.causal import causal_figures, on_circuits
from analysis.report.coefficients import coefficient_figures, on_coefficients
from analysis.report.columns import IRREPS, SCORES, THOUGHTS, RunTable, others, run_table
from analysis.report.comparison import Comparison, comparison
from analysis.report.sentences import how_sure, summary
from analysis.report.story import Pictures, pictures
from interp.runs.run import Run
from tasks.atomic import write_text


@dataclass(frozen=True)
class Section:
    """Runs that differ in nothing but their seeds."""

    title: str
    recipe: list[tuple[str, str]]
    summary: list[str]
    sure: list[str]
    found: list[Findings]
    tables: list[RunTable]
    pictures: Pictures
    details: list[tuple[Findings, list[str], Pictures]]


def write_report(runs: Sequence[Run], path: Path) -> None:
    """Write a page about `runs` that needs nothing but itself: no network, no other file.

    Runs of one recipe stand side by side as seeds; each run's own pictures are folded away below.
    Several recipes are compared first. Whatever a run lacks (a history, measurements, checkpoints)
    is left out.
    """
    groups = same_but_seeds(runs)
    sections = [_section(group) for group in groups]
    compared: Comparison | None = None
    if len(sections) > 1:
        compared = comparison([s.title for s in sections], groups, [s.found for s in sections])
    environment = Environment(
        loader=PackageLoader("analysis.report", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["plotly_json"] = _plotly_json
    page = environment.get_template("report.html.jinja")
    write_text(path, page.render(sections=sections, compared=compared, plotly_js=get_plotlyjs()))


def _plotly_json(figure: go.Figure) -> str:
    """JSON that can stand inside a `<script>` element."""
    return str(figure.to_json()).replace("<", "\\u003c")


def _section(runs: list[Run]) -> Section:
    recipe = runs[0].recipe
    found = [findings(run) for run in runs]
    several = len(runs) > 1
    tables = [run_table(columns, found) for columns in (SCORES, THOUGHTS, IRREPS, others(found))]
    together = curve_figures(runs) | seed_figures(runs) | coefficient_figures(runs)
    return Section(
        title=(several and runs[0].name.rpartition("_seed")[0]) or runs[0].name,
        recipe=[
            ("Task", describe_task(recipe)),
            ("Network", describe_model(recipe)),
            ("Training", describe_training(recipe)),
        ],
        summary=summary(found) + on_coefficients(runs) + ([] if several else on_circuits(runs[0])),
        sure=how_sure(found),
        found=found,
        tables=[table for table in tables if table.columns],
        pictures=pictures(together if several else {}),
        details=[(f, on_circuits(run), _own(run)) for f, run in zip(found, runs, strict=True)],
    )


def _own(run: Run) -> Pictures:
    """The pictures of one run."""
    figures = curve_figures([run]) | model_figures(run)
    return pictures(figures | coefficient_figures([run]) | causal_figures(run))
