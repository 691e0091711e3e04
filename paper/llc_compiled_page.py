"""The local learning coefficients of compiled programs as a page and a picture."""

from typing import Any

import pandas as pd
import plotly.graph_objects as go
from scipy.stats import spearmanr

from analysis.plots.style import INK, hollow_where, line_style
from paper.chain_of_thought.plots import panels, place
from paper.tables import ABSENT, Table, markdown

NAMES = ("live", "body")
"""What moves."""
SIZES = ("vocabulary", "length", "parameters", "live")
FEWEST = 5
"""Estimates that pass, for which correlations are computed."""
SYMBOLS = ("circle", "square")


def page(table: pd.DataFrame) -> str:
    """Markdown: the table, and what the coefficient of the live entries goes with."""
    cells = [_cells(row) for row in table.to_dict("records")]
    printed = markdown(Table("compiled", pd.DataFrame(cells)))
    found = correlations(table)
    if found.empty:
        return printed
    head = (
        "\n## What the coefficient of the live entries goes with\n\nRank correlations over the "
        "networks of the least hardness whose numbers pass.\n\n"
    )
    return printed + head + markdown(Table("correlations", found))


def _cells(row: dict[Any, Any]) -> dict[str, str]:
    return {
        "program": row["program"],
        "vocabulary": str(row["vocabulary"]),
        "length": str(row["length"]),
        "hardness": "least" if pd.isna(row["hardness"]) else f"{row['hardness']:g}",
        **{name: str(row[name]) for name in ("parameters", "live", "examples")},
        **{f"LLC ({name})": _number(row, name) for name in NAMES},
        "seconds": f"{row['seconds']:.0f}",
    }


def _number(row: dict[Any, Any], name: str) -> str:
    """The estimate with its interval; in brackets what failed."""
    value, low, high, failures, steps = (
        row[f"{name}_{what}"] for what in ("llc", "low", "high", "failures", "steps")
    )
    if pd.isna(steps):  # it was not asked for
        return ABSENT
    if pd.isna(value):
        return f"[{failures}]"
    if failures:
        return f"[{value:.3g}: {failures}]"
    return f"{value:.2f} ({low:.2f} to {high:.2f})"


def correlations(table: pd.DataFrame) -> pd.DataFrame:
    """Spearman's rank correlations of the live coefficients with sizes, of what passes."""
    passed = table.loc[table["hardness"].isna() & (table["live_failures"] == "")]
    if len(passed) < FEWEST:
        return pd.DataFrame()
    rows = []
    for column in SIZES:
        if passed[column].nunique() < 2:
            continue
        rho, p = spearmanr(passed[column], passed["live_llc"])
        networks = str(len(passed))
        rows.append({"with": column, "networks": networks, "rho": f"{rho:.2f}", "p": f"{p:.2g}"})
    return pd.DataFrame(rows)


def compiled_figure(table: pd.DataFrame) -> go.Figure:
    """The numbers against sizes and hardness; hollow where a check fails.

    What lies far above the estimates that pass is not in the picture.
    """
    columns = {"live": "live", "parameters": "body", "gap": "live"}
    titles = ["live entries move", "all entries move", "by hardness, live entries"]
    title = "Local learning coefficients of compiled programs"
    drawn = panels(titles, 3, title, 380, horizontal_spacing=0.13)
    smallest = table[["vocabulary", "length"]].iloc[0].tolist()
    for i, (across, name) in enumerate(columns.items()):
        most = table.loc[table[f"{name}_failures"] == "", f"{name}_high"].max()
        drawn.update_xaxes(title_text=across, **place(i, 3))
        limits = [0, 1.2 * most] if most > 0 else None
        drawn.update_yaxes(title_text=f"LLC ({name})", range=limits, **place(i, 3))
        is_drawn = table["hardness"].isna()
        if across == "gap":
            is_drawn = (table[["vocabulary", "length"]] == smallest).all(axis=1)
        for j, program in enumerate(table["program"].unique()):
            rows = table.loc[is_drawn & (table["program"] == program)]
            rows = rows.dropna(subset=[f"{name}_llc"]).sort_values(by=across)
            if len(rows):
                _add_points(drawn, rows, across, name, j, place(i, 3))
    return drawn.update_layout(font={"color": INK})


def _add_points(
    drawn: go.Figure,
    rows: pd.DataFrame,
    across: str,
    name: str,
    position: int,
    where: dict[str, int],
) -> None:
    """A program's numbers, in the style of its position among the programs."""
    style, program = line_style(position), str(rows["program"].iloc[0])
    is_hollow = rows[f"{name}_failures"] != ""
    drawn.add_scatter(
        x=rows[across],
        y=rows[f"{name}_llc"],
        error_y={"array": rows[f"{name}_high"] - rows[f"{name}_llc"], "thickness": 1},
        name=program,
        mode="lines+markers" if across == "gap" else "markers",
        line=style | {"width": 1},
        marker={
            "size": 8,
            "symbol": SYMBOLS[position // 6],
        }
        | hollow_where(is_hollow, style["color"]),
        legendgroup=program,
        showlegend=where["col"] == 1,
        **where,
    )
