"""Experiments that compare variants of a network, one beside the other: a dot a seed."""

import pandas as pd
import torch

from analysis.plots.gallery import Figures
from analysis.plots.style import COLORS
from interp.runs.run import Run
from paper.chain_of_thought.averages import Heading
from paper.chain_of_thought.plots import dots
from paper.chain_of_thought.report import Report, Results, averages_table
from paper.chain_of_thought.scores import Row, run_scores
from tasks.iteration import IterationTask

ANSWERS = {
    "final_answer_accuracy": Heading("final answers, own output"),
    "token_accuracy": Heading("scored states"),
    "train_sequence_accuracy": Heading("sequences, training set"),
    "chance": Heading("by chance"),
    "x_t_score": Heading("to x_t"),
    "x_t_head": Heading("head to x_t"),
}


def ablation_figures(results: Results) -> Figures:
    """Accuracy and attention of every change, below the network that nothing was changed in."""
    changed = results.rows["changed"] + " " + results.rows["value"].map(str)
    rows = results.rows.assign(name=changed.str.strip())
    quantities = {
        "sequence_accuracy": "whole sequences right",
        "x_t_score": "attention to x<sub>t</sub> > 1/2",
    }
    names = list(dict.fromkeys(rows["name"]))
    return {"changes": dots(rows, names, quantities, ABLATIONS.title)}


def measure_answers(run: Run, device: torch.device) -> Row:
    """The usual scores, and the share of answers that one guesses who knows the states."""
    task = run.recipe.task
    assert isinstance(task, IterationTask)
    (problem,) = task.problems
    return run_scores(run, device) | {"chance": 1 / len(problem.states)}


def slack_figures(results: Results) -> Figures:
    """Final answers on both splits for every variant, with what is right by chance."""
    rows = results.rows.assign(name=results.rows["problem"] + ", " + results.rows["variant"])
    quantities = {
        "final_answer_accuracy": "final answers right, own output",
        "train_sequence_accuracy": "training sequences right",
    }
    names = list(dict.fromkeys(rows["name"]))
    drawn = dots(rows, names, quantities, SLACK.title)
    mark = {"color": COLORS[1], "symbol": "line-ns-open", "size": 16, "line": {"width": 2}}
    for col in (1, 2):
        drawn.add_scatter(
            x=rows["chance"],
            y=rows["name"],
            name="chance",
            mode="markers",
            marker=mark,
            showlegend=col == 1,
            row=1,
            col=col,
        )
    return {"answers": drawn}


def slack_tables(results: Results) -> dict[str, pd.DataFrame]:
    """A row for each variant."""
    return averages_table(results, ANSWERS)


ABLATIONS = Report("One thing changed at a time", ablation_figures)
SLACK = Report(
    "Tokens to think in before the answer",
    slack_figures,
    slack_tables,
    measure_answers,
    notes=(
        "Final answers, own output: the network reads what it said itself, as chain of thought "
        "has to. Scored states: given the true sequence so far; with chain of thought all of them, "
        "else the last. By chance: of one who knows the states and guesses among them."
    ),
)
