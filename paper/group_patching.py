"""Where a group transformer carries its operands, at every checkpoint of its training."""

from typing import Any

import pandas as pd
import plotly.graph_objects as go

from analysis.patching import sweep
from analysis.plots.style import COLORS, MUTED, log_axis
from interp.runs.run import Run
from paper.chain_of_thought.averages import mean_and_sd
from paper.chain_of_thought.plots import add_band, panels, place
from paper.tables import Table, markdown

SITES = {
    "resid_pre": ("position a", "position b", "position ="),
    "z": ("L0H0", "L0H1"),
    "mlp_out": ("MLP0",),
}
"""Hook points, and the names of what is patched there; heads and MLP at the last position."""
FIRST_DRAWN = 8
"""The first step in the figure. Before, the gap is next to nothing, and shares of it are noise."""


def patched_along_training(run: Run, n_pairs: int) -> pd.DataFrame:
    """By how much the answer follows parts of a group transformer, at every checkpoint.

    Rows of step, variable (the operand that differs), site (a position of the residual stream
    before the block, a head at the last position, or the MLP there), and effect: the share of the
    gap between both runs. Corrupted activations go into the clean run.
    """
    rows = []
    for step in run.steps:
        model: Any = run.model(step)
        for variable in ("first", "second"):
            pairs = run.recipe.task.pairs(variable, n_pairs)
            found = {hook: sweep(model, pairs, hook).normalised for hook in SITES}
            for hook, names in SITES.items():
                last = found[hook].isel(layer=0)
                values = last if hook == "resid_pre" else last.isel(position=-1)
                for name, value in zip(names, values.values.reshape(-1), strict=True):
                    rows.append({"step": step, "variable": variable, "site": name, "effect": value})
    return pd.DataFrame(rows)


def _after_the_embedding(table: pd.DataFrame) -> pd.DataFrame:
    """Before the block an operand is at its own position alone, at every step: that is not told."""
    return table.loc[~table["site"].isin(SITES["resid_pre"])]


def group_page(table: pd.DataFrame) -> str:
    """Means over seeds: a row for each step, a column for each operand and part."""
    by_part = _after_the_embedding(table).groupby(["step", "variable", "site"], sort=False)
    wide = by_part["effect"].apply(mean_and_sd).unstack(["variable", "site"])
    wide.columns = [f"{site}, {variable} differs" for variable, site in wide.columns]
    return markdown(Table("group", wide.reset_index()))


def group_figure(table: pd.DataFrame, title: str) -> go.Figure:
    """A panel for each operand, a line for each part: the mean over seeds, and one deviation."""
    parts = _after_the_embedding(table)
    parts = parts.loc[parts["step"] >= FIRST_DRAWN].rename(columns={"step": "x", "effect": "y"})
    variables = list(dict.fromkeys(parts["variable"]))
    titles = [f"the {variable} operand differs" for variable in variables]
    drawn = panels(titles, 2, title, 330, shared_yaxes=True, horizontal_spacing=0.04)
    for i, variable in enumerate(variables):
        of_operand = parts.loc[parts["variable"] == variable]
        for site, color in zip(dict.fromkeys(parts["site"]), COLORS, strict=False):
            points = of_operand.loc[of_operand["site"] == site]
            add_band(drawn, points, str(site), color, place(i, 2), in_legend=i == 0)
    drawn.add_hline(1, line={"color": MUTED, "dash": "dot", "width": 1})
    drawn.update_xaxes(title_text="training step", **log_axis(parts["x"].to_numpy()))
    return drawn.update_yaxes(title_text="effect, share of gap", col=1)
