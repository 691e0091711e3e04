"""Which irreps a network uses, and in what order it learned them."""

import math
from dataclasses import dataclass

import pandas as pd
import torch
from torch.nn import Module

from analysis.representation.activations import activation_sums, activations
from analysis.representation.logits import (
    character_coefficients,
    logit_squares,
    similarity,
    similarity_by_chance,
)
from analysis.scores import split_scores
from tasks.composition import GroupComposition

PUBLISHED_GROUPS = ("C113", "C118", "D59", "D61", "S5", "S6", "A5")
THRESHOLD = 0.005
"""Of the similarity, as published for the published groups."""
CHANCE_FACTOR = 5.0
MIN_ACCURACY = 0.95
LEARNED = 0.05
"""An irrep is learned at the first checkpoint with a similarity above this."""


@dataclass(frozen=True)
class KeyIrreps:
    """The irreps that a network computes with, and how that was decided."""

    names: tuple[str, ...]
    """In the order of `irreps(group)`."""
    rule: str


def find_key_irreps(model: Module, task: GroupComposition) -> KeyIrreps:
    """The non-trivial irreps whose similarity is above a threshold.

    For the published groups the threshold is the published 0.005. In small groups a similarity of
    that size is chance. So for all others an irrep has to be above max(0.005, 5 sd), with sd the
    standard deviation of its similarity under random relabelling of the pairs
    (`similarity_by_chance`), and there are none at all when the test accuracy is under 0.95.
    """
    published = task.finite_group.name in PUBLISHED_GROUPS
    if not published and (accuracy := split_scores(model, task, "test").accuracy) < MIN_ACCURACY:
        return KeyIrreps((), f"none: the test accuracy {accuracy:.3g} is below {MIN_ACCURACY}")
    with torch.no_grad():
        acts = activations(model, task)
        coefficients = character_coefficients(acts, activation_sums(acts))
        found = similarity(acts, coefficients, logit_squares(acts))
        threshold = torch.full_like(found, THRESHOLD)
        if not published:
            threshold = threshold.maximum(CHANCE_FACTOR * similarity_by_chance(acts))
    names = [n for n, key in zip(acts.harmonics.names, found > threshold, strict=True) if key]
    rule = f"similarity above {THRESHOLD}" + (
        ", as published" if published else f" and {CHANCE_FACTOR:g} standard deviations of chance"
    )
    return KeyIrreps(tuple(name for name in names if name != acts.harmonics.names[0]), rule)


def learning_order(metrics: pd.DataFrame, key_irreps: tuple[str, ...]) -> list[str]:
    """Key irreps by the first step at which their similarity is above 0.05.

    Of those with the same step, and of those that never get there, which come last, the one with
    the larger similarity (at that step; at the last step) comes first. With one checkpoint only,
    that is the order of similarity. The published rule took up one irrep a checkpoint instead.

    Args:
        metrics: a run's `step, metric, component, value` rows.
        key_irreps: canonical names.
    """
    rows = metrics.loc[metrics["metric"] == "logits/similarity"].sort_values("step")

    def rank(name: str) -> tuple[float, float]:
        mine = rows.loc[rows["component"] == f"irrep:{name}"]
        course = list(zip(mine["step"], mine["value"], strict=True))
        for step, value in course:
            if value > LEARNED:
                return float(step), -value
        return math.inf, -course[-1][1] if course else 0.0

    return sorted(key_irreps, key=rank)
