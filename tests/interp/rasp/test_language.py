"""Expressions are values, print as RASP, and refuse what they cannot mean."""

import copy
import pickle

import pytest

from interp.rasp import (
    RaspError,
    aggregate,
    categorical,
    indices,
    listing,
    map,
    numerical,
    select,
    selector_width,
    sequence_map,
    tokens,
)
from interp.rasp.expressions import without_names


def doubled(x):
    return 2 * x


def test_equal_expressions_are_one_object() -> None:
    first = aggregate(select(indices, indices - 1, "=="), tokens, default=0)
    assert first is aggregate(select(indices, indices - 1, "=="), tokens, default=0)
    assert first is not aggregate(select(indices, indices - 1, "=="), tokens, default=False)
    assert first is not aggregate(select(indices, indices - 1, "=="), tokens)


def test_copies_are_the_expression_itself() -> None:
    expression = map(doubled, indices) + 1
    assert copy.deepcopy(expression) is expression
    assert pickle.loads(pickle.dumps(expression)) is expression


def test_expressions_cannot_be_changed() -> None:
    with pytest.raises(AttributeError):
        (indices + 1).numerical = True  # pyright: ignore


@pytest.mark.parametrize(
    ("expression", "text"),
    [
        (tokens == "a", "tokens == 'a'"),
        (1 - indices * 2, "1 - (indices * 2)"),
        (~(tokens < 3) & (indices >= 1), "(not (tokens < 3)) & (indices >= 1)"),
        (map(doubled, indices), "map(doubled, indices)"),
        (sequence_map(max, tokens, indices), "sequence_map(max, tokens, indices)"),
        (numerical(tokens == "x"), "numerical(tokens == 'x')"),
        (numerical(tokens), "numerical(tokens)"),
        (categorical(numerical(tokens)), "tokens"),
        (numerical(tokens) + 1, "numerical(tokens) + 1"),
        (
            selector_width(select(tokens, tokens, "==")),
            "selector_width(select(tokens, tokens, ==))",
        ),
        (
            aggregate(select(tokens, "a", "==") & ~select(indices, indices, "<"), tokens, "none"),
            "aggregate((select(tokens, 'a', ==) and (not select(indices, indices, <))), tokens, "
            "default='none')",
        ),
    ],
)
def test_prints_as_rasp(expression, text: str) -> None:
    assert repr(expression) == text


def test_listing_names_parts_before_their_use() -> None:
    before = (indices - 1).named("before")
    left = aggregate(select(indices, before, "=="), tokens, default=0).named("left")
    assert listing((left < tokens) & (left == before)).splitlines() == [
        "before = indices - 1",
        "left = aggregate(select(indices, before, ==), tokens, default=0)",
        "return = (left < tokens) & (left == before)",
    ]


def test_without_names_keeps_what_was_named() -> None:
    named = (indices + 1).named("next")
    plain, origins = without_names(named * 2)
    assert plain is (indices + 1) * 2
    assert origins[indices + 1] is named


def test_arithmetic_of_numbers_is_a_number_and_a_comparison_is_not() -> None:
    number = numerical(tokens)
    assert (number + 1).is_numerical
    assert (2 * number - number).is_numerical
    assert not (number == 1).is_numerical
    assert not (number + tokens).is_numerical


@pytest.mark.parametrize(
    ("write", "message"),
    [
        (lambda: select(tokens, tokens, "=<"), "no predicate '=<': allowed are == != < <= > >="),
        (lambda: tokens + select(tokens, tokens, "=="), "is a selector where"),
        (lambda: bool(tokens == 1), "write & for and"),
        (lambda: tokens == [1], "can change"),
    ],
)
def test_mistakes_are_named(write, message: str) -> None:
    with pytest.raises(RaspError, match=message):
        write()
