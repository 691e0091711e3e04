"""How often a token occurs in a sequence."""

import fractions
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from jaxtyping import Int64
from torch import Tensor

from tasks.sequences.encoding import Token
from tasks.sequences.families import Draw, constant, distinct, three_letters, uniform
from tasks.sequences.sequence import SequenceTask

COUNTED = "x"
"""The token whose share the fraction tasks ask for."""


@dataclass(frozen=True)
class Histogram(SequenceTask):
    """How often a token occurs in the sequence. A single token occurs once."""

    families: ClassVar = {uniform: 20, distinct: 15, three_letters: 10, constant: 5}

    @property
    def output_values(self) -> tuple[int, ...]:
        """1, 2, ..., max_length."""
        return tuple(range(1, self.max_length + 1))

    def answers(self, sequence: Sequence[Token]) -> list[int]:
        """The count of every token."""
        return [sequence.count(token) for token in sequence]


def any_share_counted(draw: Draw) -> Int64[Tensor, "example position"]:
    """The counted token with a chance that is uniform on [0, 1], and otherwise any token."""
    is_counted = draw.fractions(draw.ranks.shape[1]) < draw.fractions(1)
    return torch.where(is_counted, draw.tokens.index(COUNTED), draw.ranks)


@dataclass(frozen=True)
class Fraction(SequenceTask):
    """The share of "x" among the tokens so far, a number. A single token has 1 if it is "x", or 0.

    Raises `ValueError` also for a vocabulary without "x".
    """

    vocab: str = "x,a..e"
    """Tokens, "x" among them: x,a..e or a..z."""

    families: ClassVar = {any_share_counted: 1}
    attention: ClassVar = "causal"
    loss: ClassVar = "mean_squared_error"

    def __post_init__(self) -> None:
        super().__post_init__()
        if COUNTED not in self.tokens:
            raise ValueError(
                f"vocab is {self.vocab!r}: {self.name} counts the token {COUNTED!r}, so write "
                f"{COUNTED},{self.vocab}"
            )

    @property
    def output_values(self) -> tuple[Any, ...]:
        """The regression's one output, by name."""
        return ("fraction",)

    def answers(self, sequence: Sequence[Token]) -> list[Any]:
        """The share so far, at every token."""
        return [float(share) for share in self._shares(sequence)]

    @staticmethod
    def _shares(sequence: Sequence[Token]) -> list[fractions.Fraction]:
        ends = range(1, len(sequence) + 1)
        return [fractions.Fraction(sequence[:end].count(COUNTED), end) for end in ends]


@dataclass(frozen=True)
class FractionClasses(Fraction):
    """The share of "x" among the tokens so far, as one of the fractions there can be."""

    loss: ClassVar = "cross_entropy"

    @property
    def output_values(self) -> tuple[fractions.Fraction, ...]:
        """All k / i for i up to max_length, in ascending order: 0, 1/10, 1/9, ..., 1."""
        ends = range(1, self.max_length + 1)
        return tuple(sorted({fractions.Fraction(k, i) for i in ends for k in range(i + 1)}))

    def answers(self, sequence: Sequence[Token]) -> list[fractions.Fraction]:
        """The share so far, at every token."""
        return self._shares(sequence)
