"""Curves over training: of one run, or of several (faint) with their mean."""

from collections.abc import Mapping, Sequence

import pandas as pd
import plotly.graph_objects as go

from analysis.plots.style import MUTED, figure, line_style, log_axis

OTHERS = "others"
MAX_NAMED = 10
"""Components that get a colour and a legend entry each; the rest are grey."""


def curves(table: pd.DataFrame, title: str, y: str, *, log_y: bool = False) -> go.Figure:
    """Values against the training step, which is on a logarithmic axis where it can be.

    Args:
        table: columns `step`, `line` (the legend entry), `value`, and `run` where there are
            several; lines are coloured in the order in which they come.
        title: of the figure.
        y: title of the vertical axis, with its unit.
        log_y: whether that axis is logarithmic; values of zero and below are left out then.
    """
    several = "run" in table and len(set(table["run"])) > 1
    table = table.loc[table["value"] > 0] if log_y else table
    log_x = len(set(table["step"]) - {0}) > 1
    table = table.loc[table["step"] > 0] if log_x else table
    drawn = figure(title, "training step", y)
    for position, line in enumerate(dict.fromkeys(table["line"])):
        rows = table.loc[table["line"] == line]
        style = {"color": MUTED, "dash": "solid"} if line == OTHERS else line_style(position)
        add = _add_bundle if several or line == OTHERS else _add_line
        add(drawn, line, rows, style)
    if log_x:
        drawn.update_xaxes(**log_axis(table["step"].to_numpy()))
    if log_y and len(table):
        drawn.update_yaxes(**log_axis(table["value"].to_numpy()))
    return drawn


def _add_line(drawn: go.Figure, name: str, rows: pd.DataFrame, style: dict) -> None:
    mode = "lines" if len(rows) > 1 else "markers"
    drawn.add_scatter(
        x=rows["step"], y=rows["value"], name=name, mode=mode, line={**style, "width": 2.5}
    )


def _add_bundle(drawn: go.Figure, name: str, rows: pd.DataFrame, style: dict) -> None:
    """Faint lines, one a run and component; and, but for the others, the runs' mean."""
    parts = [part for _, part in rows.groupby([c for c in ("run", "component") if c in rows])]
    gap = {"value": float("nan")}
    faint = pd.concat([piece for part in parts for piece in (part, part.tail(1).assign(**gap))])
    drawn.add_scatter(
        x=faint["step"],
        y=faint["value"],
        name=name,
        legendgroup=name,
        showlegend=name == OTHERS,
        mode="lines" if len(rows) > len(parts) else "markers",
        line={**style, "width": 1},
        opacity=0.5,
        text=faint.get("run"),
        hovertemplate="%{text} (%{x}, %{y})",
    )
    if name != OTHERS:
        mean = mean_over_runs(rows)
        drawn.add_scatter(
            x=mean.index,
            y=mean,
            name=name,
            legendgroup=name,
            mode="lines" if len(mean) > 1 else "markers",
            line={**style, "width": 3},
        )


def mean_over_runs(rows: pd.DataFrame) -> pd.Series:
    """Mean at each step that every run has."""
    return rows.pivot_table(index="step", columns="run", values="value").dropna().mean(axis=1)


def history_curves(history: pd.DataFrame, quantity: str, title: str, y: str, **axis) -> go.Figure:
    """A column of the runs' history, one line a split."""
    named = history.rename(columns={"split": "line", quantity: "value"})
    return curves(named.dropna(subset="value"), title, y, **axis)


def total_curves(
    metrics: pd.DataFrame, names: Mapping[str, str], title: str, y: str, *, log_y: bool = False
) -> go.Figure:
    """Several metrics' totals in one figure; `names` gives each metric's legend entry."""
    totals = metrics.loc[metrics["component"] == ""]
    lines = [
        totals.loc[totals["metric"] == metric].assign(line=name) for metric, name in names.items()
    ]
    return curves(pd.concat(lines), title, y, log_y=log_y)


def component_curves(
    metrics: pd.DataFrame,
    metric: str,
    title: str,
    y: str,
    *,
    first: Sequence[str] = (),
    log_y: bool = False,
) -> go.Figure:
    """One metric by component, such as `irrep:standard` or `length:4`, named by what follows.

    The components of heads, such as `L1H0:x_t`, are named in full.

    Args:
        metrics: tidy measurements, with a column `run` where there are several.
        metric: the metric.
        title: of the figure.
        y: title of the vertical axis.
        first: names of components that come first. Where there are too many to tell apart, those
            with the largest values are named and the others are drawn in grey.
        log_y: whether the vertical axis is logarithmic.
    """
    rows = metrics.loc[(metrics["metric"] == metric) & (metrics["component"] != "")]
    name = rows["component"].str.replace(r"^[a-z_]+:", "", regex=True)
    known = list(dict.fromkeys(name))
    named = [k for k in first if k in known]
    if len(known) <= MAX_NAMED:
        named += [k for k in known if k not in named]
    largest = rows["value"].groupby(name).max().loc[named].nlargest(MAX_NAMED).index
    named = [k for k in named if k in largest]
    rows = rows.assign(line=name.where(name.isin(named), OTHERS))
    rank = {line: position for position, line in enumerate(named)}
    order = rows["line"].map(lambda line: rank.get(line, len(rank)))
    return curves(rows.iloc[order.argsort(kind="stable")], title, y, log_y=log_y)
