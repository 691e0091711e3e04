"""A sequence and its mirror image."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from tasks.sequences.encoding import Token
from tasks.sequences.families import (
    constant,
    nearly_palindromic,
    palindromic,
    two_letters,
    uniform,
)
from tasks.sequences.replacement import mirrored
from tasks.sequences.sequence import SequenceTask


@dataclass(frozen=True)
class Palindrome(SequenceTask):
    """Whether a token is equal to its mirror image, t_{n+1-i}: of a palindrome, every token is.

    A single token is a palindrome.
    """

    vocab: str = "a..z,space"
    """Tokens: 0..4, a..e, 3,1,2 or x,a..e."""

    families: ClassVar = {uniform: 10, palindromic: 15, nearly_palindromic: 15, two_letters: 10}
    places: ClassVar = {"mirror": mirrored, **SequenceTask.places}

    @property
    def output_values(self) -> tuple[bool, ...]:
        """False, True."""
        return (False, True)

    def answers(self, sequence: Sequence[Token]) -> list[bool]:
        """Whether token and mirror image agree, at every token."""
        return [a == b for a, b in zip(sequence, reversed(sequence), strict=True)]


@dataclass(frozen=True)
class Reverse(SequenceTask):
    """The sequence backwards: t_{n+1-i} at t_i. A single token is its own answer."""

    families: ClassVar = {uniform: 20, palindromic: 10, two_letters: 10, constant: 10}
    places: ClassVar = {"mirror": mirrored, **SequenceTask.places}

    def answers(self, sequence: Sequence[Token]) -> list[Token]:
        """The mirror image of every token."""
        return list(reversed(sequence))
