"""The runs of the publication's tables: which belong there, and what is said of each."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import pandas as pd

from analysis.representation.key_irreps import PUBLISHED_GROUPS
from interp.runs.recipe import Recipe
from interp.runs.run import Run, RunError
from paper.experiments import ARCHITECTURES, SEEDS
from tasks.composition import GroupComposition
from tasks.groups import Irrep, find_irrep

COLUMNS = {
    "Test Loss": "loss/test",
    "Exc. Loss": "hidden/excluded_loss",
    "Res. Loss": "hidden/restricted_loss",
    "Logit FVE": "logits/fve",
    "$W_a$ FVE": "embed_a/fve",
    "$W_b$ FVE": "embed_b/fve",
    "$W_U$ FVE": "unembed/fve",
    "MLP FVE": "hidden/fve",
    "MLP $\\rho(ab)$ FVE": "hidden_ab/fve",
}
"""Heading in the publication: our metric, in total over the key irreps."""


@dataclass(frozen=True)
class Rows:
    """What was found in a folder of runs.

    Attributes:
        table: a row a run, with `Architecture`, `Group`, `Seed`, `Key Irreps` and `COLUMNS`.
        missing: of the publication's 56, those that are not in the table, with the reason.
        left_out: other runs that are not in the table, with the reason.
    """

    table: pd.DataFrame
    missing: tuple[str, ...]
    left_out: tuple[str, ...]


def collect(runs: Iterable[Run]) -> Rows:
    """The rows of group-composition runs of the published widths, with seeds up to 4.

    Raises `ValueError` when two runs claim the same row.
    """
    rows: dict[tuple[str, str, int], tuple[Run, dict[str, Any]]] = {}
    reasons: dict[str, str] = {}
    for run in runs:
        try:
            place = place_of(run.recipe)
        except RunError as error:
            reasons[run.name] = str(error)
            continue
        problem = "not of the publication's table" if place is None else _unready(run)
        if place is None or problem:
            reasons[_label(*place) if place else run.name] = problem or ""
            continue
        if place in rows:
            raise ValueError(
                f"{run.path} and {rows[place][0].path} are both {_label(*place)}: "
                "keep one of them in the folder given to --runs"
            )
        rows[place] = run, _row(run, *place)
    expected = [(g, a, s) for g in PUBLISHED_GROUPS for a in ARCHITECTURES for s in SEEDS]
    labels = [_label(*place) for place in expected if place not in rows]
    missing = tuple(f"{label}: {reasons.pop(label, 'not there')}" for label in labels)
    left_out = tuple(f"{name}: {reason}" for name, reason in reasons.items())
    headings = ["Architecture", "Group", "Seed", "Key Irreps", *COLUMNS]
    table = pd.DataFrame([row for _, row in rows.values()], columns=headings)
    return Rows(table, missing, left_out)


def _label(group: str, architecture: str, seed: int) -> str:
    return f"{group} {architecture} seed {seed}"


def place_of(recipe: Recipe) -> tuple[str, str, int] | None:
    """Group, architecture and seed, if the publication's tables have room for the recipe."""
    if not isinstance(recipe.task, GroupComposition) or recipe.init_seed > max(SEEDS):
        return None
    for architecture, model in ARCHITECTURES.items():
        if recipe.model == model:
            return recipe.task.finite_group.name, architecture, recipe.init_seed
    return None


def _unready(run: Run) -> str | None:
    """Why the run has no row yet."""
    if not run.steps or run.final_step < run.recipe.schedule.steps:
        done = run.final_step if run.steps else 0
        return f"trained to step {done} of {run.recipe.schedule.steps}"
    if run.summary().get("step") != run.final_step:
        return f"not evaluated (`interp evaluate {run.path}`)"
    return None


def _row(run: Run, group: str, architecture: str, seed: int) -> dict[str, Any]:
    summary = run.summary()
    return {
        "Architecture": architecture,
        "Group": group,
        "Seed": seed,
        "Key Irreps": ", ".join(_short_name(irrep) for irrep in _learning_order(run)),
        **{heading: summary.get(metric) for heading, metric in COLUMNS.items()},
    }


def _learning_order(run: Run) -> list[Irrep]:
    """The key irreps as the run learned them: for an imported run, whose checkpoints along
    training are not at hand, in the order that was published with it."""
    task = run.recipe.task
    assert isinstance(task, GroupComposition)
    key = [find_irrep(task.finite_group, name) for name in run.summary().get("key_irreps", ())]
    published = run.read_json("manifest.json").get("published_learning_order", [])
    if len(set(run.metrics()["step"])) > 1:
        return key
    rank = {name: position for position, name in enumerate(published)}
    return sorted(key, key=lambda irrep: rank.get(irrep.published_name, len(rank)))


def _short_name(irrep: Irrep) -> str:
    """The published name without its prefix, as the tables print it; ours if it had none."""
    name = irrep.published_name or irrep.name
    return re.sub(r"^(freq|a5|s4|s5|s6)_", "", name).replace("_", "-")
