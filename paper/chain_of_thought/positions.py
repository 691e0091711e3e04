"""Length generalisation with each encoding of positions."""

from dataclasses import replace
from typing import cast

import pandas as pd
import torch

from analysis.iteration import attention_scores, length_scores, step_scores
from analysis.iteration.attention import by_head
from analysis.plots.gallery import Figures
from analysis.plots.style import COLORS, MUTED
from interp.models.transformer import TaskTransformer
from interp.runs.run import Run
from paper.chain_of_thought.averages import Heading, averages
from paper.chain_of_thought.plots import SHARE, add_band, dots, panels, place
from paper.chain_of_thought.report import Report, Results
from paper.chain_of_thought.scores import Row, best_head, final_metrics, run_scores
from tasks.iteration import Iteration, IterationTask

GENERALISES = 0.95
"""The share of states beyond training that is right where a network generalises."""
COLUMNS = 4
HEADINGS = {
    "token_accuracy": Heading("states"),
    "token_accuracy_beyond": Heading("states beyond"),
    "guess": Heading("by guess"),
    "sequence_accuracy": Heading("sequences"),
    "sequence_accuracy_beyond": Heading("sequences beyond"),
    "sequence_accuracy_longest": Heading("sequences, longest"),
    "chance_longest": Heading("by chance", ".0e"),
    "first_wrong_longest": Heading("first wrong t, longest", ".1f"),
    "end_accuracy_beyond": Heading("end beyond"),
    "free_running_accuracy_beyond": Heading("sequences beyond, own output"),
    "x_t_score": Heading("to x_t"),
    "x_t_score_longest": Heading("to x_t, longest"),
    "x_t_head_longest": Heading("head, longest"),
}


def longest_task(task: IterationTask) -> IterationTask:
    """The sequences of the longest length that a network has positions for, and no others."""
    assert task.longest is not None
    return replace(task, min_length=task.longest, max_length=task.longest)


def measure(run: Run, device: torch.device) -> Row:
    """Scores at trained lengths, means over those beyond, and scores at the longest."""
    task, model = _task_and_model(run, device)
    longest = longest_task(task)
    (at_longest,) = length_scores(model, longest).to_dict(orient="records")
    beyond = {
        f"{name}_beyond": final_metrics(run)[f"iteration/{name}"]["beyond"]
        for name in ("token_accuracy", "sequence_accuracy", "end_accuracy", "free_running_accuracy")
    }
    head = best_head(by_head(attention_scores(model, longest), "above_half"), "x_t")
    return {
        **run_scores(run, device),
        **beyond,
        "guess": guess(task.problems[0]),
        **{
            f"{name}_longest": at_longest[name]
            for name in ("sequence_accuracy", "chance", "first_wrong")
        },
        **{f"{name}_longest": value for name, value in head.items()},
    }


def steps(run: Run, device: torch.device) -> pd.DataFrame:
    """The rows of `step_scores` at the longest length, with the longest trained, and `guess`."""
    task, model = _task_and_model(run, device)
    known = {"trained": task.max_length, "guess": guess(task.problems[0])}
    return step_scores(model, longest_task(task)).assign(**known)


def guess(problem: Iteration) -> float:
    """The share of right states of the best guess from s_(t-1) alone, all s_(t-1) as likely.

    It can be more than one in the number of states: modulo 5, s x + 1 is 1 where s is 0, and else
    one of four.
    """
    n_inputs = [torch.bincount(after).max().item() for after in problem.transition]
    return sum(n_inputs) / problem.transition.numel()


def _task_and_model(run: Run, device: torch.device) -> tuple[IterationTask, TaskTransformer]:
    return cast(IterationTask, run.recipe.task), cast(TaskTransformer, run.model().to(device))


def tables(results: Results) -> dict[str, pd.DataFrame]:
    """A row for each encoding, and whether networks with it generalise."""
    table = averages(results.rows, results.labels, HEADINGS)
    by_cell = results.rows.groupby(results.labels, sort=False)["token_accuracy_beyond"]
    table["generalises"] = [_generalises(pd.Series(values)) for _, values in by_cell]
    return {"": table}


def _generalises(accuracy: pd.Series) -> str:
    """Whether all seeds do, or some, or none."""
    n = int((accuracy >= GENERALISES).sum())
    if n in (0, len(accuracy)):
        return "yes" if n else "no"
    return f"{n} of {len(accuracy)}"


def figures(results: Results) -> Figures:
    """Accuracy by t at the longest length, a panel for each encoding; and beyond, a dot a seed."""
    names = list(dict.fromkeys(results.rows["positions"]))
    length, trained = results.details["length"].max(), results.details["trained"].max()
    title = f"Accuracy of s<sub>t</sub> in sequences of {length}, after training to {trained}"
    drawn = panels(
        names, COLUMNS, title, 190, shared_xaxes=True, shared_yaxes=True, vertical_spacing=0.08
    )
    for i, name in enumerate(names):
        of_cell = results.details.loc[results.details["positions"] == name]
        points = pd.DataFrame({"x": of_cell["t"], "y": of_cell["teacher_forced"]})
        where = place(i, COLUMNS)
        add_band(drawn, points, name, COLORS[0], where, in_legend=False)
        drawn.add_vline(x=trained, line={"color": MUTED, "dash": "dot"}, **where)
        drawn.add_hline(y=of_cell["guess"].max(), line={"color": MUTED, "dash": "dot"}, **where)
        if i + COLUMNS >= len(names):
            drawn.update_xaxes(title_text="t", showticklabels=True, **where)
    drawn.update_yaxes(range=SHARE)
    drawn.update_yaxes(title_text="share right", col=1)
    quantities = {
        "token_accuracy_beyond": "states right",
        "end_accuracy_beyond": "EoS in its place",
        "x_t_score_longest": "attention to x<sub>t</sub> > 1/2",
    }
    beyond = f"Beyond training: sequences of {trained + 1} to {length}"
    rows = results.rows.assign(name=results.rows["positions"])
    return {"by_step": drawn, "beyond": dots(rows, names, quantities, beyond)}


REPORT = Report(
    "Encodings of positions, at twice the trained length",
    figures,
    tables,
    measure,
    details=steps,
    details_name="steps",
    notes=(
        "Beyond: averaged over the lengths beyond training, given the true sequence so far. By "
        "guess: the states that are right if they are guessed from the one before, without x_t. "
        "Longest: at the longest length, where one who guesses each state among all and knows the "
        "end is right by chance. First wrong t: of the states, one more than there are if all are "
        "right. End: EoS just after the last state. An encoding generalises in seeds where "
        f"{GENERALISES:.0%} or more of the states beyond training are right."
    ),
)
