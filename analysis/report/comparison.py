"""Runs of several recipes side by side."""

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd
import plotly.graph_objects as go

from analysis.describe import Findings
from analysis.plots.curves import curves
from analysis.report.columns import ABSENT, SCORES, spread
from interp.runs.results import IDENTITY, differing
from interp.runs.run import Run

DRAWN = {"accuracy": ("Test accuracy", "accuracy", False), "loss": ("Test loss", "loss", True)}
"""Column of the history: title, vertical axis, whether it is logarithmic."""


@dataclass(frozen=True)
class Comparison:
    """A table with a row for each recipe, and pictures with a curve for each."""

    headings: list[str]
    rows: list[list[str]]
    figures: dict[str, tuple[go.Figure, str]]


def comparison(
    titles: Sequence[str], groups: Sequence[Sequence[Run]], found: Sequence[list[Findings]]
) -> Comparison:
    """Compare groups of runs that differ in their seeds only.

    Args:
        titles: what each group is called.
        groups: the runs.
        found: what is known of them.
    """
    settings = _settings([runs[0] for runs in groups])
    everyone = [one for of_group in found for one in of_group]
    scores = [c for c in SCORES if any(c.value(one) is not None for one in everyone)]
    rows = [
        [title, *own.values(), str(len(of_group))] + [spread(column, of_group) for column in scores]
        for title, own, of_group in zip(titles, settings, found, strict=True)
    ]
    headings = ["", *settings[0], "runs", *(column.heading for column in scores)]
    return Comparison(headings, rows, _figures(titles, groups))


def _settings(runs: Sequence[Run]) -> list[dict[str, str]]:
    """By what the runs differ: task and model, or, where these are the same, the fields."""
    fields = differing(runs)
    kinds = {(own["task"], own["model"]) for own in fields}
    shown = [n for n in fields[0] if n not in IDENTITY] if len(kinds) == 1 else ["task", "model"]
    return [{n: ABSENT if own[n] is None else str(own[n]) for n in shown} for own in fields]


def _figures(
    titles: Sequence[str], groups: Sequence[Sequence[Run]]
) -> dict[str, tuple[go.Figure, str]]:
    """The recipes' curves on the test set: of each run, and their mean."""
    tables = [
        history.loc[history["split"] == "test"].assign(line=title, run=run.name)
        for title, runs in zip(titles, groups, strict=True)
        for run in runs
        if "split" in (history := run.history())
    ]
    if not tables:
        return {}
    table = pd.concat(tables, ignore_index=True)
    figures = {}
    for quantity, (title, axis, is_log) in DRAWN.items():
        if quantity in table and len(table[quantity].dropna()):
            values = table.rename(columns={quantity: "value"}).dropna(subset="value")
            figures[f"compared_{quantity}"] = (curves(values, title, axis, log_y=is_log), "")
    return figures
