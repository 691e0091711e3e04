"""How good the circuits of several methods are, by their number of edges."""

from collections.abc import Mapping, Sequence
from typing import Literal

import pandas as pd
import plotly.graph_objects as go

from analysis.plots.style import MUTED, figure, line_style

TICKS = [digit * 10**power for power in range(5) for digit in (1, 2, 5)]
Quality = Literal["faithfulness", "completeness", "minimality"]


def circuit_curves_figure(
    curves: Mapping[str, pd.DataFrame],
    *,
    title: str,
    random: Sequence[pd.DataFrame] = (),
    quality: Quality = "faithfulness",
) -> go.Figure:
    """A line for each method over the number of edges, on a logarithmic axis; 1 is perfect.

    Args:
        curves: what `circuit_curve` returns, by method.
        title: of the figure.
        random: the same for rankings at random: their mean is grey, between lowest and highest.
        quality: a column of the curves.
    """
    drawn = figure(title, "edges in the circuit", quality)
    drawn.add_hline(1, line={"color": MUTED, "dash": "dot", "width": 1})
    if random:
        _add_band(drawn, pd.concat([_known(curve, quality) for curve in random], axis=1))
    for position, (method, curve) in enumerate(curves.items()):
        # Where lines coincide, each is seen on both sides of the next.
        line = {**line_style(position), "width": 1 + 1.5 * (len(curves) - position)}
        _add_line(drawn, method, _known(curve, quality), line)
    drawn.update_xaxes(type="log", tickvals=TICKS, tickformat=",d")
    return drawn.update_layout(legend={"traceorder": "normal"})


def _known(curve: pd.DataFrame, quality: str) -> pd.Series:
    """The values by the number of edges, without the empty circuit."""
    return curve.loc[curve["edges"] > 0].set_index("edges")[quality].dropna()


def _add_band(drawn: go.Figure, values: pd.DataFrame) -> None:
    edge = {"mode": "lines", "line": {"width": 0}, "showlegend": False, "hoverinfo": "skip"}
    drawn.add_scatter(x=values.index, y=values.min(axis=1), **edge)
    fill = {"fill": "tonexty", "fillcolor": "rgba(154,154,154,0.25)"}
    drawn.add_scatter(x=values.index, y=values.max(axis=1), **edge, **fill)
    _add_line(drawn, "random", values.mean(axis=1), {"color": MUTED, "width": 2})
    drawn.data[-1].legendrank = 2000  # after all others


def _add_line(drawn: go.Figure, name: str, values: pd.Series, line: dict) -> None:
    drawn.add_scatter(x=values.index, y=values, name=name, mode="lines", line=line)
