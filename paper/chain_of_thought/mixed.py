"""Networks that learn several problems at once: is there one iteration head for them?"""

from typing import cast

import pandas as pd
import torch

from analysis.iteration import attention_scores, length_scores, role_effects
from analysis.iteration.attention import by_head
from analysis.iteration.measure import averaged
from analysis.plots.gallery import Figures
from interp.models.graph import head_name
from interp.models.transformer import TaskTransformer
from interp.runs.run import Run
from paper.chain_of_thought.averages import Heading, averages
from paper.chain_of_thought.experiments import SOURCES
from paper.chain_of_thought.plots import heat_maps
from paper.chain_of_thought.report import Report, Results, averages_table
from paper.chain_of_thought.scores import Row, best_head
from tasks.iteration import Mixed

HEADINGS = {
    "token_accuracy": Heading("states"),
    "sequence_accuracy": Heading("sequences"),
    "x_t_score": Heading("to x_t"),
    "x_t_head": Heading("head to x_t"),
    "same_head": Heading("one for all", ".0%"),
    "swap": Heading("swapped"),
    "knock_out": Heading("lost without"),
    "EoI_score": Heading("to EoI"),
    "EoI_head": Heading("head to EoI"),
}
MAPS = {
    "token_accuracy": "States right",
    "x_t_score": "Attention to x<sub>t</sub> > 1/2",
    "swap": "Answers that follow a swapped x<sub>t</sub>",
    "knock_out": "States lost without x<sub>t</sub>",
}


def problems(run: Run, device: torch.device) -> pd.DataFrame:
    """A row for each problem: accuracy, its heads, and what interventions on its x_t head do.

    Columns: problem, token_accuracy, sequence_accuracy, those of `best_head` for x_t and EoI,
    swap and knock_out as in `role_effects`, and same_head, whether all problems of the network
    have the x_t head of this one. All are averages over the `averaged_lengths` of the problem.
    """
    task, model = cast(Mixed, run.recipe.task), cast(TaskTransformer, run.model().to(device))
    tables = (
        length_scores(model, task, by_problem=True),
        attention_scores(model, task, by_problem=True),
        role_effects(model, task, by_problem=True),
    )
    rows = []
    for name in tables[0]["problem"].unique():
        of_problem = (table.loc[table["problem"] == name] for table in tables)
        rows.append({"problem": name, **_problem_row(*of_problem)})
    table = pd.DataFrame(rows)
    return table.assign(same_head=float(len(set(table["x_t_head"])) == 1))


def _problem_row(accuracy: pd.DataFrame, attention: pd.DataFrame, effects: pd.DataFrame) -> Row:
    """The numbers of one problem, from its rows of the three tables."""
    accuracy = averaged(accuracy)
    shares = by_head(attention.loc[attention["length"].isin(accuracy["length"])], "above_half")
    heads = best_head(shares, "x_t") | best_head(shares, "EoI")
    head = pd.Series(map(head_name, effects["layer"], effects["head"]), effects.index)
    (effect,) = effects.loc[
        (effects["role"] == "x_t") & (head == heads["x_t_head"]), ["swap", "knock_out"]
    ].to_dict(orient="records")
    return accuracy[["token_accuracy", "sequence_accuracy"]].mean().to_dict() | heads | effect


def tables(results: Results) -> dict[str, pd.DataFrame]:
    """The networks, and each of their problems."""
    by_problem = averages(results.details, [*results.labels, "problem"], HEADINGS)
    return averages_table(results) | {"By problem": by_problem}


def figures(results: Results) -> Figures:
    """A map for each quantity, means over seeds: what was learned together, and each of it."""
    everything = "+".join(SOURCES)
    details = results.details.replace({"problems": {everything: "all"}})
    maps = {
        title: details.pivot_table(values=column, index="problems", columns="problem", sort=False)
        for column, title in MAPS.items()
    }
    drawn = heat_maps(maps, 2, "Learned together", x="problem", y="learned together")
    return {"problems": drawn}


REPORT = Report(
    "Several problems at once",
    figures,
    tables,
    details=problems,
    details_name="problems",
    notes=(
        "By problem: the head that attends to x_t most, and in how many seeds it is one for all "
        "problems of the network. With one head a layer this says no more than where it is; what "
        "it does for each problem the interventions say. Swapped: the share of answers that become "
        "those of another input x' when the head's output is taken from a run with x'. Lost "
        "without: by how much the share of right states falls when the head cannot attend to x_t."
    ),
)
