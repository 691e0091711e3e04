"""What interventions did, as a heat map over layers, heads and positions, or as bars."""

from collections.abc import Sequence
from itertools import product

import numpy as np
import plotly.graph_objects as go
import xarray as xr

from analysis.patching.result import Patching
from analysis.plots.style import COLORS, DIVERGING, INK, figure
from interp.models.graph import head_name

AXES = ("layer", "head", "position", "cell")
Cells = np.ndarray
"""A number for each cell of the grid."""


def patching_figure(
    result: Patching, *, title: str, position_names: Sequence[str] | None = None
) -> go.Figure:
    """The effect of every cell, as a share of the gap between both runs unless there is none.

    A grid of two or three axes is a heat map, in which positions go from left to right and every
    head of a layer has a row. Others, and named sets of sites, are bars with intervals of 95 %.

    Raises `ValueError` when there are not as many names as positions.
    """
    is_share = not result.normalised.isnull().any()
    effect = result.normalised if is_share else result.effect
    bounds = result.interval(normalised=is_share)
    axes = [axis for axis in AXES if axis in effect.dims]
    low, high = (bounds.sel(bound=side).transpose(*axes).values for side in ("low", "high"))
    effect = effect.transpose(*axes)
    names = [_names(effect, axis, position_names) for axis in axes]
    what = f"{result.metric},<br>share of gap" if is_share else f"change of<br>{result.metric}"
    draw = _bars if len(axes) < 2 else _heat_map
    return draw(effect, low, high, names, what).update_layout(title_text=title)


def _names(effect: xr.DataArray, axis: str, position_names: Sequence[str] | None) -> list[str]:
    if axis != "position" or position_names is None:
        return [str(name) for name in effect[axis].values]
    if len(position_names) != effect.sizes[axis]:
        raise ValueError(
            f"position_names has {len(position_names)} names: the grid has {effect.sizes[axis]} "
            "positions, and each needs one"
        )
    return list(position_names)


def _heat_map(
    effect: xr.DataArray, low: Cells, high: Cells, names: list[list[str]], what: str
) -> go.Figure:
    *outer, across = map(str, effect.dims)
    down = " and ".join(outer)
    rows = names[0]
    if down == "layer and head":
        places = product(*(effect[axis].values.tolist() for axis in outer))
        down, rows = "head", [head_name(*place) for place in places]
    shape = len(rows), len(names[-1])
    drawn = figure("", across, down, height=max(300, 170 + 26 * len(rows)))
    drawn.add_heatmap(
        z=effect.values.reshape(shape),
        text=_hover_texts(effect.values, low, high).reshape(shape),
        customdata=[[f"{down} {row}, {across} {column}" for column in names[-1]] for row in rows],
        hovertemplate="%{customdata}<br>%{text}<extra></extra>",
        colorscale=DIVERGING,
        zmid=0,
        xgap=1,
        ygap=1,
        colorbar={"title": {"text": what}, "thickness": 16},
    )
    for place in range(len(names[1]), len(rows), len(names[1])) if len(outer) > 1 else ():
        drawn.add_hline(place - 0.5, line={"color": INK, "width": 1})
    ticks = {"tickvals": list(range(shape[1])), "ticktext": names[-1], "autotickangles": [0, -90]}
    drawn.update_xaxes(showgrid=False, **ticks)
    return drawn.update_yaxes(
        tickvals=list(range(shape[0])), ticktext=rows, showgrid=False, autorange="reversed"
    )


def _bars(
    effect: xr.DataArray, low: Cells, high: Cells, names: list[list[str]], what: str
) -> go.Figure:
    rows, values = (names or [["all"]])[0], np.atleast_1d(effect.values)
    drawn = figure("", what.replace("<br>", " "), "".join(map(str, effect.dims)))
    drawn.add_bar(
        x=values,
        y=list(range(len(rows))),
        orientation="h",
        marker_color=np.where(values < 0, COLORS[1], COLORS[0]),
        error_x={"array": high - values, "arrayminus": values - low, "color": INK},
        customdata=rows,
        text=_hover_texts(values, low, high),
        textposition="none",
        hovertemplate="%{customdata}<br>%{text}<extra></extra>",
    )
    drawn.update_layout(height=150 + 34 * len(rows), bargap=0.4)
    drawn.update_xaxes(zeroline=True, zerolinecolor=INK)
    return drawn.update_yaxes(
        tickvals=list(range(len(rows))), ticktext=rows, showgrid=False, autorange="reversed"
    )


@np.vectorize(otypes=[object])
def _hover_texts(effect: float, low: float, high: float) -> str:
    return f"{effect:.3g} [{low:.3g}, {high:.3g}]"
