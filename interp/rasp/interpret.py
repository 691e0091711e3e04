"""What a RASP program says about sequences, exactly.

Sequences of one length are evaluated together. A `Column` holds an expression's value at every
position as an index into the values that occur, so that each function is called once for every
value (or pair of values) that occurs, not once for every position.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from jaxtyping import Bool, Int

from interp.rasp.expressions import (
    Aggregate,
    Both,
    Constant,
    Either,
    Elementwise,
    Indices,
    Named,
    Neither,
    RaspError,
    Select,
    Selector,
    SelectorWidth,
    SOp,
    Tokens,
    Value,
)

PAIRS_AT_ONCE = 2**24
"""Pairs of query and key in memory at a time."""


def evaluate(
    program: SOp, sequences: Sequence[Sequence[Value]], *, causal: bool = False
) -> list[list[Value]]:
    """The program's value at every position of every sequence; BOS is not among them.

    Values that Python takes for equal, such as 1 and True, are one value.

    With `causal`, a selector selects no key to the right of its query.

    Raises `RaspError`, naming the expression: a row selects nothing and there is no default, the
    selected values of a categorical aggregate differ, or a function fails on a value.
    """
    by_length: dict[int, list[int]] = {}
    for i, sequence in enumerate(sequences):
        by_length.setdefault(len(sequence), []).append(i)
    answers: list[list[Value]] = [[] for _ in sequences]
    for length, members in by_length.items():
        size = max(1, PAIRS_AT_ONCE // max(1, length) ** 2)
        for start in range(0, len(members), size):
            part = members[start : start + size]
            column = Evaluation([sequences[i] for i in part], causal).column(program)
            for i, row in zip(part, column.rows(), strict=True):
                answers[i] = row
    return answers


@dataclass(frozen=True, eq=False)
class Column:
    """values[codes[example, position]] is what an expression says there.

    For a selector, there are two positions: of the query and of the key.
    """

    codes: Int[np.ndarray, "example *position"]
    values: tuple[Value, ...]

    def rows(self) -> list[list[Value]]:
        """The values themselves, by example."""
        return [[self.values[code] for code in row] for row in self.codes.tolist()]


class Evaluation:
    """The expressions of a program on sequences of one length."""

    def __init__(self, sequences: Sequence[Sequence[Value]], causal: bool) -> None:
        self.sequences = sequences
        self.shape = (len(sequences), len(sequences[0]))
        self.causal = causal
        self._columns: dict[SOp, Column] = {}

    def column(self, sop: SOp) -> Column:
        """The values of `sop`. Raises as `evaluate` does."""
        if sop not in self._columns:
            self._columns[sop] = self._compute(sop)
        return self._columns[sop]

    def _compute(self, sop: SOp) -> Column:
        match sop:
            case Tokens():
                flat = [token for sequence in self.sequences for token in sequence]
                return _column(flat, np.arange(len(flat)).reshape(self.shape))
            case Indices():
                codes = np.broadcast_to(np.arange(self.shape[1]), self.shape)
                return Column(codes, tuple(range(self.shape[1])))
            case Constant(value):
                return Column(np.zeros(self.shape, dtype=np.int64), (value,))
            case Named(inner, _):
                return self.column(inner)
            case Elementwise(function, arguments):
                return combine(sop, function, [self.column(a) for a in arguments])
            case SelectorWidth(selector):
                widths = self.selected(selector).sum(axis=2)
                return Column(widths, tuple(range(self.shape[1] + 1)))
            case Aggregate(selector, values, default):
                rows = self.selected(selector)
                gather = _mean if sop.is_numerical else _agreed
                return gather(sop, rows, self.column(values), default)
        raise RaspError(f"{sop} is no expression of RASP")

    def selected(self, selector: Selector) -> Bool[np.ndarray, "example query key"]:
        """Which keys `selector` selects for each query."""
        rows = self._select(selector)
        return np.tril(rows) if self.causal else rows

    def _select(self, selector: Selector) -> Bool[np.ndarray, "example query key"]:
        match selector:
            case Both(first, second):
                return self._select(first) & self._select(second)
            case Either(first, second):
                return self._select(first) | self._select(second)
            case Neither(inner):
                return ~self._select(inner)
            case Select(keys, queries, predicate):
                key, query = self.column(keys), self.column(queries)
                at_key = Column(key.codes[:, None, :], key.values)
                at_query = Column(query.codes[:, :, None], query.values)
                truth = combine(selector, lambda k, q: bool(predicate(k, q)), [at_key, at_query])
                return np.array(truth.values, dtype=bool)[truth.codes]
        raise RaspError(f"{selector} is no selector of RASP")


def combine(
    expression: object, function: Callable[..., Value], columns: Sequence[Column]
) -> Column:
    """`function` of columns whose codes broadcast; it sees only combinations that occur."""
    sizes = tuple(len(column.values) for column in columns)
    codes = np.broadcast_arrays(*(column.codes for column in columns))
    joint, places = np.unique(np.ravel_multi_index(codes, sizes), return_inverse=True)
    results = []
    for combination in zip(*np.unravel_index(joint, sizes), strict=True):
        inputs = [c.values[code] for c, code in zip(columns, combination, strict=True)]
        try:
            results.append(function(*inputs))
        except Exception as error:  # a program's function may raise anything
            values = ", ".join(map(repr, inputs))
            raise RaspError(f"{expression} fails on {values}: {error}") from error
    return _column(results, places.reshape(codes[0].shape))


def _column(values: Sequence[Value], places: Int[np.ndarray, "..."]) -> Column:
    """A column of values[places], equal values under one code."""
    numbers: dict[Value, int] = {}
    try:
        codes = [numbers.setdefault(value, len(numbers)) for value in values]
    except TypeError as error:
        raise RaspError(f"a value of a sequence operation must be hashable: {error}") from error
    return Column(np.array(codes, dtype=np.int64)[places], tuple(numbers))


def _agreed(
    sop: SOp, selected: Bool[np.ndarray, "example query key"], values: Column, default: Value
) -> Column:
    """The value that the selected keys have in common."""
    chosen = np.take_along_axis(values.codes, selected.argmax(axis=2), axis=1)
    differing = selected & (values.codes[:, None, :] != chosen[:, :, None])
    if differing.any():
        example, query, key = (int(x[0]) for x in np.nonzero(differing))
        raise RaspError(
            f"{sop} selects different values at one position, such as "
            f"{values.values[chosen[example, query]]!r} and "
            f"{values.values[values.codes[example, key]]!r}: make them numerical to average them"
        )
    empty = np.logical_not(selected.any(axis=2))
    _need_default(sop, empty, default)
    table = [*values.values, *([default] if default is not None else [])]
    return _column(table, np.where(empty, len(values.values), chosen))


def _mean(
    sop: SOp, selected: Bool[np.ndarray, "example query key"], values: Column, default: Value
) -> Column:
    """The mean of the selected keys' values, as a fraction."""
    fractions = [as_fraction(sop, value) for value in values.values]
    scale = math.lcm(*(f.denominator for f in fractions))
    scaled = np.array([int(f * scale) for f in fractions] or [0], dtype=object)
    if max(abs(scaled)) < 2**53:
        scaled = scaled.astype(np.int64)
    sums = (selected * scaled[values.codes][:, None, :]).sum(axis=2)
    widths = selected.sum(axis=2)
    _need_default(sop, widths == 0, default)
    totals = _column(sums.ravel().tolist(), np.arange(sums.size).reshape(sums.shape))
    counts = Column(widths, tuple(range(selected.shape[2] + 1)))

    def mean(total: int, count: int) -> Fraction:
        return Fraction(total, count * scale) if count else as_fraction(sop, default)

    return combine(sop, mean, [totals, counts])


def as_fraction(sop: SOp, value: Value) -> Fraction:
    """The exact value of a number. Raises `RaspError` for anything else."""
    try:
        return Fraction(value)
    except (TypeError, ValueError, OverflowError) as error:
        raise RaspError(f"{sop} is numerical, but {value!r} is no number") from error


def _need_default(sop: SOp, empty: Bool[np.ndarray, "example query"], default: Value) -> None:
    if default is None and empty.any():
        raise RaspError(
            f"{sop} selects nothing at position {int(np.nonzero(empty)[1][0])} of a sequence of "
            f"length {empty.shape[1]}, and has no default: state one, as in "
            "aggregate(selector, values, default=...)"
        )
