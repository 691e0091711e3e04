"""A circuit drawn as a graph: layers from left to right, a curve for each edge."""

from collections.abc import Mapping, Sequence
from typing import Any

import plotly.graph_objects as go

from analysis.circuits.scores import EdgeScores
from analysis.circuits.truth import NOTHING
from analysis.plots.circuit_layout import (
    HALF_HEIGHT,
    HALF_WIDTH,
    PORTS,
    Places,
    edge_curve,
    node_places,
)
from analysis.plots.style import COLORS, INK, MUTED, figure
from interp.models.graph import Edge, node_of
from interp.models.true_circuit import Kind

WIDEST = 8.0
"""Pixels of the edge with the largest score."""
UNSIGNED = ("acdc", "random")
"""Methods whose scores do not say whether an edge raises or lowers the metric."""
RAISES, LOWERS = "raises the metric", "lowers the metric"
MATTERS, NO_EFFECT, MISSED = "matters", "no effect", "missed"
COLOR = {RAISES: COLORS[0], LOWERS: COLORS[1], MATTERS: INK, NO_EFFECT: MUTED, MISSED: INK}
"""Of edges, in the order of the legend."""


def circuit_figure(
    scores: EdgeScores,
    circuit: Sequence[Edge],
    *,
    title: str,
    kinds: Mapping[Edge, Kind] | None = None,
) -> go.Figure:
    """The edges of a circuit among all nodes of the network; those that it leaves out are pale.

    An edge is as wide as its magnitude. It raises the metric if the mean effect of cutting it is to
    lower it. On the left of a head are its inputs q, k and v.

    Args:
        scores: of all edges of the network.
        circuit: the edges to draw, such as the `top` ones.
        title: of the figure.
        kinds: what the edges truly are; the variable ones that `circuit` misses are dashed.
    """
    table = scores.frame().set_index(["sender", "receiver"])
    largest = table["magnitude"].max() or 1.0
    missed = [e for e, kind in (kinds or {}).items() if kind == "variable" and e not in circuit]
    places = node_places(scores.edges)
    drawn = _empty(title, places)
    for edge in sorted(circuit, key=table["magnitude"].__getitem__):
        effect, magnitude = table.loc[edge, ["effect", "magnitude"]]
        text = f"{edge}: {magnitude:.3g}<br>mean change when cut: {effect:.3g}"
        text += f"<br>truly {kinds[edge]}" if kinds else ""
        line = {"width": 1 + (WIDEST - 1) * magnitude / largest}
        group = NO_EFFECT if magnitude <= NOTHING * largest else _sign(scores.method, effect)
        _add_edge(drawn, places, edge, group, line, text)
    for edge in missed:
        _add_edge(drawn, places, edge, MISSED, {"width": 1.5, "dash": "dash"}, f"{edge}: missed")
    _add_boxes(drawn, places, [*circuit, *missed])
    return drawn


def _sign(method: str, effect: float) -> str:
    if method in UNSIGNED:
        return MATTERS
    return LOWERS if effect > 0 else RAISES


def _empty(title: str, places: Places) -> go.Figure:
    columns, rows = zip(*places.values(), strict=True)
    height = 130 + 70 * (max(rows) - min(rows) + 1)
    drawn = figure(title, "", "", height=max(300, height))
    drawn.update_xaxes(range=[-0.5, max(columns) + 0.5], visible=False)
    drawn.update_yaxes(range=[max(rows) + 0.5, min(rows) - 0.5], visible=False)
    drawn.update_layout(
        margin={"l": 10, "r": 10, "b": 40}, legend={"orientation": "h", "y": 0, "yanchor": "top"}
    )
    return drawn


def _add_edge(
    drawn: go.Figure, places: Places, edge: Edge, group: str, line: Mapping[str, Any], text: str
) -> None:
    x, y = edge_curve(places, edge)
    is_first = next(drawn.select_traces({"legendgroup": group}), None) is None
    drawn.add_scatter(
        x=x,
        y=y,
        name=group,
        legendgroup=group,
        legendrank=list(COLOR).index(group),
        showlegend=is_first,
        mode="lines",
        line={"color": COLOR[group], "simplify": False, **line},
        opacity=0.75,
        text=text,
        hovertemplate="%{text}<extra></extra>",
        meta=str(edge),
    )


def _add_boxes(drawn: go.Figure, places: Places, circuit: Sequence[Edge]) -> None:
    used = {node_of(end) for edge in circuit for end in edge}
    font_size = 13 if len({x for x, _ in places.values()}) <= 8 else 10
    for node, (x, y) in places.items():
        color = INK if node in used else MUTED
        drawn.add_shape(
            type="rect",
            x0=x - HALF_WIDTH,
            x1=x + HALF_WIDTH,
            y0=y - HALF_HEIGHT,
            y1=y + HALF_HEIGHT,
            line={"color": color, "width": 1.5 if node in used else 1},
            fillcolor="white" if node in used else "#f4f4f4",
        )
        name = node.replace("embed", "<br>embed").removeprefix("<br>")
        _add_text(drawn, x, y, name, color, font_size)
    for node, _, port in {edge.receiver.partition(".") for edge in circuit if "." in edge.receiver}:
        x, y = places[node]
        _add_text(drawn, x - HALF_WIDTH + 0.08, y + PORTS[port], port, INK, font_size - 2)


def _add_text(drawn: go.Figure, x: float, y: float, text: str, color: str, size: int) -> None:
    font = {"size": size, "color": color}
    drawn.add_annotation(x=x, y=y, text=text, showarrow=False, font=font)
