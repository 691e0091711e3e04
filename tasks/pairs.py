"""Inputs with counterfactual ones: what an intervention on a network swaps between."""

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches

import torch
from jaxtyping import Bool, Int64
from torch import Tensor

from tasks.task import IGNORE, Examples, Split, Task

CANDIDATES = (4, 16, 64)
"""How many inputs are changed for each pair that is asked for, until there are enough pairs."""
FEW = 64
"""Where fewer pairs are asked for, candidates are drawn as if it were so many."""


@dataclass(frozen=True, eq=False)
class Pairs:
    """Clean inputs and, one for each, corrupted inputs with other answers.

    Raises `ValueError` when there are none, or their shapes differ.
    """

    clean: Examples
    corrupted: Examples
    variable: str = "example"
    """What differs: the name of a variable of the task, or example for all of the input."""
    where: Bool[Tensor, "example position"] | None = None
    """The positions whose answers the variable is about. Not given: all."""

    def __post_init__(self) -> None:
        clean, corrupted = self.clean.tokens.shape, self.corrupted.tokens.shape
        if clean != corrupted:
            raise ValueError(
                f"clean inputs are {tuple(clean)} and corrupted ones {tuple(corrupted)}: both must "
                "be [example, position] of one shape, the rows of a pair in the same place"
            )
        if not len(self.clean):
            raise ValueError("there are no pairs: give at least one")

    def __len__(self) -> int:
        return len(self.clean)

    @property
    def swapped(self) -> "Pairs":
        """Corrupted as clean, and clean as corrupted."""
        return Pairs(self.corrupted, self.clean, self.variable, self.where)

    @property
    def scored(self) -> Bool[Tensor, "example position"]:
        """Where the clean input has an answer."""
        return is_scored(self.clean)

    @property
    def changed(self) -> Bool[Tensor, "example position"]:
        """Where both inputs have answers, the answers differ, and it is about the variable."""
        differs = self.clean.targets != self.corrupted.targets
        both = self.scored & is_scored(self.corrupted) & differs
        return both if self.where is None else both & self.where

    def rows(self, index: slice | Tensor) -> "Pairs":
        """Some of the pairs."""
        where = None if self.where is None else self.where[index]
        return Pairs(self.clean.rows(index), self.corrupted.rows(index), self.variable, where)

    def to(self, device: torch.device | str) -> "Pairs":
        """On a device."""
        clean, corrupted = (
            Examples(part.tokens.to(device), part.targets.to(device))
            for part in (self.clean, self.corrupted)
        )
        where = None if self.where is None else self.where.to(device)
        return Pairs(clean, corrupted, self.variable, where)


def joined(parts: Sequence[Pairs]) -> Pairs:
    """Pairs of several variables as one set. Raises `ValueError` when they differ in width."""
    clean, corrupted = (
        Examples(torch.cat([e.tokens for e in some]), torch.cat([e.targets for e in some]))
        for some in zip(*((part.clean, part.corrupted) for part in parts), strict=True)
    )
    everywhere = [torch.ones_like(part.scored) for part in parts]
    where = [e if p.where is None else p.where for p, e in zip(parts, everywhere, strict=True)]
    variables = dict.fromkeys(part.variable for part in parts)
    return Pairs(clean, corrupted, "+".join(variables), torch.cat(where))


class TooFewPairsError(ValueError):
    """A variable changes answers in too few inputs."""


def pairs_of_all_variables(task: Task, n: int, split: Split = "test", seed: int = 0) -> Pairs:
    """n pairs for each of a task's variables, without those that change too few answers.

    Raises `ValueError` as `Task.pairs` does otherwise.
    """
    found = []
    for variable in task.variables:
        with contextlib.suppress(TooFewPairsError):
            found.append(task.pairs(variable, n, split, seed))
    return joined(found)


def is_scored(examples: Examples) -> Bool[Tensor, "example position"]:
    """Where examples have an answer."""
    if examples.targets.is_floating_point():
        return ~examples.targets.isnan()
    return examples.targets != IGNORE


def draw_pairs(
    task: Task, variable: str, n: int, split: Split, generator: torch.Generator
) -> Pairs:
    """What `Task.pairs` returns, and raises."""
    examples = task.examples(split)
    _check(task, variable, n, split, examples)
    n_candidates = n_found = 0
    for factor in CANDIDATES:
        n_candidates = factor * max(n, FEW)
        candidates, is_pair = _draw(task, variable, examples, n_candidates, generator)
        n_found = int(is_pair.sum())
        if n_found >= n:
            return candidates.rows(is_pair.nonzero()[:n, 0])
    raise TooFewPairsError(
        f"{task.name} has too few pairs for the variable {variable!r}: {n_found} were found among "
        f"{n_candidates} candidates of the {split} split, and {n} are asked for"
    )


def _draw(
    task: Task, variable: str, examples: Examples, n: int, generator: torch.Generator
) -> tuple[Pairs, Bool[Tensor, "candidate"]]:
    """Candidates, and whether they differ as pairs of the variable must."""
    clean = examples.rows(_shuffled(len(examples), n, generator))
    if variable == "example":
        others = examples.rows(torch.randint(len(examples), (n,), generator=generator))
        return Pairs(clean, others), (clean.tokens != others.tokens).any(dim=1)
    candidates = task.counterfactuals(variable, clean, generator)
    return candidates, candidates.changed.any(dim=1)


def another(
    values: Int64[Tensor, "*shape"], n: int, generator: torch.Generator
) -> Int64[Tensor, "*shape"]:
    """For each value another one of 0, ..., n - 1, all alike likely; where n is 1, the same."""
    return (values + torch.randint(1, max(n, 2), values.shape, generator=generator)) % n


def _check(task: Task, variable: str, n: int, split: Split, examples: Examples) -> None:
    if variable not in task.variables:
        nearest = get_close_matches(variable, task.variables, n=1, cutoff=0)[0]
        raise ValueError(
            f"{task.name} has no variable {variable!r}: it has {', '.join(task.variables)}; the "
            f"nearest is {nearest}"
        )
    if n < 1:
        raise ValueError(f"{n} pairs are asked for: it must be at least 1")
    if not len(examples):
        raise ValueError(f"the {split} split of {task.name} is empty: there is nothing to change")


def _shuffled(n: int, size: int, generator: torch.Generator) -> Int64[Tensor, "size"]:
    """0, ..., n - 1 in random order, as often as it takes, each time in another."""
    rounds = -(-size // n)
    return torch.rand(rounds, n, generator=generator).argsort(dim=1).flatten()[:size]
