"""A job is carried out where it is missing, once, and whatever becomes of other jobs."""

from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import torch

from interp.models.config import MLPConfig
from interp.runs.lock import locked
from interp.runs.recipe import AdamW, Recipe, Schedule
from interp.runs.run import Run, RunError
from tasks.composition import GroupComposition
from tasks.task import Examples, Split
from training.sweep.engines import here
from training.sweep.job import Job, Work, carry_out, jobs_of, refuse_conflicts
from training.sweep.status import standings

RECIPE = Recipe(
    GroupComposition(group="C7"),
    MLPConfig(d_embed=4, d_mlp=6),
    schedule=Schedule(steps=20, log_every=10, checkpoints=2),
)
WORK = Work("cpu")
DIVERGING = replace(RECIPE, optimizer=AdamW(lr=1e30))


@dataclass(frozen=True)
class Unlucky(GroupComposition):
    """A task whose data cannot be made with an odd seed, for a reason nobody foresaw."""

    name = "unlucky"

    def examples(self, split: Split = "all") -> Examples:
        if self.split_seed % 2:
            raise KeyError("odd")
        return super().examples(split)


def job(folder: Path, recipe: Recipe = RECIPE, seeds: int = 2) -> Job:
    (found,) = jobs_of([recipe.with_seed(seed) for seed in range(seeds)], folder)
    return found


def states(one: Job) -> list[str]:
    return [standing.state for standing in standings(one.paths, queued=None)]


def test_what_is_missing_is_trained_and_what_is_done_is_left(tmp_path: Path) -> None:
    assert carry_out(job(tmp_path, seeds=1), WORK) == []
    first = job(tmp_path).paths[0] / "checkpoints" / "step_0000020.safetensors"
    before = first.stat().st_mtime_ns
    assert states(job(tmp_path)) == ["done", "waiting"]
    assert carry_out(job(tmp_path), WORK) == [] and job(tmp_path).is_finished
    assert first.stat().st_mtime_ns == before
    assert not list(tmp_path.rglob("*lock"))


def test_a_job_that_another_process_has_is_left_to_it(tmp_path: Path) -> None:
    with locked(job(tmp_path).lock_path):
        (problem,) = carry_out(job(tmp_path), WORK)
    assert "is in use by process" in problem
    assert states(job(tmp_path)) == ["waiting", "waiting"]


def test_failed_runs_stop_neither_the_other_jobs_nor_the_other_seeds(tmp_path: Path) -> None:
    unlucky = replace(RECIPE, task=Unlucky(group="C7"))
    jobs = [job(tmp_path, DIVERGING), job(tmp_path, unlucky, seeds=3), job(tmp_path / "good")]
    diverged, odd, good = [
        problems for _, problems in here(jobs, WORK, progress=lambda progress: None)
    ]
    assert len(diverged) == 2 and all("diverged" in line for line in diverged)
    assert odd == [f"{jobs[1].paths[1]}: KeyError: 'odd'"]
    assert states(jobs[1]) == ["done", "failed", "done"]
    assert "Traceback" in Run(jobs[1].paths[1]).status()["error"]
    assert good == [] and states(jobs[2]) == ["done", "done"]


def test_a_failed_run_is_tried_again(tmp_path: Path) -> None:
    missing = tmp_path / "0.safetensors"
    tuned = replace(RECIPE, fine_tuning=replace(RECIPE.fine_tuning, start_from=str(missing)))
    one = job(tmp_path / "tuned", tuned, seeds=1)
    (problem,) = carry_out(one, WORK)
    assert "there is no such file" in problem and states(one) == ["failed"]
    carry_out(job(tmp_path / "source", seeds=1), WORK)
    (tmp_path / "source" / "C7_mlp_seed0" / "checkpoints" / "step_0000020.safetensors").rename(
        missing
    )
    assert carry_out(one, WORK) == [] and states(one) == ["done"]


def test_seeds_of_one_recipe_are_one_job_in_order(tmp_path: Path) -> None:
    recipes = [r.with_seed(seed) for seed in (3, 1) for r in (RECIPE, DIVERGING)]
    one, other = jobs_of([*recipes, recipes[0]], tmp_path)
    assert one.recipes == (recipes[0], recipes[2]) and other.recipes == (recipes[1], recipes[3])


def test_a_folder_with_another_recipe_is_refused(tmp_path: Path) -> None:
    Run.create(job(tmp_path).paths[1], DIVERGING)
    with pytest.raises(RunError, match="another recipe: choose another --to"):
        refuse_conflicts([job(tmp_path)])


def test_seeds_of_a_job_give_what_they_give_by_themselves(tmp_path: Path) -> None:
    together, alone = job(tmp_path / "together"), job(tmp_path / "alone")
    carry_out(together, WORK)
    for recipe in alone.recipes:
        carry_out(replace(alone, recipes=(recipe,)), WORK)
    for path, other in zip(together.paths, alone.paths, strict=True):
        weights, others = Run(path).weights(), Run(other).weights()
        for name, weight in weights.items():
            torch.testing.assert_close(weight, others[name])
