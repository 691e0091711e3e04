"""Longest length x width: where each problem is solved, with chain of thought and without."""

import pandas as pd
import plotly.graph_objects as go

from analysis.plots.gallery import Figures
from paper.chain_of_thought.plots import heat_maps
from paper.chain_of_thought.report import Report, Results

KINDS = {
    "cot": "chain of thought",
    "cot-1-layer": "chain of thought, one layer",
    "no-cot": "answer alone",
}


def figures(results: Results) -> Figures:
    """Maps of accuracy for each problem and kind, and of attention where there are steps."""
    rows = results.rows
    with_steps = rows.loc[rows["kind"] != "no-cot"]
    return {
        "accuracy": _maps(rows, "sequence_accuracy", "Whole test sequences right"),
        "attention": _maps(
            with_steps, "x_t_score", "Attention to x<sub>t</sub> above 1/2, by the best head"
        ),
    }


def _maps(rows: pd.DataFrame, column: str, title: str) -> go.Figure:
    """Means over seeds."""
    kinds = [kind for kind in KINDS if kind in set(rows["kind"])]
    maps = {
        f"{problem}<br>{KINDS[kind]}": rows.loc[
            (rows["problem"] == problem) & (rows["kind"] == kind)
        ].pivot_table(values=column, index="max_length", columns="d_model")
        for problem in rows["problem"].unique()
        for kind in kinds
    }
    return heat_maps(maps, len(kinds), title, x="width", y="longest length")


REPORT = Report("Longest length and width", figures)
