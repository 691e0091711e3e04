"""A program as the heads and MLP blocks that compute it, each in its layer.

A *variable* is an expression that the residual stream carries: the tokens, the indices, and what
the blocks write. Expressions between variables cost nothing: functions of one variable are folded
into whoever reads it, and functions of several are computed by one MLP block where that is
affordable, however many operations they consist of.

A selector's width is carried in two steps, since attention can only average: a head writes
1 / (1 + width), its share of attention on BOS (an `InverseWidth`), and an MLP block tells the
values of that apart.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
from jaxtyping import Bool

from interp.rasp.expressions import Selector, SOp, Value
from interp.rasp.printing import show

NUMBER = "number"
"""Takes the value's place in the direction of a numerical variable."""


class Direction(NamedTuple):
    """A direction of the residual stream: a variable and one of its values, or `NUMBER`."""

    variable: SOp | None
    value: Value

    @property
    def label(self) -> str:
        """For people."""
        if self.variable is None:
            return "BOS"
        return show(self.variable) + ("" if self.value is NUMBER else f" = {self.value}")


BOS = Direction(None, None)


@dataclass(frozen=True, eq=False)
class Term:
    """Which values of a variable at the key go with which of a variable at the query.

    None stands for no variable: there, the table has one entry.
    """

    keys: SOp | None
    queries: SOp | None
    table: Bool[np.ndarray, "q k"]


class Move(NamedTuple):
    """Attention to `source` adds `weight` to the output's direction for `value`."""

    source: Direction
    value: Value
    weight: float


@dataclass(frozen=True, eq=False)
class Head:
    """An attention head: a key is selected if every term's table says so."""

    output: SOp
    selector: Selector
    terms: tuple[Term, ...]
    moves: tuple[Move, ...]
    bos: Literal["selected", "default", "excluded"]
    """BOS is attended to as if selected, or if nothing is selected, or never."""

    @property
    def inputs(self) -> set[SOp]:
        """The variables it reads."""
        read = {move.source.variable for move in self.moves}
        read |= {variable for term in self.terms for variable in (term.keys, term.queries)}
        return {variable for variable in read if variable is not None}

    @property
    def at_bos(self) -> dict[Value, float]:
        """What it writes at BOS, which attends to itself: a default, or 1 for a width.

        Where every key is selected, attention at BOS is shared with all of them; that BOS then
        carries some share of 1 is left to whoever reads it.
        """
        if self.bos == "selected" and not self.terms:
            return {}
        return {move.value: move.weight for move in self.moves if move.source.variable is None}


@dataclass(frozen=True, eq=False)
class Lookup:
    """An MLP block: the output for every combination of values of categorical variables."""

    output: SOp
    sources: tuple[SOp, ...]
    table: Mapping[tuple[int, ...], Value]
    """From the values' places in their domains."""

    @property
    def inputs(self) -> set[SOp]:
        """The variables it reads."""
        return set(self.sources)


@dataclass(frozen=True, eq=False)
class Curve:
    """An MLP block: the output for every value of one numerical variable."""

    output: SOp
    source: SOp
    table: Mapping[Value, Value]

    @property
    def inputs(self) -> set[SOp]:
        """The variable it reads."""
        return {self.source}


@dataclass(frozen=True, eq=False)
class Linear:
    """An MLP block: a number that is a weighted sum of directions, and a constant."""

    output: SOp
    weights: Mapping[Direction, float]
    constant: float

    @property
    def inputs(self) -> set[SOp]:
        """The variables it reads."""
        return {d.variable for d in self.weights if d.variable is not None}


MlpBlock = Lookup | Curve | Linear
Block = Head | MlpBlock


def seen_by_attention(blocks: Mapping[SOp, Block]) -> set[SOp]:
    """The variables on which some attention pattern depends.

    They are kept exact: an error in them would be multiplied by the gap of attention scores.
    """
    seen: set[SOp] = set()
    for output, block in reversed([*blocks.items()]):
        if isinstance(block, Head):
            seen |= {v for t in block.terms for v in (t.keys, t.queries) if v is not None}
        if output in seen:
            seen |= block.inputs
    return seen


def layers(blocks: Mapping[SOp, Block]) -> dict[SOp, int]:
    """The earliest layer of each block: attention reads earlier layers, an MLP also its own."""
    halves: dict[SOp, int] = {}
    for output, block in blocks.items():
        ready = max((halves.get(source, -1) for source in block.inputs), default=-1)
        is_mlp = not isinstance(block, Head)
        halves[output] = ready + 1 + (ready % 2 == is_mlp)
    return {output: half // 2 for output, half in halves.items()}
