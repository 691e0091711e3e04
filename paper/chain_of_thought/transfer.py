"""From every problem to every other: what a network takes along."""

import math
from collections.abc import Callable
from itertools import product

import pandas as pd
import plotly.graph_objects as go
import torch

from analysis.plots.gallery import Figures
from analysis.plots.style import COLORS, INK
from interp.runs.run import Run
from paper.chain_of_thought.averages import SOLVED, Heading, mean_and_sd
from paper.chain_of_thought.plots import SHARE, add_band, heat_maps, panels, place
from paper.chain_of_thought.report import Report, Results, averages_table
from paper.chain_of_thought.scores import Row, run_scores

SCRATCH = "scratch"
"""The source of a network that learns nothing else before."""
GOAL = 0.95
"""The accuracy on single tokens of the test set that is to be reached."""
PARTS = {"all": "all weights tuned", "last-mlp": "the last MLP tuned"}
MAPS = {
    "sequence_accuracy": "Whole sequences right",
    "x_t_score": "Attention to x<sub>t</sub> > 1/2",
}
STEPS = {"steps_to_goal": Heading(f"Steps to {GOAL:.0%}", ".0f")}


def measure(run: Run, device: torch.device) -> Row:
    """The usual scores, and the first recorded step at the goal; NaN if it was never reached."""
    history = curve(run, device)
    reached = history.loc[history["accuracy"] >= GOAL, "step"]
    return run_scores(run, device) | {"steps_to_goal": float(min(reached, default=math.nan))}


def curve(run: Run, device: torch.device) -> pd.DataFrame:
    """Steps, with the share of scored tokens of the test set that were right after them.

    It was recorded in training: `device` does not matter.
    """
    history = run.history()
    return history.loc[history["split"] == "test", ["step", "accuracy"]]


def tables(results: Results) -> dict[str, pd.DataFrame]:
    """From which problem to which, a table for each quantity; and all networks, a row each."""
    headings = {column: Heading(_plain(title)) for column, title in MAPS.items()} | STEPS
    found = {
        f"{heading.text}: {name}": matrix(
            results.rows, part, column, lambda values, form=heading.form: mean_and_sd(values, form)
        ).reset_index(names="from \\ to")
        for part, name in PARTS.items()
        for column, heading in headings.items()
    }
    return found | {"All networks": averages_table(results, {**SOLVED, **STEPS})[""]}


def matrix(
    rows: pd.DataFrame,
    part: str,
    column: str,
    over_seeds: str | Callable[[pd.Series], str] = "mean",
) -> pd.DataFrame:
    """A quantity by source (scratch is the first) and target, for one way of fine-tuning."""
    return of_part(rows, part).pivot_table(
        values=column, index="source", columns="target", aggfunc=over_seeds, sort=False
    )


def of_part(rows: pd.DataFrame, part: str) -> pd.DataFrame:
    """The networks of one way of fine-tuning, and those from scratch."""
    return rows.loc[(rows["trained"] == part) | (rows["source"] == SCRATCH)]


def _plain(title: str) -> str:
    return title.replace("<sub>t</sub>", "_t")


def figures(results: Results) -> Figures:
    """Maps from source to target after fine-tuning, and accuracy along it for each target."""
    maps = {
        f"{title}<br>{name}": matrix(results.rows, part, column)
        for column, title in MAPS.items()
        for part, name in PARTS.items()
    }
    after = heat_maps(maps, len(PARTS), "After fine-tuning", x="to", y="from")
    return {"after": after, "curves": _curves(results.details)}


def _curves(details: pd.DataFrame) -> go.Figure:
    """A panel for each way of fine-tuning and target, with a line for each source."""
    targets = list(dict.fromkeys(details["target"]))
    titles = [f"to {target}<br>{name}" for name in PARTS.values() for target in targets]
    drawn = panels(
        titles,
        len(targets),
        "Learning after another problem",
        240,
        shared_xaxes=True,
        shared_yaxes=True,
        horizontal_spacing=0.03,
        vertical_spacing=0.16,
    )
    colors = dict(zip(dict.fromkeys(details["source"]), (INK, *COLORS), strict=False))
    named = set()
    for source, (i, (part, target)) in product(colors, enumerate(product(PARTS, targets))):
        rows = of_part(details, part)
        rows = rows.loc[(rows["source"] == source) & (rows["target"] == target)]
        if len(rows):
            name = source if source == SCRATCH else f"after {source}"
            points = rows.rename(columns={"step": "x", "accuracy": "y"})
            where = place(i, len(targets))
            add_band(drawn, points, name, colors[source], where, in_legend=name not in named)
            named.add(name)
    drawn.update_xaxes(tickformat="~s")  # such as 20k
    drawn.update_xaxes(title_text="steps", row=len(PARTS))
    drawn.update_yaxes(range=SHARE)
    drawn.update_yaxes(title_text="tokens right", col=1)
    return drawn.update_layout(legend={"orientation": "h", "y": -0.14, "yanchor": "top"})


REPORT = Report(
    "From one problem to another",
    figures,
    tables,
    measure,
    details=curve,
    details_name="curves",
    notes=(
        f"The row {SCRATCH} is of networks that were trained on one problem alone, all weights and "
        "for longer; the others begin with their weights. Steps are those to the first record of "
        f"{GOAL:.0%} of the scored tokens of the test set, EoS among them."
    ),
)
