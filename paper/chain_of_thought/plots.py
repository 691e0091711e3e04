"""The kinds of pictures of the experiments: curves with bands, heat maps, and a dot a seed."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from plotly.colors import hex_to_rgb
from plotly.subplots import make_subplots

from analysis.plots.style import COLORS, INK, SEQUENTIAL, TEMPLATE

SHARE = [-0.03, 1.03]
"""The range of an axis of shares, with room for the marks at 0 and 1."""
PRINTED = 8
"""Heat maps with up to so many rows and columns have their numbers in them."""


def panels(
    titles: Sequence[str], columns: int, title: str, height: int, **subplots: Any
) -> go.Figure:
    """An empty figure of several panels, `height` pixels each, filled row by row.

    `subplots` are options of plotly's `make_subplots`.
    """
    rows = -(-len(titles) // columns)
    drawn = make_subplots(rows, columns, subplot_titles=titles, **subplots)
    layout = {"template": TEMPLATE, "title": {"text": title}, "margin": {"t": 110}}
    return drawn.update_layout(**layout, height=rows * height + 170)


def place(position: int, columns: int) -> dict[str, Any]:
    """Row and column of a panel."""
    return {"row": position // columns + 1, "col": position % columns + 1}


def add_band(
    drawn: go.Figure,
    points: pd.DataFrame,
    name: str,
    color: str,
    where: dict[str, Any],
    *,
    in_legend: bool,
    is_log: bool = False,
) -> None:
    """The mean over seeds of the column y at each x, within one standard deviation (n - 1).

    Of its logarithm if `is_log`.
    """
    if is_log:
        points = points.assign(y=np.log(points["y"]))
    found = points.groupby("x", as_index=False)["y"].agg(["mean", "std"]).fillna({"std": 0})
    x, middle = found["x"], found["mean"]
    low, high = middle - found["std"], middle + found["std"]
    if is_log:
        low, middle, high = np.exp(low), np.exp(middle), np.exp(high)
    drawn.add_scatter(
        x=[*x, *x[::-1]],
        y=[*high, *low[::-1]],
        mode="lines",
        line={"width": 0},
        fill="toself",
        fillcolor=f"rgba{(*hex_to_rgb(color), 0.18)}",
        hoverinfo="skip",
        showlegend=False,
        legendgroup=name,
        **where,
    )
    drawn.add_scatter(
        x=x,
        y=middle,
        name=name,
        mode="lines",
        line={"color": color, "width": 2.5},
        showlegend=in_legend,
        legendgroup=name,
        **where,
    )


def heat_maps(
    maps: Mapping[str, pd.DataFrame], columns: int, title: str, *, x: str, y: str
) -> go.Figure:
    """A panel for each matrix of shares, all with equal rows and columns; NaN is left blank.

    Rows that are called by numbers go upwards, others down.
    """
    first = next(iter(maps.values()))
    spacing: dict[str, Any] = {"horizontal_spacing": 0.1 / columns, "vertical_spacing": 0.12}
    drawn = panels(
        list(maps),
        columns,
        title,
        max(230, 34 * len(first)),
        shared_xaxes=True,
        shared_yaxes=True,
        **spacing,
    )
    for i, matrix in enumerate(maps.values()):
        drawn.add_heatmap(
            z=matrix,
            x=[str(name) for name in matrix.columns],
            y=[str(name) for name in matrix.index],
            coloraxis="coloraxis",
            texttemplate="%{z:.2f}" if max(matrix.shape) <= PRINTED else None,
            hoverongaps=False,
            xgap=1,
            ygap=1,
            **place(i, columns),
        )
    drawn.update_xaxes(type="category", showgrid=False)
    drawn.update_xaxes(title_text=x, row=-(-len(maps) // columns))
    up = pd.api.types.is_numeric_dtype(first.index)
    drawn.update_yaxes(type="category", showgrid=False, autorange=True if up else "reversed")
    drawn.update_yaxes(title_text=y, col=1)
    scale = {"colorscale": SEQUENTIAL, "cmin": 0, "cmax": 1}
    return drawn.update_layout(coloraxis={**scale, "colorbar": {"title": {"text": "share"}}})


def dots(
    rows: pd.DataFrame, names: Sequence[str], quantities: Mapping[str, str], title: str
) -> go.Figure:
    """A panel for each column of `quantities`, with a dot a row and a diamond at the mean.

    Args:
        rows: a row a seed; the column `name` says in which line it stands.
        names: the lines, from the top.
        quantities: columns that hold shares, and the titles of their axes.
        title: of the figure.
    """
    height = 26 * len(names)
    drawn = panels([""] * len(quantities), len(quantities), title, height, shared_yaxes=True)
    seed = {"color": COLORS[0], "size": 8, "opacity": 0.55}
    diamond = {"color": INK, "size": 10, "symbol": "diamond-open", "line": {"width": 2}}
    for i, (column, axis) in enumerate(quantities.items()):
        where = place(i, len(quantities))
        mean = rows.pivot_table(values=column, index="name").reset_index()
        for table, name, marker in ((rows, "one seed", seed), (mean, "mean", diamond)):
            drawn.add_scatter(
                x=table[column],
                y=table["name"],
                name=name,
                mode="markers",
                marker=marker,
                cliponaxis=False,
                showlegend=i == 0,
                **where,
            )
        drawn.update_xaxes(title_text=axis, range=SHARE, **where)
    order = {"categoryorder": "array", "categoryarray": list(names), "autorange": "reversed"}
    drawn.update_yaxes(type="category", **order)
    return drawn.update_layout(legend={"orientation": "h", "y": 1.01, "yanchor": "bottom"})
