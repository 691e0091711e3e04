"""A job: the seeds of one recipe, which are computed together, and what becomes of them."""

import contextlib
import traceback
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from interp.runs.lock import LockedError, locked
from interp.runs.recipe import Recipe
from interp.runs.registry import import_user_module, user_modules
from interp.runs.run import Run, RunError
from training.errors import DivergedError
from training.progress import Report, silent
from training.train import is_finished, train

LOCK = "job.lock"
"""In the first of a job's run folders, while a process carries the job out."""
TRIED_ALL = (DivergedError, LockedError)
"""Errors that `train` raises when it is done with all the others."""
FORESEEN = (ValueError, RuntimeError, OSError)
"""Errors whose text says enough. Of others the traceback is kept."""


@dataclass(frozen=True)
class Job:
    """Recipes that differ in their seeds only, in run folders `folder/NAME_seedN`."""

    folder: Path
    name: str
    recipes: tuple[Recipe, ...]
    modules: tuple[str, ...] = ()
    """The user's own modules that were named. Who carries the job out imports them."""

    @property
    def paths(self) -> list[Path]:
        """The run folders, of which there may be none yet."""
        return [self.folder / f"{self.name}_seed{recipe.init_seed}" for recipe in self.recipes]

    @property
    def lock_path(self) -> Path:
        """The lock that keeps two processes from one job."""
        return self.paths[0] / LOCK

    @property
    def is_finished(self) -> bool:
        """Whether nothing is left to train."""
        return all(has_finished(path) for path in self.paths)


@dataclass(frozen=True)
class Work:
    """How jobs are carried out, wherever that is."""

    device: str = "auto"
    measure: Callable[[Run, str], list[str]] | None = None
    """What is done with each run that is trained, on a device. Returns what went wrong."""


def jobs_of(recipes: Iterable[Recipe], folder: Path, name: str | None = None) -> list[Job]:
    """The jobs that recipes make, in order of their first ones.

    Run folders are named `{name}_seed{init_seed}`, or `recipe.name`.
    """
    groups: dict[Recipe, dict[Recipe, None]] = {}
    for recipe in recipes:
        groups.setdefault(recipe.with_seed(0), {})[recipe] = None
    modules = tuple(sorted(user_modules))
    return [
        Job(folder, name or group.name.removesuffix("_seed0"), tuple(members), modules)
        for group, members in groups.items()
    ]


def refuse_conflicts(jobs: Sequence[Job]) -> None:
    """Raise `RunError` when a run folder holds another recipe, or two jobs want the same one."""
    wanted: dict[Path, Recipe] = {}
    for job in jobs:
        for path, recipe in zip(job.paths, job.recipes, strict=True):
            if wanted.setdefault(path, recipe) != recipe:
                raise RunError(f"two recipes of the sweep have the name {path.name}")
            if (path / "recipe.json").exists() and Run(path).recipe != recipe:
                raise RunError(
                    f"{path} holds a run with another recipe: choose another --to, or remove that "
                    "folder"
                )


def carry_out(job: Job, work: Work, progress: Report = silent) -> list[str]:
    """Train what is missing of a job, and measure it. Returns a line about each thing that failed.

    Raises nothing that comes of the work. What went wrong in training is in the runs' status too.
    """
    try:
        for module in job.modules:
            import_user_module(module)
        with locked(job.lock_path):
            problems = _train(job, work.device, progress)
            return problems + (_measure(job, work.measure, work.device) if work.measure else [])
    except FORESEEN as error:
        return [str(error)]


def has_finished(path: Path) -> bool:
    """Whether the folder holds a run of which nothing is left to train."""
    return (path / "recipe.json").exists() and is_finished(Run(path))


def last_line(text: str) -> str:
    """The line of an error, or of a log, that says what it was."""
    return (text.strip().splitlines() or [""])[-1]


def _train(job: Job, device: str, progress: Report) -> list[str]:
    """All seeds together; if that fails, each by itself, so that none stops the others."""
    problems = []
    together = _try(job, job.recipes, device, progress)
    for path, recipe in zip(job.paths, job.recipes, strict=True):
        if not has_finished(path):
            tried = isinstance(together, TRIED_ALL)
            error = together if tried else _try(job, [recipe], device, progress)
            if error is not None:
                problems.append(f"{path}: {_recorded(path, recipe, error)}")
    return problems


def _measure(job: Job, measure: Callable[[Run, str], list[str]], device: str) -> list[str]:
    problems = []
    for path in filter(has_finished, job.paths):
        try:
            problems += measure(Run(path), device)
        except FORESEEN as error:
            problems.append(f"{path}: {error}")
    return problems


def _try(job: Job, recipes: Sequence[Recipe], device: str, progress: Report) -> Exception | None:
    try:
        train(recipes, job.folder, name=job.name, device=device, progress=progress)
    except Exception as error:  # whatever it is, it is this job's alone
        return error
    return None


def _recorded(path: Path, recipe: Recipe, error: Exception) -> str:
    """What the run's status says from now on about the error, in one line."""
    if isinstance(error, TRIED_ALL):  # they tell of several runs, or of another process's
        return Run(path).training_status().get("error", str(error))
    text = str(error) if isinstance(error, FORESEEN) else _traceback(error)
    with contextlib.suppress(OSError):  # where the disk is full, this may fail too
        Run.create(path, recipe).write_status("failed", error=text)
    return last_line(text)


def _traceback(error: Exception) -> str:
    return "".join(traceback.format_exception(error))
