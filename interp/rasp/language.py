"""RASP, the language of Weiss, Goldberg and Yahav, "Thinking Like Transformers" (2021).

A program is an expression: a frozen value that prints as RASP.

    left = aggregate(select(indices, indices - 1, "=="), tokens, default="none").named("left")
    print(listing(map(str.upper, left)))

A sequence operation has a value at every position. It is categorical (one of finitely many values)
unless made numerical, and then it may be averaged.
"""

from collections.abc import Callable

from interp.rasp.expressions import (
    COMPARISONS,
    CONSTANT_PREDICATES,
    Aggregate,
    Elementwise,
    Indices,
    Operator,
    RaspError,
    Select,
    Selector,
    SelectorWidth,
    SOp,
    Tokens,
    Value,
    as_selector,
    as_sop,
    identity,
)

tokens = Tokens()
"""The token at each position; BOS is none of them."""
indices = Indices()
"""The position, 0 at the first token after BOS."""


def map(function: Callable[[Value], Value], sequence: SOp) -> SOp:
    """`function` of the value at each position."""
    return Elementwise(function, (as_sop(sequence),))


def sequence_map(function: Callable[[Value, Value], Value], first: SOp, second: SOp) -> SOp:
    """`function` of two values at each position."""
    return Elementwise(function, (as_sop(first), as_sop(second)))


def select(
    keys: SOp | Value, queries: SOp | Value, predicate: str | Callable[[Value, Value], bool]
) -> Selector:
    """Select the keys for which predicate(key, query) holds.

    `predicate` is a function or one of == != < <= > >= true false: "<" selects keys below the
    query. A plain value stands for itself at every position.

    Raises `RaspError` for any other predicate.
    """
    if isinstance(predicate, str):
        allowed = (*COMPARISONS, *CONSTANT_PREDICATES)
        if predicate not in allowed:
            raise RaspError(f"there is no predicate {predicate!r}: allowed are {' '.join(allowed)}")
        predicate = Operator(predicate)
    return Select(as_sop(keys), as_sop(queries), predicate)


def aggregate(selector: Selector, values: SOp | Value, default: Value = None) -> SOp:
    """The value of the selected keys; `default` where none is selected.

    Of categorical values the selected ones must agree; numerical values are averaged. Without a
    default, a program in which some position selects nothing is refused.
    """
    return Aggregate(as_selector(selector), as_sop(values), default)


def selector_width(selector: Selector) -> SOp:
    """How many keys are selected."""
    return SelectorWidth(as_selector(selector))


def numerical(sequence: SOp) -> SOp:
    """The same values as numbers: aggregates then average them."""
    return _encoded(as_sop(sequence), True)


def categorical(sequence: SOp) -> SOp:
    """The same values as categories: they can then be selected and combined in any way."""
    return _encoded(as_sop(sequence), False)


def _encoded(sequence: SOp, as_number: bool) -> SOp:
    if sequence.is_numerical == as_number:
        return sequence
    if isinstance(sequence, Elementwise):
        if sequence.function is identity:
            return _encoded(sequence.arguments[0], as_number)
        return Elementwise(sequence.function, sequence.arguments, as_number)
    return Elementwise(identity, (sequence,), as_number)
