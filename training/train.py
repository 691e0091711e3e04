"""Train recipes into run folders, many seeds at once, and take up what was interrupted."""

import contextlib
import os
from collections.abc import Iterable, Sequence
from pathlib import Path

import torch

from interp.models.device import resolve_device
from interp.runs.lock import LockedError
from interp.runs.recipe import Recipe
from interp.runs.run import Run
from training.data import stack_examples
from training.errors import DivergedError
from training.loop import train_together
from training.progress import Report, silent
from training.resume import RESUME
from training.state import State
from training.together import split_by_speed


def train(
    recipes: Sequence[Recipe],
    folder: str | os.PathLike[str],
    *,
    name: str | None = None,
    device: str = "auto",
    progress: Report = silent,
) -> list[Run]:
    """Carry out every recipe in a run folder of its own, in `folder`.

    A folder is named `recipe.name`, or `{name}_seed{init_seed}`. Finished runs are left as they
    are, interrupted ones go on. Recipes that differ in their seeds only are computed together, as
    many at a time as measurement finds fastest; a run's manifest says which were computed
    together, and they stay together when they go on, since the size of a batch shows in the last
    bits of its results.

    `progress` is called at every logged step of every batch.

    Raises `ValueError` for a recipe that cannot be carried out, before any folder is made, and
    `RunError` when a folder holds another recipe. A run that another process works on, or whose
    loss becomes infinite or NaN, does not stop the others: `LockedError` or `DivergedError` names
    it when they are done.
    """
    where = resolve_device(device)
    _check(recipes)
    runs = []
    for recipe in recipes:
        folder_name = recipe.name if name is None else f"{name}_seed{recipe.init_seed}"
        runs.append(Run.create(Path(folder) / folder_name, recipe))
    pending = [run for run in _unique(runs) if not is_finished(run)]
    problems: list[DivergedError | LockedError] = []
    for batch in [*_begun(pending), *_new(pending, where)]:
        try:
            _train_locked(batch, where, progress)
        except (DivergedError, LockedError) as error:
            problems.append(error)
    if problems:
        raise type(problems[0])("; ".join(map(str, problems)))
    return runs


def _check(recipes: Sequence[Recipe]) -> None:
    """Fail before a folder is made for what cannot be trained."""
    cpu = torch.device("cpu")
    for recipe in {(recipe.with_seed(0), recipe.start_path): recipe for recipe in recipes}.values():
        state = State([recipe], cpu)
        train = stack_examples([recipe], "train", cpu)
        if recipe.schedule.steps:
            state.losses(train.pick(torch.tensor([[0]])))


def resume(run: Run, *, device: str = "auto", progress: Report = silent) -> Run:
    """Train a run to its last step, with the runs that were computed together with it.

    On the same machine, torch build, device and number of threads the weights end as those of an
    uninterrupted training, to the last bit. Where its companions are gone (their folders are
    beside it) or were trained anew without it, it goes on without them, and its results may
    differ by rounding from then on.
    """
    if not is_finished(run):
        _train_locked(_companions(run), resolve_device(device), progress)
    return run


def is_finished(run: Run) -> bool:
    """Whether nothing is left to train: the last step is there, and all that goes with it.

    A run that was imported is never trained further: it has no state to go on from.
    """
    if "imported_from" in run.read_json("manifest.json"):
        return True
    if run.recipe.schedule.steps not in run.steps:
        return False
    state = run.training_status().get("state")
    return not (run.path / RESUME).exists() or state not in ("training", "interrupted", "failed")


def _train_locked(batch: Sequence[Run], device: torch.device, progress: Report) -> None:
    with contextlib.ExitStack() as locks:
        for run in batch:
            locks.enter_context(run.locked())
        train_together(batch, device, progress)


def _companions(run: Run) -> list[Run]:
    """The runs of the batch that `run` was begun in; those before it are before it in the list."""
    names = run.read_json("manifest.json").get("batch", [run.name])
    folders = {name: run.path.parent / name for name in names}
    found = [Run(path) for path in folders.values() if (path / "recipe.json").exists()]
    return [r for r in found if r.read_json("manifest.json").get("batch", names) == names]


def _begun(pending: Iterable[Run]) -> list[list[Run]]:
    """The batches that pending runs were begun in."""
    batches: dict[tuple[str, ...], list[Run]] = {}
    for run in pending:
        if run.read_json("manifest.json"):
            batch = _companions(run)
            batches[tuple(r.name for r in batch)] = batch
    return list(batches.values())


def _new(pending: Iterable[Run], device: torch.device) -> list[list[Run]]:
    """Batches of the fastest size for pending runs that are in no batch yet."""
    begun = {run.name for batch in _begun(pending) for run in batch}
    groups: dict[object, list[Run]] = {}
    for run in pending:
        if run.name not in begun:
            groups.setdefault(_group(run.recipe), []).append(run)
    return [batch for group in groups.values() for batch in split_by_speed(group, device)]


def _group(recipe: Recipe) -> object:
    """Equal for recipes that differ in their seeds only and whose data have one shape."""
    shapes = (recipe.task.examples(split).tokens.shape for split in ("train", "test"))
    return recipe.with_seed(0), *shapes


def _unique(runs: Iterable[Run]) -> list[Run]:
    return list({run.path: run for run in runs}.values())
