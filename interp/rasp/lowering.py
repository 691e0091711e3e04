"""From a program to the blocks that compute it.

Expressions between variables cost nothing: functions of one variable are folded into whoever reads
it, and functions of several are computed by one MLP block where that is affordable, however many
operations they consist of.
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from fractions import Fraction
from functools import lru_cache
from itertools import pairwise

import numpy as np
from jaxtyping import Bool

from interp.rasp.blocks import (
    BOS,
    NUMBER,
    Block,
    Curve,
    Direction,
    Head,
    Linear,
    Lookup,
    Move,
    Term,
)
from interp.rasp.domains import Domain, Domains, InverseWidth
from interp.rasp.expressions import (
    Aggregate,
    Both,
    Constant,
    Either,
    Elementwise,
    Indices,
    Neither,
    Operator,
    RaspError,
    Select,
    Selector,
    SelectorWidth,
    SOp,
    Tokens,
    Value,
)
from interp.rasp.interpret import as_fraction
from interp.rasp.language import categorical

MAX_CELLS = 4096
"""Combinations of values that one MLP block tells apart, if it can be had in several blocks."""

RESOLUTION = 1e-4
"""How far apart numbers must be to be told apart, relative to the largest."""


@dataclass
class Lowering:
    """Finds the blocks of a program whose names were taken off."""

    domains: Domains
    blocks: dict[SOp, Block] = field(default_factory=dict)
    """By what they write, each after those it reads from."""

    def require(self, sop: SOp) -> SOp:
        """Have `sop` as a variable. Returns it."""
        if sop not in self.blocks and not isinstance(sop, Tokens | Indices):
            block = self._block(sop)
            self.blocks[sop] = block
        return sop

    def _block(self, sop: SOp) -> Block:
        match sop:
            case Aggregate():
                return self._aggregate(sop)
            case InverseWidth(selector):
                share = (Move(BOS, NUMBER, 1.0),)
                return Head(sop, selector, self._terms(selector), share, "selected")
        return self._linear(sop) or self._curve(sop) or self._lookup(sop)

    def _aggregate(self, sop: Aggregate) -> Head:
        terms = self._terms(sop.selector)
        if sop.is_numerical:
            moves = [Move(d, NUMBER, weight) for d, weight in self._number(sop.values).items()]
        else:
            moves = self._category_moves(sop.values)
        if sop.default is None or (self.domains.widths(sop.selector)[0] > 0).all():
            return Head(sop, sop.selector, terms, tuple(moves), "excluded")
        if not sop.is_numerical:
            moves.append(Move(BOS, sop.default, 1.0))
        elif number := as_fraction(sop, sop.default):
            moves.append(Move(BOS, NUMBER, float(number)))
        return Head(sop, sop.selector, terms, tuple(moves), "default")

    def _category_moves(self, sop: SOp) -> list[Move]:
        variable, cases = self._tabulate([sop])
        if variable is None:
            variable = self.require(sop)
            cases = [{sop: value} for value in self.domains.of(sop).values]
        values = self.domains.of(variable).values
        moves: list[Move] = []
        for value, case in zip(values, cases, strict=True):
            with suppress(Exception):  # here and below: a function may fail on what cannot occur
                moves.append(Move(Direction(variable, value), assign(sop, case), 1.0))
        return moves

    def _terms(self, selector: Selector) -> tuple[Term, ...]:
        """The conjunction of the terms is the selector. Those that are always true are left out."""
        tables: dict[tuple[SOp | None, SOp | None], Bool[np.ndarray, "q k"]] = {}
        for conjunct in _conjuncts(selector):
            selects = list(_selects(conjunct))
            keys, key_cases = self._tabulate([s.keys for s in selects])
            queries, query_cases = self._tabulate([s.queries for s in selects])
            table = np.array([[_selected(conjunct, k, q) for k in key_cases] for q in query_cases])
            tables[keys, queries] = table & tables.get((keys, queries), np.True_)
        return tuple(Term(k, q, table) for (k, q), table in tables.items() if not table.all())

    def _tabulate(self, sops: Sequence[SOp]) -> tuple[SOp | None, list[dict[SOp, Value]]]:
        """A categorical variable of which all of `sops` are functions, and for each of its values
        what `assign` needs to tell theirs; None if they are constant."""
        leaves = _unique(leaf for sop in sops for leaf in _leaves(sop))
        if not leaves:
            return None, [{}]
        if len(leaves) == 1 and not leaves[0].is_numerical:
            variable = self.require(leaves[0])
            return variable, [{variable: value} for value in self.domains.of(variable).values]
        sops = _unique(sops)
        if len(sops) == 1:
            variable = self.require(categorical(sops[0]))
            return variable, [{sops[0]: value} for value in self.domains.of(variable).values]
        variable = self.require(Elementwise(together, tuple(sops)))
        values = self.domains.of(variable).values
        return variable, [dict(zip(sops, value, strict=True)) for value in values]

    def _number(self, sop: SOp) -> dict[Direction, float]:
        """Weights of directions that sum to the number `sop`."""
        leaves = _leaves(sop)
        if len(leaves) != 1 or leaves[0].is_numerical:
            return {Direction(self.require(sop), NUMBER): 1.0}
        variable = self.require(leaves[0])
        numbers = self._table(sop, variable)
        return {Direction(variable, v): float(as_fraction(sop, x)) for v, x in numbers.items() if x}

    def _table(self, sop: SOp, variable: SOp) -> dict[Value, Value]:
        """What `sop` is for each value of the one variable it depends on."""
        table: dict[Value, Value] = {}
        for value in self.domains.of(variable).values:
            with suppress(Exception):
                table[value] = assign(sop, {variable: value})
        return table

    def _linear(self, sop: SOp) -> Linear | None:
        """The block of a sum of numbers."""
        summands = list(_summands(sop))
        if not sop.is_numerical or summands[0][1] is sop:
            return None
        weights: dict[Direction, float] = {}
        constant = 0.0
        for factor, summand in summands:
            if isinstance(summand, Constant):
                constant += float(factor * as_fraction(sop, summand.value))
                continue
            for direction, weight in self._number(summand).items():
                weights[direction] = weights.get(direction, 0.0) + float(factor) * weight
        return Linear(sop, weights, constant)

    def _curve(self, sop: SOp) -> Curve | None:
        """The block of a function of one number."""
        leaves = _inner_leaves(sop)
        number = _number_behind(leaves[0]) if len(leaves) == 1 else None
        if number is None:
            return None
        values = sorted(self.domains.of(number).values)
        gap = min((b - a for a, b in pairwise(values)), default=1)
        # The error of an inverse width shrinks with its square, as the gaps do.
        if not isinstance(number, InverseWidth) and gap < RESOLUTION * max(map(abs, values)):
            raise RaspError(
                f"{sop} cannot be encoded: {number} can have values as close as {float(gap):.1e}, "
                "too close to tell apart"
            )
        return Curve(sop, self.require(number), self._table(sop, number))

    def _lookup(self, sop: SOp) -> Lookup:
        """The block of a function of categories, or of the operands if they are fewer together."""
        leaves = _inner_leaves(sop)
        if any(leaf.is_numerical for leaf in leaves) or self._cells(leaves) > MAX_CELLS:
            operands = _unique(a for a in _operands(sop) if not isinstance(a, Constant))
            sources = [self.require(categorical(a)) for a in operands]
        else:
            sources = operands = [self.require(leaf) for leaf in leaves]
        domains = [self.domains.of(source) for source in sources]
        table: dict[tuple[int, ...], Value] = {}
        for cell in self._combinations(sop, domains):
            values = [d.values[i] for d, i in zip(domains, cell, strict=True)]
            with suppress(Exception):
                table[cell] = assign(sop, dict(zip(operands, values, strict=True)))
        return Lookup(sop, tuple(sources), table)

    def _combinations(self, sop: SOp, domains: Sequence[Domain]) -> list[tuple[int, ...]]:
        return [tuple(cell) for cell in np.argwhere(self.domains.joint(domains, sop)).tolist()]

    def _cells(self, sops: Sequence[SOp]) -> int:
        return math.prod(len(self.domains.of(sop).values) for sop in sops)


def together(*values: Value) -> tuple[Value, ...]:
    """Several values as one."""
    return values


def assign(sop: SOp, known: dict[SOp, Value]) -> Value:
    """The value of `sop` where those of the variables it depends on are known; noted there."""
    if sop in known:
        return known[sop]
    match sop:
        case Constant(value):
            return value
        case SelectorWidth(selector):
            return int(1 / known[InverseWidth(selector)]) - 1
        case Elementwise(function, arguments):
            known[sop] = function(*(assign(a, known) for a in arguments))
            return known[sop]
    raise AssertionError(f"{sop} is not determined by {list(known)}")


def _operands(sop: SOp) -> tuple[SOp, ...]:
    return sop.arguments if isinstance(sop, Elementwise) else (sop,)


def _inner_leaves(sop: SOp) -> list[SOp]:
    return _unique(leaf for operand in _operands(sop) for leaf in _leaves(operand))


@lru_cache(maxsize=10_000)  # of an expression that is used often, one would be asked often
def _leaves(sop: SOp) -> list[SOp]:
    """What `sop` is a function of: variables, or categories told apart from one number."""
    match sop:
        case Constant():
            return []
        case Elementwise():
            leaves = _inner_leaves(sop)
            tells_apart = not sop.is_numerical and len(leaves) == 1 and leaves[0].is_numerical
            return [sop] if tells_apart else leaves
    return [sop]


def _number_behind(leaf: SOp) -> SOp | None:
    """The number that a leaf is told apart from, if it is."""
    match leaf:
        case SelectorWidth(selector):
            return InverseWidth(selector)
        case Elementwise():
            return _inner_leaves(leaf)[0]
    return leaf if leaf.is_numerical else None


def _summands(sop: SOp, factor: Fraction = Fraction(1)) -> Iterator[tuple[Fraction, SOp]]:
    """Factors and numbers whose products sum to `sop`; itself if it is no sum."""
    is_sum = isinstance(sop, Elementwise) and sop.numerical and sop.keeps_encoding
    match sop:
        case Elementwise(Operator("+"), (first, second)) if is_sum:
            yield from _summands(first, factor)
            yield from _summands(second, factor)
        case Elementwise(Operator("-"), (first, second)) if is_sum:
            yield from _summands(first, factor)
            yield from _summands(second, -factor)
        case Elementwise(Operator("*"), (Constant(number), inner) | (inner, Constant(number))) if (
            is_sum
        ):
            yield from _summands(inner, factor * as_fraction(sop, number))
        case Elementwise(Operator("/"), (inner, Constant(number))) if is_sum and number:
            yield from _summands(inner, factor / as_fraction(sop, number))
        case _:
            yield factor, sop


def _conjuncts(selector: Selector) -> Iterator[Selector]:
    """Selectors whose conjunction is `selector`, as many as it has."""
    match selector:
        case Both(first, second):
            yield from _conjuncts(first)
            yield from _conjuncts(second)
        case Neither(Either(first, second)):
            yield from _conjuncts(Neither(first))
            yield from _conjuncts(Neither(second))
        case Neither(Neither(inner)):
            yield from _conjuncts(inner)
        case _:
            yield selector


def _selects(selector: Selector) -> Iterator[Select]:
    match selector:
        case Select():
            yield selector
        case Both(first, second) | Either(first, second):
            yield from _selects(first)
            yield from _selects(second)
        case Neither(inner):
            yield from _selects(inner)


def _selected(selector: Selector, key: dict[SOp, Value], query: dict[SOp, Value]) -> bool:
    match selector:
        case Both(first, second):
            return _selected(first, key, query) and _selected(second, key, query)
        case Either(first, second):
            return _selected(first, key, query) or _selected(second, key, query)
        case Neither(inner):
            return not _selected(inner, key, query)
        case Select(keys, queries, predicate):
            with suppress(Exception):
                return bool(predicate(assign(keys, key), assign(queries, query)))
            return False
    raise AssertionError(f"{selector} is no selector")


def _unique(sops: Iterable[SOp]) -> list[SOp]:
    return list(dict.fromkeys(sops))
