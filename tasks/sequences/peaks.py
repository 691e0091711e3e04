"""Where a sequence has a peak."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from tasks.sequences.encoding import Token
from tasks.sequences.families import alternating, constant, monotone, spiked, uniform
from tasks.sequences.replacement import neighbours
from tasks.sequences.sequence import SequenceTask


@dataclass(frozen=True)
class Peak(SequenceTask):
    """Whether a token is greater than each of its neighbours.

    The first and the last token have one neighbour. A token without any is no peak.
    """

    vocab: str = "0..4"
    """Tokens: 0..4, a..e, 3,1,2 or x,a..e."""

    families: ClassVar = {uniform: 20, alternating: 15, monotone: 10, constant: 5}
    places: ClassVar = {"neighbour": neighbours, **SequenceTask.places}

    @property
    def output_values(self) -> tuple[bool, ...]:
        """False, True."""
        return (False, True)

    def answers(self, sequence: Sequence[Token]) -> list[bool]:
        """Whether there is a peak, at every token."""
        answers = []
        for i, token in enumerate(sequence):
            sides = [side for side in (sequence[:i][::-1], sequence[i + 1 :]) if side]
            answers.append(bool(sides) and all(self._stands_out(token, side) for side in sides))
        return answers

    def _stands_out(self, token: Any, side: Sequence[Any]) -> bool:
        """Whether `token` is a peak as far as one side is concerned, nearest neighbour first."""
        return side[0] < token


@dataclass(frozen=True)
class DominantPeak(Peak):
    """Whether the sequence falls by at least 2 next to a token, and does not rise right after.

    On each side where the token has a neighbour, the neighbour is smaller by 2 or more, and the
    second neighbour, if there is one, is not above the first. A token without any neighbour is no
    dominant peak.

    Raises `ValueError` also for tokens that are no integers.
    """

    vocab: str = "0..6"
    """Tokens, all integers: 0..6 or 3,1,2."""

    families: ClassVar = {**Peak.families, spiked: 15}

    def __post_init__(self) -> None:
        super().__post_init__()
        if not all(isinstance(token, int) for token in self.tokens):
            raise ValueError(f"vocab is {self.vocab!r}: {self.name} needs integers, such as 0..6")

    def _stands_out(self, token: Any, side: Sequence[Any]) -> bool:
        return token - side[0] >= 2 and all(second <= side[0] for second in side[1:2])
