"""Evaluated runs made by hand."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from interp.runs.recipe import Recipe, Schedule
from interp.runs.run import Run
from paper.experiments import ARCHITECTURES
from tasks.composition import GroupComposition

STEPS = 10
MakeRun = Callable[..., Run]


def make_run(
    folder: Path,
    group: str = "S3",
    architecture: str = "mlp",
    seed: int = 1,
    values: dict | None = None,
    **changes,
) -> Run:
    """A run at its last step, evaluated if `values` are given."""
    task = GroupComposition(group, split_seed=seed, equals_token=architecture == "transformer")
    recipe = Recipe(
        task=task,
        model=changes.pop("model", ARCHITECTURES[architecture]),
        schedule=Schedule(steps=STEPS),
        init_seed=seed,
    )
    run = Run.create(folder, recipe)
    run.save_weights(changes.pop("step", STEPS), {"weights": torch.zeros(1)})
    if values is not None:
        run.write_json("summary.json", {"step": STEPS, "key_irreps": []} | values)
    return run


@pytest.fixture
def made_run(tmp_path) -> MakeRun:
    """`make_run` in a folder `runs` of the test's own, by name."""
    return lambda name, *args, **kwargs: make_run(tmp_path / "runs" / name, *args, **kwargs)
