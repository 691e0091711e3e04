"""The original setup beside the curves that were published of it."""

from pathlib import Path
from typing import Any

import pandas as pd
import plotly.graph_objects as go
import torch

from analysis.plots.gallery import Figures
from analysis.plots.style import COLORS, INK
from interp.runs.recipe import Recipe
from interp.runs.run import Run
from paper.chain_of_thought.averages import mean_and_sd
from paper.chain_of_thought.plots import SHARE, add_band, panels
from paper.chain_of_thought.report import Report, Results, averages_table
from paper.tables import ABSENT

ACCURACY, SCORE = "sequence_accuracy", "x_t_score"
PUBLISHED: dict[str, dict[str, dict[int, float]]] = {
    "polynomial": {
        ACCURACY: {60: 0.27, 150: 0.69, 200: 0.92, 300: 0.95, 500: 0.94, 1000: 0.96},
        SCORE: {78: 0.44, 125: 0.63, 172: 0.87, 200: 0.89, 300: 0.91, 500: 0.92, 1000: 0.93},
    },
    "parity": {
        ACCURACY: {60: 0.175, 150: 0.45, 200: 0.6, 300: 0.77, 500: 0.87, 1000: 0.95},
        SCORE: {60: 0.25, 150: 0.41, 200: 0.46, 300: 0.51, 500: 0.55, 1000: 0.59},
    },
    "polynomial-to-parity": {
        ACCURACY: {0: 0.16, 40: 0.93, 800: 0.99},
        SCORE: {0: 0.61, 40: 0.93, 800: 0.95},
    },
}
"""By network, quantity and epoch, read off the figures of Cabannes et al. (2024), to about 0.02.

Of the fine-tuned network the epochs are those of fine-tuning.
"""
BEGAN = 200
"""Epochs after which the published networks were fine-tuned."""
LINES = {
    "polynomial": "polynomial",
    "polynomial-shuffled": "polynomial, batches in random order",
    "parity": "parity",
    "polynomial-to-parity": "polynomial → parity",
    "polynomial-to-parity_last-mlp": "polynomial → parity, last MLP alone",
}
DIAMOND = {"size": 10, "symbol": "diamond-open", "line": {"width": 2}}
METRICS = {
    ("iteration/sequence_accuracy", ""): ACCURACY,
    ("attention/above_half", "L1H0:x_t"): SCORE,
    ("attention/above_half", "L0H0:EoI"): "EoI_score",
}


def epochs(run: Run, device: torch.device) -> pd.DataFrame:
    """A row for each checkpoint of an evaluated run: accuracy, and the published head's scores.

    Columns: epoch, begun (epochs that its initial weights were trained), and those of `METRICS`.
    All was computed before: `device` does not matter.
    """
    table = run.metrics()
    column = [METRICS.get(key, "") for key in zip(table["metric"], table["component"], strict=True)]
    found = table.assign(column=column).loc[lambda rows: rows["column"] != ""]
    wide = found.pivot(index="step", columns="column", values="value").reset_index()
    length, start = steps_per_epoch(run.recipe), run.recipe.fine_tuning.start_from
    begun = int(Path(start).stem.removeprefix("step_")) / length if start else 0.0
    return pd.DataFrame(
        {"epoch": wide["step"] / length, "begun": begun, **wide[[*METRICS.values()]]}
    )


def steps_per_epoch(recipe: Recipe) -> int:
    """Minibatches in which all training examples are seen once."""
    assert recipe.schedule.batch_size is not None
    return -(-len(recipe.task.examples("train")) // recipe.schedule.batch_size)


def tables(results: Results) -> dict[str, pd.DataFrame]:
    """The final networks; and along training, beside what was published."""
    return averages_table(results) | {"Along training": beside_published(results.details)}


def beside_published(details: pd.DataFrame) -> pd.DataFrame:
    """Each published epoch and our last, with our value at the nearest measured one.

    What is published after our last epoch has none beside it.
    """
    rows = []
    for network, published in PUBLISHED.items():
        ours = details.loc[details["experiment"] == network]
        if ours.empty:
            continue
        last = ours["epoch"].max()
        told = {round(last)}.union(*published.values())
        for epoch in sorted(told):
            nearest = min(ours["epoch"], key=lambda measured: abs(measured - epoch))
            at = ours.loc[ours["epoch"] == (nearest if epoch <= last else None)]
            row: dict[str, Any] = {"network": LINES[network], "epoch": str(epoch)}
            for quantity, name in ((ACCURACY, "sequences"), (SCORE, "L1H0 to x_t")):
                theirs = published[quantity].get(epoch)
                row[name] = mean_and_sd(at[quantity])
                row[f"{name}, published"] = ABSENT if theirs is None else f"{theirs:g}"
            rows.append(row)
    return pd.DataFrame(rows)


def figures(results: Results) -> Figures:
    """Accuracy and the layer-1 score along training, with the published values."""
    titles = (
        "Whole test sequences right",
        "Attention of L1H0 from s<sub>t-1</sub> to x<sub>t</sub>",
    )
    drawn = panels(titles, 1, "Learning curves", 330, shared_xaxes=True, vertical_spacing=0.09)
    table = results.details.assign(x=lambda rows: rows["begun"] + rows["epoch"])
    for network, color in zip(LINES, COLORS, strict=False):
        ours = table.loc[table["experiment"] == network]
        if len(ours):
            _add_network(drawn, network, ours, color)
    drawn.add_scatter(  # for the legend
        x=[None],
        y=[None],
        name="published: lengths to 16, width 128",
        mode="markers",
        marker={"color": INK, **DIAMOND},
    )
    last = table["x"].max()
    drawn.update_xaxes(range=[-0.01 * last, 1.01 * last])
    drawn.update_xaxes(title_text="epochs, with those before fine-tuning", row=2, col=1)
    drawn.update_yaxes(range=SHARE)
    drawn.update_yaxes(title_text="share of sequences", row=1, col=1)
    drawn.update_yaxes(title_text="share above 1/2", row=2, col=1)
    drawn.update_layout(legend={"orientation": "h", "y": -0.12, "yanchor": "top"})
    return {"curves": drawn}


def _add_network(drawn: go.Figure, network: str, ours: pd.DataFrame, color: str) -> None:
    """Our curves, and the published points."""
    began = BEGAN if network == "polynomial-to-parity" else 0
    for row, quantity in enumerate((ACCURACY, SCORE), 1):
        where: dict[str, Any] = {"row": row, "col": 1}
        points = ours.rename(columns={quantity: "y"})
        add_band(drawn, points, LINES[network], color, where, in_legend=row == 1)
        theirs = PUBLISHED.get(network, {}).get(quantity, {})
        drawn.add_scatter(
            x=[began + epoch for epoch in theirs],
            y=list(theirs.values()),
            name=f"{LINES[network]}, published",
            mode="markers",
            marker={"color": color, **DIAMOND},
            showlegend=False,
            **where,
        )


REPORT = Report(
    "The published setup",
    figures,
    tables,
    details=epochs,
    details_name="epochs",
    notes=(
        "Published are averages over about 100 networks of lengths to 16, width 128 and learning "
        "rate 3e-4, read off the figures of Cabannes et al. (2024) to about 0.02; of the transfer "
        "the epochs are those of fine-tuning, which began after 200 of polynomial iteration. Ours "
        "stand at the nearest epoch that was measured. With batches in random order the data are "
        "ours too: no sequence is in both splits."
    ),
)
