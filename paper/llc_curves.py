"""Local learning coefficients along training, beside losses and simpler measures."""

import pandas as pd
import plotly.graph_objects as go

from analysis.plots.style import COLORS, INK, MUTED, hollow_where, log_axis
from paper.chain_of_thought.plots import add_band, panels, place

PANELS = {
    "losses": (
        "loss",
        {
            "loss/train": "train",
            "loss/test": "test",
            "hidden/restricted_loss": "restricted to key irreps",
        },
    ),
    "local learning coefficient": (
        "estimate",
        {"estimate": "local learning coefficient", "stronger": "at a stronger localization"},
    ),
    "by the settings of earlier work": ("estimate", {"published": "one chain"}),
    "simpler measures": (
        "over their largest",
        {
            "weight_norm": "weight norm",
            "hessian_trace": "trace of the Hessian",
        },
    ),
}
"""By the titles of the panels: the vertical axis; columns, of which a table may lack some, and what
they are called."""


def training_figure(table: pd.DataFrame, title: str) -> go.Figure:
    """A panel for each kind of curve: the mean over seeds, and one standard deviation.

    Sampled numbers are points too, one for each seed, hollow where a check fails.
    """
    table = table.loc[table["step"] > 0]  # which has no place on a logarithmic axis
    shown = {name: panel for name, panel in PANELS.items() if not panel[1].keys().isdisjoint(table)}
    drawn = panels(list(shown), 2, title, 300, horizontal_spacing=0.14, vertical_spacing=0.16)
    colors = iter((*COLORS, INK, MUTED))
    for i, (name, (axis, curves)) in enumerate(shown.items()):
        where = place(i, 2)
        drawn.update_yaxes(title_text=axis, **where)
        for column, label in curves.items():
            if column not in table:
                continue
            y = table[column] / (table[column].max() if name.startswith("simpler") else 1)
            points = pd.DataFrame({"x": table["step"], "y": y})
            color = next(colors)
            is_log = axis == "loss"
            add_band(drawn, points, label, color, where, in_legend=True, is_log=is_log)
            if f"{column}_failures" in table:
                _add_points(drawn, table, column, color, where)
    drawn.update_yaxes(type="log", dtick=1, exponentformat="power", row=1, col=1)
    drawn.update_xaxes(title_text="training step", **log_axis(table["step"].to_numpy()))
    if len(shown) % 2:  # the legend goes where a panel is missing
        drawn.update_layout(legend={"x": 0.57, "y": 0.42, "yanchor": "top"})
    return drawn.update_layout(font={"color": INK})


def _add_points(
    drawn: go.Figure, table: pd.DataFrame, column: str, color: str, where: dict[str, int]
) -> None:
    is_hollow = table[f"{column}_failures"] != ""
    drawn.add_scatter(
        x=table["step"],
        y=table[column],
        mode="markers",
        marker={"size": 5} | hollow_where(is_hollow, color),
        hovertext=table[f"{column}_failures"],
        showlegend=False,
        **where,
    )
