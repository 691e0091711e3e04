"""The tasks that are built in, one a problem and one that mixes them."""

from dataclasses import dataclass

from tasks.groups import finite_group
from tasks.iteration.iteration import Iteration
from tasks.iteration.problems import copy, named_problem, parity, polynomial, prefix_product
from tasks.iteration.task import IterationTask


@dataclass(frozen=True)
class Copy(IterationTask):
    """Say the inputs again."""

    vocab: str = "0..1"
    """Symbols: 0..1, a..e, 3,1,2 or x,a..e."""

    def make_problems(self) -> tuple[Iteration, ...]:
        """The one."""
        return (copy(self.vocab),)


@dataclass(frozen=True)
class Parity(IterationTask):
    """The parity of the bits so far."""

    def make_problems(self) -> tuple[Iteration, ...]:
        """The one."""
        return (parity(),)


@dataclass(frozen=True)
class Polynomial(IterationTask):
    """Multiply by each input and add 1, modulo a prime."""

    modulus: int = 11
    """An odd prime."""

    def make_problems(self) -> tuple[Iteration, ...]:
        """The one."""
        return (polynomial(self.modulus),)


@dataclass(frozen=True)
class GroupProduct(IterationTask):
    """The products of the elements so far, in a finite group."""

    group: str = "S3"
    """Name or definition of the group, as `tasks.groups.finite_group` reads it."""

    def __post_init__(self) -> None:
        # One spelling a group, so that equal tasks are equal.
        object.__setattr__(self, "group", finite_group(self.group).definition)
        super().__post_init__()

    def make_problems(self) -> tuple[Iteration, ...]:
        """The one."""
        return (prefix_product(self.group),)


@dataclass(frozen=True)
class Mixed(IterationTask):
    """Several problems, each with a first token of its own that names it.

    With `drawn`, the sequences are of those problems only, and the vocabulary is that of all: so
    a network trained on one goes on to learn another.

    Raises `ValueError` also for a problem in `drawn` that is not in `mix`.
    """

    mix: tuple[str, ...] = ("copy", "parity")
    """The problems, such as copy, copy:a..e, parity, polynomial:11 and product:S5."""
    drawn: tuple[str, ...] = ()
    """Those of them that there are sequences of; all if not given."""

    def __post_init__(self) -> None:
        if not self.mix:
            raise ValueError("mix is empty: it needs at least one problem, such as parity")
        for definition in self.drawn:
            if definition not in self.mix:
                raise ValueError(
                    f"{definition!r} is to be drawn, and is not in mix ({', '.join(self.mix)})"
                )
        super().__post_init__()

    def make_problems(self) -> tuple[Iteration, ...]:
        """All that are in the vocabulary."""
        return tuple(map(named_problem, self.mix))

    @property
    def drawn_problems(self) -> tuple[int, ...]:
        """The indices of those that there are sequences of."""
        drawn = self.drawn or self.mix
        return tuple(i for i, definition in enumerate(self.mix) if definition in drawn)
