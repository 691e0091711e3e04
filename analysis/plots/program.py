"""A compiled program as a picture: what each head and MLP computes."""

import textwrap

import plotly.graph_objects as go

from analysis.plots.style import COLORS, INK, MUTED, figure
from interp.models.graph import head_name, mlp_name
from interp.rasp import Explanation

LINE_LENGTH = 34
"""Characters of a line in a cell."""
LINES = 9
"""Lines of a cell; what does not fit is cut."""


def explanation_figure(explanation: Explanation) -> go.Figure:
    """Layers by heads and MLP, the first layer at the bottom; parts that do nothing are empty."""
    columns = [f"head {head}" for head in range(explanation.n_heads)] + ["MLP"]
    layers = range(explanation.n_layers)
    live = f"{explanation.live_parameters:,} of {explanation.parameters:,} parameters are live"
    drawn = figure(
        f"{textwrap.shorten(explanation.program, 90)}<br><sub>{explanation.shape}; {live}</sub>",
        "",
        "layer",
        height=150 + 190 * max(1, len(layers)),
        width=140 + 290 * len(columns),
        margin={"t": 90},
    )
    drawn.update_xaxes(
        tickvals=list(range(len(columns))), ticktext=columns, range=[-0.5, len(columns) - 0.5]
    )
    drawn.update_yaxes(tickvals=list(layers), range=[-0.5, len(layers) - 0.5])
    drawn.update_xaxes(showgrid=False).update_yaxes(showgrid=False)
    for layer in layers:
        names = [*(head_name(layer, h) for h in range(explanation.n_heads)), mlp_name(layer)]
        for column, name in enumerate(names):
            _draw_cell(drawn, column, layer, explanation.parts.get(name, ()))
    return drawn


def _draw_cell(drawn: go.Figure, column: int, layer: int, expressions: tuple[str, ...]) -> None:
    color = (COLORS[2] if column == len(drawn.layout.xaxis.ticktext) - 1 else COLORS[0], MUTED)
    drawn.add_shape(
        type="rect",
        x0=column - 0.47,
        x1=column + 0.47,
        y0=layer - 0.45,
        y1=layer + 0.45,
        line={"color": color[not expressions], "width": 2 if expressions else 1},
        fillcolor="white" if expressions else "#f4f4f4",
        layer="below",
    )
    lines = [line for e in expressions for line in textwrap.wrap(e, LINE_LENGTH)]
    shown = lines if len(lines) <= LINES else [*lines[: LINES - 1], "..."]
    text = "<br>".join(line.replace("&", "&amp;").replace("<", "&lt;") for line in shown)
    drawn.add_annotation(
        x=column, y=layer, text=text, showarrow=False, align="left", font={"size": 13, "color": INK}
    )
