"""Which values every expression of a program can have, and together with which others.

A position's state is what is known of it: its token, its index and its sequence's length. For
every expression, a `Domain` tells which values are possible in which states. Values that depend on
the state alone are therefore exact, and so are pairs of them: no unit is spent on an index beyond
the sequence's length. What depends on other positions is bounded from above: selectors are asked
whether a key of a state *may* be selected and whether it *must* be.

Shapes: s, t states; q, k, v values.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from jaxtyping import Bool

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
from interp.rasp.interpret import as_fraction


@dataclass(frozen=True, eq=False, repr=False)
class InverseWidth(SOp):
    """1 / (1 + the width of a selector): attention's share on BOS if BOS is always selected."""

    selector: Selector

    @property
    def is_numerical(self) -> bool:
        return True


MAX_STATES = 500_000
"""Tokens by indices by lengths that are looked at."""
MAX_MEANS = 10_000
"""Means of numbers that are told apart; beyond, they are only passed on."""
MAX_COMBINATIONS = 10**6
"""Combinations of values that a function is tabulated on."""


@dataclass(frozen=True, eq=False)
class Domain:
    """The values of an expression, and in which states each is possible."""

    values: tuple[Value, ...]
    possible: Bool[np.ndarray, "s v"]


class Domains:
    """The domains of a program's expressions."""

    def __init__(self, tokens: Sequence[Value], max_length: int, causal: bool) -> None:
        self.tokens = tuple(tokens)
        self.max_length = max_length
        self.causal = causal
        n_states = len(tokens) * max_length * (max_length + 1) // 2
        if n_states > MAX_STATES:
            raise RaspError(
                f"{len(tokens)} tokens in sequences of up to {max_length} are too much to compile: "
                f"a position has {n_states:,} states, and at most {MAX_STATES:,} are looked at"
            )
        n = range(1, max_length + 1)
        self.lengths = np.concatenate([np.full(x * len(tokens), x) for x in n])
        self.indices = np.concatenate([np.repeat(np.arange(x), len(tokens)) for x in n])
        self.token_ids = np.tile(np.arange(len(tokens)), max_length * (max_length + 1) // 2)
        self._domains: dict[SOp, Domain | None] = {}
        self._tables: dict[Select, Bool[np.ndarray, "q k"]] = {}

    def of(self, sop: SOp) -> Domain:
        """Raises `RaspError` when the expression has too many values to tell apart."""
        found = self.numbers(sop)
        if found is None:
            raise RaspError(
                f"{sop} has more than {MAX_MEANS} possible values: it cannot be told apart, only "
                "added, averaged or put out"
            )
        return found

    def numbers(self, sop: SOp) -> Domain | None:
        """The domain, or None for a number with too many values."""
        if sop not in self._domains:
            self._domains[sop] = self._infer(sop)
        return self._domains[sop]

    def _infer(self, sop: SOp) -> Domain | None:
        match sop:
            case Tokens():
                return self._exactly(self.token_ids, self.tokens)
            case Indices():
                return self._exactly(self.indices, tuple(range(self.max_length)))
            case Constant(value):
                return self._exactly(np.zeros_like(self.indices), (value,))
            case Named(inner, _):
                return self.numbers(inner)
            case Elementwise(function, arguments):
                domains = [self.numbers(a) for a in arguments]
                if None in domains and sop.is_numerical:
                    return None
                return self._image(sop, function, [self.of(a) for a in arguments])
            case SelectorWidth(selector):
                least, most = self.widths(selector)
                width = np.arange(self.max_length + 1)
                possible = (least[:, None] <= width) & (width <= most[:, None])
                return _occurring(tuple(width.tolist()), possible)
            case InverseWidth(selector):
                width = self.of(SelectorWidth(selector))
                return Domain(tuple(Fraction(1, w + 1) for w in width.values), width.possible)
            case Aggregate() if sop.is_numerical:
                return self._means(sop)
            case Aggregate():
                return self._selected_values(sop)
        raise RaspError(f"{sop} is no expression of RASP")

    def _exactly(self, codes: np.ndarray, values: tuple[Value, ...]) -> Domain:
        return Domain(values, codes[:, None] == np.arange(len(values)))

    def joint(self, domains: Sequence[Domain], sop: SOp) -> Bool[np.ndarray, "*v"]:
        """Which combinations of values `sop` can meet at one position."""
        cells = math.prod(len(d.values) for d in domains)
        if cells > MAX_COMBINATIONS:
            raise RaspError(
                f"{sop} cannot be encoded: it depends on {cells:,} combinations of values, and at "
                f"most {MAX_COMBINATIONS:,} can be told apart"
            )
        if not domains:
            return np.ones((), dtype=bool)
        axes = "abcdefghijklmnopqr"[: len(domains)]
        formula = ",".join(f"s{axis}" for axis in axes) + "->" + axes
        possible = [d.possible.astype(np.float32) for d in domains]
        return np.einsum(formula, *possible, optimize=True) > 0

    def _image(self, sop: SOp, function: Callable[..., Value], domains: Sequence[Domain]) -> Domain:
        values: dict[Value, np.ndarray] = {}
        for cell in np.argwhere(self.joint(domains, sop)):
            inputs = [d.values[i] for d, i in zip(domains, cell, strict=True)]
            try:
                result = function(*inputs)
            except Exception:  # a combination that is only feared may be none the function knows
                continue
            states = np.logical_and.reduce(
                [d.possible[:, i] for d, i in zip(domains, cell, strict=True)]
            )
            values[result] = values.get(result, False) | states
        return Domain(tuple(values), np.stack(list(values.values()), axis=1))

    def widths(self, selector: Selector) -> tuple[np.ndarray, np.ndarray]:
        """The least and the largest number of selected keys, by the query's state."""
        least, most = np.zeros_like(self.indices), np.zeros_like(self.indices)
        for length in range(1, self.max_length + 1):
            may, must = self._selection(selector, length)
            shape = (len(may), length, len(self.tokens))
            there = self._consistent(length).reshape(shape)
            rows = self.lengths == length
            most[rows] = (may.reshape(shape) & there).any(axis=2).sum(axis=1)
            surely = (must.reshape(shape) | ~there).all(axis=2) & there.any(axis=2)
            least[rows] = surely.sum(axis=1)
        return least, most

    def _consistent(self, length: int) -> Bool[np.ndarray, "s t"]:
        """Whether a query of state s can see a key of state t: a position has one token."""
        rows = self.lengths == length
        index, token = self.indices[rows], self.token_ids[rows]
        elsewhere = index[:, None] != index
        visible = index[:, None] >= index if self.causal else True
        return (elsewhere | (token[:, None] == token)) & visible

    def _selection(
        self, selector: Selector, length: int
    ) -> tuple[Bool[np.ndarray, "s t"], Bool[np.ndarray, "s t"]]:
        """Whether a query of state s may, and whether it must, select a key of state t."""
        match selector:
            case Both(first, second):
                a, b = self._selection(first, length), self._selection(second, length)
                return a[0] & b[0], a[1] & b[1]
            case Either(first, second):
                a, b = self._selection(first, length), self._selection(second, length)
                return a[0] | b[0], a[1] | b[1]
            case Neither(inner):
                may, must = self._selection(inner, length)
                return ~must, ~may
            case Select():
                return self._may_and_must(selector, self.lengths == length)
        raise RaspError(f"{selector} is no selector of RASP")

    def _may_and_must(
        self, selector: Select, rows: Bool[np.ndarray, "state"]
    ) -> tuple[Bool[np.ndarray, "s t"], Bool[np.ndarray, "s t"]]:
        key, query, truth = self.of(selector.keys), self.of(selector.queries), self._truth(selector)
        k, q = key.possible[rows].astype(np.float32), query.possible[rows].astype(np.float32)
        may, must = q @ truth @ k.T > 0, q @ (1 - truth) @ k.T == 0
        if selector.keys is selector.queries:  # here, key and query are the same value
            diagonal, itself = np.arange(len(k)), truth.diagonal()
            # Of truth values: BLAS may warn of products with a vector that are not invalid at all.
            may[diagonal, diagonal] = (key.possible[rows] & itself).any(axis=1)
            must[diagonal, diagonal] = ~(key.possible[rows] & ~itself).any(axis=1)
        return may, must

    def _truth(self, selector: Select) -> Bool[np.ndarray, "q k"]:
        """The predicate for all possible queries and keys."""
        if selector not in self._tables:
            keys, queries = self.of(selector.keys).values, self.of(selector.queries).values
            self._tables[selector] = np.array(
                [[holds(selector.predicate, k, q) for k in keys] for q in queries]
            )
        return self._tables[selector]

    def _selected_values(self, sop: Aggregate) -> Domain:
        values = self.of(sop.values)
        table = [*values.values, *([] if sop.default in values.values else [sop.default])]
        possible = np.zeros((len(self.indices), len(table)), dtype=bool)
        for length in range(1, self.max_length + 1):
            rows = self.lengths == length
            may = self._selection(sop.selector, length)[0] & self._consistent(length)
            reached = may.astype(np.float32) @ values.possible[rows].astype(np.float32)
            possible[rows, : len(values.values)] = reached > 0
        if sop.default is not None:
            possible[:, table.index(sop.default)] |= self.widths(sop.selector)[0] == 0
        return _occurring(tuple(table), possible)

    def _means(self, sop: Aggregate) -> Domain | None:
        domain = self.numbers(sop.values)
        least, most = self.widths(sop.selector)
        if domain is None:
            return None
        numbers = [as_fraction(sop, value) for value in domain.values]
        means: dict[Fraction, np.ndarray] = {}
        sums = {Fraction(0)}
        for width in range(1, int(most.max()) + 1):
            sums = {s + number for s in sums for number in numbers}
            states = (least <= width) & (width <= most)
            for s in sums if states.any() else ():
                means[s / width] = means.get(s / width, False) | states
            if max(len(sums), len(means)) > MAX_MEANS:
                return None
        if sop.default is not None and (least == 0).any():
            default = as_fraction(sop, sop.default)
            means[default] = means.get(default, False) | (least == 0)
        return Domain(tuple(means), np.stack(list(means.values()), axis=1))


def holds(predicate: Callable[[Value, Value], bool], key: Value, query: Value) -> bool:
    """Whether the key is selected; no where the predicate fails: it may be asked in vain."""
    try:
        return bool(predicate(key, query))
    except Exception:  # the user's own function
        return False


def _occurring(values: tuple[Value, ...], possible: Bool[np.ndarray, "s v"]) -> Domain:
    """The domain without the values that no state allows."""
    kept = np.asarray(possible.any(axis=0))
    return Domain(tuple(v for v, keep in zip(values, kept, strict=True) if keep), possible[:, kept])
