"""Local learning coefficients: along training, by the sampler's settings, and chain by chain."""

from collections.abc import Mapping, Sequence
from itertools import chain

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from analysis.llc.checks import Check
from analysis.llc.sampling import Trace
from analysis.plots.style import INK, MUTED, TEMPLATE, figure, line_style

LLC = "local learning coefficient"
MOST_DRAWS = 500
"""Of a chain that are drawn; evenly spaced if there are more."""
FAILED = "#f3c3a5"


def llc_curve_figure(curves: Mapping[str, pd.DataFrame], *, title: str) -> go.Figure:
    """Estimates along training with their 95% intervals; hollow, and unconnected, where one fails.

    Hollow points too far from the others to be drawn are triangles at the edge.

    Args:
        curves: by name, tables with the columns step, value, low, high and failures: why the
            value is no estimate, or nothing.
        title: of the figure.
    """
    drawn = figure(title, "training step", LLC)
    everything = pd.concat(curves.values())
    place, axis = _step_axis(everything["step"].to_numpy())
    bounds = _bounds(everything, 0.0)
    for position, (name, table) in enumerate(curves.items()):
        x = np.array([place[step] for step in table["step"]])
        _add_estimates(drawn, name, x, table, line_style(position), bounds)
    drawn.update_xaxes(**axis)
    _finish(drawn, everything, bounds)
    return drawn if len(curves) > 1 else drawn.update_traces(showlegend=False, selector=0)


def calibration_figure(table: pd.DataFrame, *, title: str) -> go.Figure:
    """Estimates against the step size, a line for each nbeta; hollow where one fails.

    Bars are two standard errors to either side.
    Where the lines are level the step size is small enough; where they meet, the estimate does not
    depend on the temperature.

    Args:
        table: of a `Calibration`: columns step_size, nbeta, estimate, standard_error, failures.
        title: of the figure.
    """
    drawn = figure(title, "step size", LLC)
    half = 2 * table["standard_error"]
    value = table["estimate"]
    table = table.assign(value=value, low=value - half, high=value + half)
    bounds = _bounds(table, np.inf)
    for position, (nbeta, rows) in enumerate(table.sort_values("step_size").groupby("nbeta")):
        x, style = rows["step_size"].to_numpy(), line_style(position)
        _add_estimates(drawn, f"{nbeta:.4g}", x, rows, style, bounds)
    drawn.update_xaxes(type="log", dtick="D2", tickformat=".0e")
    _finish(drawn, table, bounds)
    return drawn.update_layout(legend_title_text="nβ")


