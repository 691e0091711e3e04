"""What a row of an experiment's table says about a network."""

import math
from collections.abc import Mapping
from typing import Any

import torch

from interp.runs.run import Run

Row = dict[str, Any]

ACCURACIES = (
    "token_accuracy",
    "sequence_accuracy",
    "train_sequence_accuracy",
    "free_running_accuracy",
    "final_answer_accuracy",
    "end_accuracy",
)


def run_scores(run: Run, device: torch.device) -> Row:
    """Accuracies of an evaluated network, and the heads that look at x_t and at the end of input.

    They are those of `analysis.iteration.iteration_metrics`, means over the lengths from 4, and
    NaN where they are not defined. All was computed before: `device` does not matter.
    """
    found = final_metrics(run)
    row: Row = {name: found.get(f"iteration/{name}", {}).get("", math.nan) for name in ACCURACIES}
    above_half = found.get("attention/above_half", {})
    return row | best_head(above_half, "x_t") | best_head(above_half, "EoI")


def final_metrics(run: Run) -> dict[str, dict[str, float]]:
    """What was measured of the final network: values by metric and component."""
    table = run.metrics()
    table = table.loc[table["step"] == run.final_step]
    return {
        str(metric): dict(zip(rows["component"], rows["value"], strict=True))
        for metric, rows in table.groupby("metric")
    }


def best_head(above_half: Mapping[str, float], role: str) -> Row:
    """The head with the largest share of attention above one half in a role.

    Returns:
        For the role x_t the columns x_t_score, that share, and x_t_head, its name; NaN and empty
        without chain of thought.
    """
    ending = f":{role}"
    heads = {k.removesuffix(ending): v for k, v in above_half.items() if k.endswith(ending)}
    best = max(heads, key=heads.__getitem__, default="")
    return {f"{role}_score": heads.get(best, math.nan), f"{role}_head": best}
