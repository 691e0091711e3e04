"""The results of many runs as one table."""

import os
from collections.abc import Sequence
from typing import Any

import pandas as pd

from interp.runs.run import Run, find_runs

IDENTITY = ("task", "model", "seed")


def results(folder: str | os.PathLike[str]) -> pd.DataFrame:
    """A row for each run in a folder: what tells it from the others, and what was measured.

    Columns are `run` (its path in `folder`), `task`, `model` and `seed`; those fields of the
    recipes that are not the same in all that have them, as the command line calls them
    (`train_fraction`, `lr`); `state`; and the numbers of `summary.json`, which `interp evaluate`
    writes (`loss/test`). What a run does not have is missing.

    Raises `RunError` when there are no runs, or one is damaged.
    """
    runs = find_runs(folder)
    rows = [
        {"run": str(run.path.relative_to(folder))}
        | fields
        | {"state": run.status().get("state", "waiting")}
        | {n: v for n, v in run.summary().items() if isinstance(v, int | float)}
        for run, fields in zip(runs, differing(runs), strict=True)
    ]
    return pd.DataFrame(rows)


def differing(runs: Sequence[Run]) -> list[dict[str, Any]]:
    """Of each run its task, model and seed, and what is not the same in all runs that have it."""
    recipes = [_fields(run) for run in runs]
    names = dict.fromkeys(name for recipe in recipes for name in recipe)
    varying = [n for n in names if n in IDENTITY or len({r[n] for r in recipes if n in r}) > 1]
    return [{name: recipe.get(name) for name in varying} for recipe in recipes]


def _fields(run: Run) -> dict[str, Any]:
    """A recipe's fields by their names on the command line, which no two share.

    They are read as they are, without the classes that they belong to: those may be anyone's.
    """
    data = run.read_json("recipe.json")
    parts = {name: data.pop(name) for name in ("task", "model")}
    fields: dict[str, Any] = {name: part.pop("kind") for name, part in parts.items()}
    fields["seed"] = data.pop("init_seed")
    for name, value in (data | parts["task"] | parts["model"]).items():
        fields |= value if isinstance(value, dict) else {name: value}
    if fields.get("split_seed") == fields["seed"]:
        del fields["split_seed"]
    return {n: tuple(v) if isinstance(v, list) else v for n, v in fields.items()}
