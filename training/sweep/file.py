"""A sweep's file: recipes in the words of the command line, and the product of what varies.

    task: [C23, D12]
    seeds: 0..3
    train_fraction: [0.5, 0.7]
    runs:
      - model: mlp
      - {model: transformer, lr: [1e-3, 3e-3]}

Every key is a flag of `interp train`. A list holds alternatives, and all combinations are taken;
`runs` lists blocks, each of which adds to the keys above it or replaces them.
"""

import itertools
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from interp.arguments import UsageError
from interp.runs.recipe import Recipe
from training.sweep.job import Job, jobs_of

BLOCKS = "runs"
OF_THE_COMMAND = ("to", "name", "device", "quiet", "allow_module", "help")
"""Flags of `interp train` that say nothing about a recipe."""

RecipesOf = Callable[[str, list[str]], list[Recipe]]
"""A recipe for each seed, of a task's name and flags as for `interp train`."""


@dataclass(frozen=True)
class Cell:
    """One combination: a task with flags, and what tells it from the other cells."""

    task: str
    flags: tuple[str, ...]
    differs_in: Mapping[str, str]


def jobs_of_file(path: Path, folder: Path, recipes_of: RecipesOf) -> list[Job]:
    """The jobs that a sweep's file describes, in run folders in `folder`.

    Folders are named after task, model and each key that has a list or is in a block, so that a
    list can grow without renaming what is there.

    Raises `UsageError` that names the file for a key or value that cannot be.
    """
    if not path.is_file():
        raise UsageError(f"there is no file {path}")
    jobs = []
    try:
        for cell in cells(path.read_text()):
            recipes = recipes_of(cell.task, list(cell.flags))
            name = _name(recipes[0], cell.differs_in)
            jobs += jobs_of(recipes, folder, name)
    except ValueError as error:
        raise UsageError(f"{path}: {error}") from error
    return jobs


def cells(text: str) -> list[Cell]:
    """The combinations that a sweep's text asks for. Raises `UsageError`."""
    try:
        data = yaml.safe_load(text)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else "?"
        raise UsageError(f"this is no YAML: line {line}: {error.problem}") from error
    shared = _checked(data)
    blocks = shared.pop(BLOCKS, None)
    if blocks is None:
        return list(_product(shared, named=()))
    if not isinstance(blocks, list) or not blocks:
        raise UsageError(f"{BLOCKS} must be a list of blocks, each with keys of its own")
    blocks = [_checked(block) for block in blocks]
    return [cell for block in blocks for cell in _product(shared | block, named=block)]


def _checked(block: Any) -> dict[str, Any]:
    if not isinstance(block, dict):
        raise UsageError(f"write keys and values, such as `task: C23`, not {block!r}")
    keys = {str(key).replace("-", "_"): value for key, value in block.items()}
    for key in keys:
        if key in OF_THE_COMMAND:
            raise UsageError(f"{key!r} says nothing about a recipe: it is for the command line")
    return keys


def _product(block: dict[str, Any], named: Any) -> Iterator[Cell]:
    if "task" not in block:
        raise UsageError("a task is missing: write one, such as `task: C23`")
    if isinstance(block.get("seeds"), list):  # no alternatives: they are computed together
        block["seeds"] = ",".join(str(seed) for seed in block["seeds"])
    alternatives = [_alternatives(key, value) for key, value in block.items()]
    telling = {key for key, value in block.items() if key in named or isinstance(value, list)}
    for values in itertools.product(*alternatives):
        chosen = dict(zip(block, values, strict=True))
        differs_in = {key: chosen[key] for key in block if key in telling - {"task", "seeds"}}
        flags = [flag for key in block if key != "task" for flag in _flags(key, chosen[key])]
        yield Cell(str(chosen["task"]), tuple(flags), {k: _text(v) for k, v in differs_in.items()})


def _alternatives(key: str, value: Any) -> list[Any]:
    found = value if isinstance(value, list) else [value]
    if not found:
        raise UsageError(f"{key} is an empty list")
    for one in found:
        if isinstance(one, dict):
            raise UsageError(f"{key} is {one!r}: it must be a value, or a list of them")
    return found


def _flags(key: str, value: Any) -> list[str]:
    flag = "--" + key.replace("_", "-")
    if isinstance(value, bool):
        return [flag if value else flag.replace("--", "--no-", 1)]
    return [flag, *(map(str, value) if isinstance(value, list) else [str(value)])]


def _text(value: Any) -> str:
    return "_".join(map(str, value)) if isinstance(value, list) else str(value)


def _name(recipe: Recipe, differs_in: Mapping[str, str]) -> str:
    """Of its run folders, before _seedN, in characters that suit every disk."""
    name = base = recipe.name.rpartition("_seed")[0]
    for key, value in differs_in.items():
        if key != "model" or not base.endswith(f"_{value}"):
            name += re.sub(r"[^\w.-]+", "_", f"_{key}_{value[-40:]}")
    return name