def trace_figure(trace: Trace, point: int = 0, *, title: str) -> go.Figure:
    """What every chain about a point did: nbeta (L(w) - L(w*)) on the left, |w - w*|^2 right."""
    drawn = make_subplots(cols=2, horizontal_spacing=0.12)
    drawn.update_layout(template=TEMPLATE, title_text=title, showlegend=False, height=340)
    energy = float(trace.nbeta[point]) * trace.excess[point].numpy()
    for column, values in enumerate((energy, trace.distance[point].numpy()), 1):
        every = -(-values.shape[1] // MOST_DRAWS)
        draws = np.arange(0, values.shape[1], every)
        for i, seen in enumerate(values):
            drawn.add_scatter(
                x=draws,
                y=seen[::every].astype(np.float32),  # half the size, and no less to be seen
                name=f"chain {i}",
                line={**line_style(i), "width": 1},
                opacity=0.7,
                row=1,
                col=column,
            )
    mean = energy.mean()
    line = {"color": INK, "dash": "dash", "width": 1.5}
    ends = [0, energy.shape[1] - 1]
    drawn.add_scatter(x=ends, y=[mean, mean], name="mean", mode="lines", line=line, row=1, col=1)
    drawn.update_xaxes(title_text="draw")
    drawn.update_layout(yaxis_title_text="nβ (L(w) − L(w*))", yaxis2_title_text="|w − w*|²")
    return drawn


def checks_figure(checks: Mapping[str, Sequence[Check]]) -> go.Figure:
    """A table of checks, a row for each point; cells of checks that fail are coloured.

    Args:
        checks: those of each point, by its name.
    """
    limits: dict[str, set[float]] = {}
    for check in chain.from_iterable(checks.values()):
        limits.setdefault(check.name, set()).add(check.limit)
    columns = [[_cell(found, name) for found in checks.values()] for name in limits]
    # A limit that depends on the point is not shown.
    shown = {name: f"{min(x):.4g}" if len(x) == 1 else "" for name, x in limits.items()}
    heads = [f"{'<br>'.join(n.rsplit('_', 1))}<br>{limit}" for n, limit in shown.items()]
    table = go.Table(
        header={"values": ["check<br>limit", *heads], "align": "left", "fill_color": "#e6e6e6"},
        cells={
            "values": [list(checks), *([text for text, _ in column] for column in columns)],
            "fill_color": ["white", *([color for _, color in column] for column in columns)],
            "align": "left",
            "height": 26,
        },
    )
    drawn = go.Figure(table).update_layout(template=TEMPLATE, font_size=10)
    width, height = 110 + 68 * len(columns), 205 + 26 * len(checks)
    return drawn.update_layout(
        title={"text": "Checks (coloured: failed)", "font_size": 18},
        width=max(width, 700),
        height=height,
        margin={"l": 16, "r": 16},
    )


def _cell(checks: Sequence[Check], name: str) -> tuple[str, str]:
    """What a table says of a check, and its colour."""
    for check in checks:
        if check.name == name:
            return f"{check.value:.4g}", "white" if check.passed else FAILED
    return "", "white"


def _add_estimates(
    drawn: go.Figure,
    name: str,
    x: np.ndarray,
    table: pd.DataFrame,
    style: dict,
    bounds: tuple[float, float] | None,
) -> None:
    passed = table["failures"] == ""
    value = table["value"].where(passed)
    drawn.add_scatter(
        x=x,
        y=value,
        error_y={
            "array": table["high"] - value,
            "arrayminus": value - table["low"],
            "thickness": 1.5,
            "width": 3,
        },
        name=name,
        legendgroup=name,
        mode="lines+markers",
        line={**style, "width": 2},
        marker={"size": 8},
    )
    hollow = ~passed & np.isfinite(table["value"])
    failed = table.loc[hollow]
    low, high = bounds or (-np.inf, np.inf)
    symbols = np.select(
        [failed["value"] < low, failed["value"] > high],
        ["triangle-down-open", "triangle-up-open"],
        "circle-open",
    )
    drawn.add_scatter(
        x=x[hollow],
        y=failed["value"].clip(low, high),
        text=[
            f"no estimate ({value:.4g})<br>" + failure.replace("; ", "<br>")
            for value, failure in zip(failed["value"], failed["failures"], strict=True)
        ],
        hovertemplate="%{x}: %{text}<extra></extra>",
        name=f"{name}, failed",
        legendgroup=name,
        showlegend=False,
        mode="markers",
        marker={"size": 9, "symbol": symbols, "color": style["color"], "line": {"width": 1.5}},
        cliponaxis=False,
    )


def _finish(drawn: go.Figure, table: pd.DataFrame, bounds: tuple[float, float] | None) -> None:
    """The vertical axis, and what hollow points are."""
    if bounds:
        drawn.update_yaxes(range=bounds)
    if any(table["failures"]):
        marker = {"symbol": "circle-open", "size": 9, "color": MUTED, "line": {"width": 1.5}}
        drawn.add_scatter(x=[None], y=[None], mode="markers", marker=marker, name="a check failed")
    drawn.update_layout(showlegend=True)


def _bounds(table: pd.DataFrame, base: float) -> tuple[float, float] | None:
    """Where the estimates that passed can be read, and the base; None if there are none."""
    passed = table.loc[table["failures"] == ""]
    if passed.empty:
        return None
    low, high = min(base, float(passed["low"].min())), float(passed["high"].max())
    margin = 0.1 * (high - low)
    return low - margin, high + margin


def _step_axis(steps: np.ndarray) -> tuple[Mapping[int, float], dict]:
    """Where each step is, and a logarithmic axis, with 0 a little before the others."""
    positive = np.unique(steps[steps > 0])
    if len(positive) < 2:
        return {int(step): float(step) for step in steps}, {}
    first = positive[0] / 2
    place = {int(step): float(step) or first for step in steps}
    decades = range(int(np.ceil(np.log10(positive[0]))), int(np.log10(positive[-1])) + 1)
    ticks = {10.0**power: f"10<sup>{power}</sup>" for power in decades}
    if 0 in place:
        ticks[first] = "0"
    return place, {"type": "log", "tickvals": list(ticks), "ticktext": list(ticks.values())}
