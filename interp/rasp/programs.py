"""The programs that solve the sequence tasks, for bidirectional attention.

Each is built from a task's vocabulary alone; what a sequence has no place for (the left neighbour
of its first token) is stated as a default.
"""

from enum import Enum

from interp.rasp.expressions import SOp, Value
from interp.rasp.language import (
    aggregate,
    indices,
    numerical,
    select,
    selector_width,
    sequence_map,
    tokens,
)


class End(Enum):
    """What lies beyond a sequence; equal to no token."""

    LEFT = "left end"
    RIGHT = "right end"

    def __repr__(self) -> str:
        return self.value

    __str__ = __repr__


COUNTED = "x"
"""The token whose share the fraction task asks for."""


def neighbour(offset: int) -> SOp:
    """The token `offset` places to the right, or the end of the sequence that lies before it."""
    end = End.LEFT if offset < 0 else End.RIGHT
    place = indices + offset if offset > 0 else indices - -offset
    there = select(indices, place, "==")
    return aggregate(there, tokens, default=end).named(f"token[{offset:+d}]")


def mirrored() -> SOp:
    """The token as far from the end as this one is from the beginning."""
    length = selector_width(select(tokens, tokens, "true")).named("length")
    mirrored_index = (length - indices - 1).named("mirrored_index")
    return aggregate(select(indices, mirrored_index, "=="), tokens).named("mirrored")


def _is_end(value: Value) -> bool:
    return isinstance(value, End)


def _is_below(other: Value, token: Value) -> bool:
    return _is_end(other) or other < token


def _is_far_below(other: Value, token: Value) -> bool:
    return _is_end(other) or other <= token - 2


def _is_not_above(second: Value, first: Value) -> bool:
    return _is_end(second) or second <= first


def _has_neighbour(left: Value, right: Value) -> bool:
    return not (_is_end(left) and _is_end(right))


def peak() -> SOp:
    """Whether the token exceeds each neighbour that it has; it must have one."""
    left, right = neighbour(-1), neighbour(1)
    above_left = sequence_map(_is_below, left, tokens).named("above_left")
    above_right = sequence_map(_is_below, right, tokens).named("above_right")
    return (sequence_map(_has_neighbour, left, right) & above_left & above_right).named("peak")


def dominant_peak() -> SOp:
    """Whether the token exceeds each neighbour by 2, and no second neighbour exceeds the first."""
    left, right = neighbour(-1), neighbour(1)
    sides = [
        sequence_map(_is_far_below, first, tokens) & sequence_map(_is_not_above, second, first)
        for first, second in ((left, neighbour(-2)), (right, neighbour(2)))
    ]
    above_left, above_right = sides[0].named("above_left"), sides[1].named("above_right")
    has_neighbour = sequence_map(_has_neighbour, left, right)
    return (has_neighbour & above_left & above_right).named("dominant_peak")


def palindrome() -> SOp:
    """Whether the token equals its mirror image."""
    return (tokens == mirrored()).named("palindrome")


def fraction() -> SOp:
    """The share of "x" among the tokens up to here."""
    until_here = select(indices, indices, "<=")
    return aggregate(until_here, numerical(tokens == COUNTED)).named("fraction")


def histogram() -> SOp:
    """How often the token occurs in the sequence."""
    return selector_width(select(tokens, tokens, "==")).named("histogram")


def reverse() -> SOp:
    """The sequence backwards."""
    return mirrored()


def sort() -> SOp:
    """The sequence in ascending order, equal tokens included."""
    smaller = selector_width(select(tokens, tokens, "<")).named("smaller")
    equal_before = select(tokens, tokens, "==") & select(indices, indices, "<")
    rank = (smaller + selector_width(equal_before).named("equal_before")).named("rank")
    return aggregate(select(rank, indices, "=="), tokens).named("sort")


def triplets() -> SOp:
    """The position times the number of smaller tokens in the sequence."""
    smaller = selector_width(select(tokens, tokens, "<")).named("smaller")
    return (indices * smaller).named("triplets")
