"""How an experiment is told: what is measured of it, and the page with its tables."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import pandas as pd
import torch

from analysis.plots.gallery import Figures
from interp.models.config import DecoderConfig
from interp.runs.run import Run
from paper.chain_of_thought.averages import SOLVED, Headings, averages
from paper.chain_of_thought.experiments import Cell
from paper.chain_of_thought.scores import Row, run_scores
from paper.tables import Table, markdown
from tasks.iteration import IterationTask
from tasks.iteration.iteration import brief

COLUMNS = """\
States, sequences: the shares that are right on the test set, given the true sequence so far (own
output: given its own; then with an EoS in its place), averaged over the lengths from 4. To x_t, to
EoI: the share of positions that attend there by more than 1/2, of the head that does it most.
Numbers are means ± standard deviations over seeds, without the latter where all seeds agree."""
"""What the columns of all tables are."""


@dataclass(frozen=True)
class Results:
    """What was measured of an experiment's networks.

    Attributes:
        labels: the columns that tell the networks apart, but for their seeds.
        rows: a row a network: labels, seed and numbers.
        details: several rows a network, with labels and seed; empty where there are none.
    """

    labels: list[str]
    rows: pd.DataFrame
    details: pd.DataFrame


def averages_table(results: Results, headings: Headings = SOLVED) -> dict[str, pd.DataFrame]:
    """One table, with a row for each network."""
    return {"": averages(results.rows, results.labels, headings)}


@dataclass(frozen=True)
class Report:
    """What of an experiment is measured, tabulated and drawn."""

    title: str
    figures: Callable[[Results], Figures]
    tables: Callable[[Results], dict[str, pd.DataFrame]] = averages_table
    """Printed cells, by title."""
    measure: Callable[[Run, torch.device], Row] = run_scores
    """A network's row."""
    details: Callable[[Run, torch.device], pd.DataFrame] | None = None
    details_name: str = ""
    """What a row of the details is about, in the plural; it ends the name of their file."""
    notes: str = ""
    """What else a reader of the tables must know."""


def markdown_page(
    report: Report, results: Results, trained: str, repeat: str, failed: Sequence[str]
) -> str:
    """Markdown: what was trained, and how to repeat it; what the columns are; the tables."""
    parts = [f"{report.title}: {trained}. To repeat it: `{repeat}`.", COLUMNS, report.notes]
    if failed:
        parts.append(f"Failed, and not in the tables: {', '.join(failed)}.")
    for title, table in report.tables(results).items():
        parts += [f"## {title}"] * bool(title) + [markdown(Table(title, table)).rstrip()]
    return "\n\n".join(part for part in parts if part) + "\n"


def what_was_trained(cells: Sequence[Cell], seeds: str) -> str:
    """The choices that the recipes of an experiment make, each once, in one line."""
    recipes = [cell.recipe for cell in cells]
    tasks = [recipe.task for recipe in recipes if isinstance(recipe.task, IterationTask)]
    models = [recipe.model for recipe in recipes if isinstance(recipe.model, DecoderConfig)]
    choices = {
        "problems": [task.name for task in tasks],
        "longest sequence": [task.max_length for task in tasks],
        "sequences of a length": [task.n_per_length for task in tasks],
        "width": [model.d_model for model in models],
        "layers": [model.n_layers for model in models],
        "learning rate": [recipe.optimizer.lr for recipe in recipes],
        "steps": [recipe.schedule.steps for recipe in recipes],
        "batch": [recipe.schedule.batch_size for recipe in recipes],
    }
    told = [f"{name} {brief(list(dict.fromkeys(found)))}" for name, found in choices.items()]
    return f"{'; '.join(told)}; seeds {seeds}"
