"""How all pictures look: one template, colours that colour-blind readers tell apart, dashes."""

import math
from collections.abc import Iterable
from typing import Any

import numpy as np
import plotly.graph_objects as go

COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00")
"""Okabe and Ito's palette without yellow, which is too faint on white, and black."""
DASHES = ("solid", "dash", "dot", "dashdot", "longdash", "longdashdot")
MUTED = "#9a9a9a"
INK = "#222222"
FONT = "system-ui, -apple-system, 'Segoe UI', 'DejaVu Sans', sans-serif"

SEQUENTIAL = [[0, "#ffffff"], [0.5, "#56B4E9"], [1, "#003a5d"]]
DIVERGING = [[0, "#8a3700"], [0.25, "#e8a06a"], [0.5, "#ffffff"], [0.75, "#6fb3dd"], [1, "#00456b"]]
CYCLIC = [[0, "#0072B2"], [0.25, "#009E73"], [0.5, "#E69F00"], [0.75, "#CC79A7"], [1, "#0072B2"]]

_AXIS: dict[str, Any] = {
    "showline": True,
    "linecolor": INK,
    "ticks": "outside",
    "tickcolor": INK,
    "gridcolor": "#e6e6e6",
    "zeroline": False,
    "exponentformat": "power",
    "automargin": True,
    "title": {"standoff": 8},
}

TEMPLATE = go.layout.Template(
    layout=go.Layout(
        font={"family": FONT, "size": 15, "color": INK},
        title={"font": {"size": 18}, "x": 0, "xref": "container", "pad": {"l": 12}},
        paper_bgcolor="white",
        plot_bgcolor="white",
        colorway=COLORS,
        xaxis=_AXIS,
        yaxis=_AXIS,
        margin={"l": 70, "r": 20, "t": 56, "b": 60},
        hovermode="closest",
        legend={"bgcolor": "rgba(255,255,255,0.7)", "font": {"size": 14}, "tracegroupgap": 0},
        height=440,
    )
)


def line_style(position: int) -> dict[str, Any]:
    """Colour and dash of the line at a position: six colours solid, then the same dashed, ..."""
    dash = DASHES[position // len(COLORS) % len(DASHES)]
    return {"color": COLORS[position % len(COLORS)], "dash": dash}


def hollow_where(is_hollow: Iterable[bool], color: str) -> dict[str, Any]:
    """Marks of a colour, some of them hollow, in plotly's words."""
    fill = ["white" if hollow else color for hollow in is_hollow]
    return {"color": fill, "line": {"color": color, "width": 1.5}}


def figure(title: str, x: str, y: str, **layout: Any) -> go.Figure:
    """An empty figure in the common template, with its axes titled."""
    empty = go.Figure(layout={"template": TEMPLATE, "title": {"text": title}})
    empty.update_xaxes(title_text=x)
    empty.update_yaxes(title_text=y)
    return empty.update_layout(**layout)


def log_axis(values: np.ndarray) -> dict[str, Any]:
    """A logarithmic axis for positive values: a tick a decade, or fewer where they are many."""
    decades = math.log10(values.max() / values.min())
    return {"type": "log", "dtick": max(1, math.ceil(decades / 7))}
