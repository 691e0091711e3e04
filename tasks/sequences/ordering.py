"""The tokens of a sequence by size."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from tasks.sequences.families import alternating, ascending, constant, descending, uniform
from tasks.sequences.sequence import SequenceTask


@dataclass(frozen=True)
class Sort(SequenceTask):
    """The sequence in ascending order, repeated tokens and all. A single token is its answer."""

    families: ClassVar = {uniform: 20, ascending: 10, descending: 10, constant: 10}

    def answers(self, sequence: Sequence[Any]) -> list[Any]:
        """At the i-th token the i-th smallest."""
        return sorted(sequence)


@dataclass(frozen=True)
class Triplets(SequenceTask):
    """The position of a token, from 0 on, times the tokens of the sequence smaller than it.

    That is the number of triples (this token, one before it, one smaller). A single token has 0.
    """

    families: ClassVar = {uniform: 20, ascending: 10, descending: 10, constant: 5, alternating: 5}

    @property
    def output_values(self) -> tuple[int, ...]:
        """The products of two numbers below `max_length`, in ascending order."""
        numbers = range(self.max_length)
        return tuple(sorted({i * smaller for i in numbers for smaller in numbers}))

    def answers(self, sequence: Sequence[Any]) -> list[int]:
        """Position times the number of smaller tokens, at every token."""
        return [i * sum(other < token for other in sequence) for i, token in enumerate(sequence)]
