"""The interpreter against hand-computed values, and its refusals."""

from fractions import Fraction

import pytest

from interp.rasp import (
    RaspError,
    aggregate,
    evaluate,
    indices,
    map,
    numerical,
    select,
    selector_width,
    tokens,
)


def inverse(x):
    return 1 / x


def test_leaves_and_functions() -> None:
    assert evaluate(tokens, ["ab", "c"]) == [["a", "b"], ["c"]]
    assert evaluate(indices * indices - 1, ["abc"]) == [[-1, 0, 3]]


def test_a_predicate_compares_the_key_with_the_query() -> None:
    assert evaluate(selector_width(select(indices, indices, "<")), ["aaaa"]) == [[0, 1, 2, 3]]
    assert evaluate(selector_width(select(tokens, "b", "==")), ["abb"]) == [[2, 2, 2]]


def test_composed_selectors() -> None:
    same, before = select(tokens, tokens, "=="), select(indices, indices, "<")
    assert evaluate(selector_width(same & before), ["abab"]) == [[0, 0, 1, 1]]
    assert evaluate(selector_width(same | before), ["abab"]) == [[2, 3, 3, 4]]
    assert evaluate(selector_width(~same), ["aab"]) == [[1, 1, 2]]


def test_causal_selectors_see_no_later_key_however_they_are_composed() -> None:
    everything = select(tokens, tokens, "true")
    assert evaluate(selector_width(everything), ["abc"], causal=True) == [[1, 2, 3]]
    nothing_negated = ~select(tokens, tokens, "false")
    assert evaluate(selector_width(nothing_negated), ["abc"], causal=True) == [[1, 2, 3]]


def test_means_are_exact() -> None:
    share = aggregate(select(indices, indices, "<="), numerical(tokens == "x"))
    third = Fraction(1, 3)
    assert evaluate(share, ["axb"]) == [[0, Fraction(1, 2), third]]


def test_default_where_nothing_is_selected() -> None:
    left = aggregate(select(indices, indices - 1, "=="), tokens, default="none")
    assert evaluate(left, ["ab"]) == [["none", "a"]]


def test_selected_values_that_agree_are_no_contradiction() -> None:
    own = aggregate(select(tokens, tokens, "=="), tokens)
    assert evaluate(own, ["abab"]) == [["a", "b", "a", "b"]]


@pytest.mark.parametrize(
    ("program", "message"),
    [
        (
            aggregate(select(indices, indices - 1, "=="), tokens),
            r"aggregate\(.*\) selects nothing at position 0 of a sequence of length 2.*default",
        ),
        (aggregate(select(tokens, tokens, "true"), tokens), "different values.*'a' and 'b'"),
        (map(inverse, indices), r"map\(inverse, indices\) fails on 0: division by zero"),
        (
            aggregate(select(tokens, tokens, "true"), numerical(tokens)),
            "is numerical, but 'a' is no number",
        ),
    ],
)
def test_what_has_no_value_is_refused_by_name(program, message: str) -> None:
    with pytest.raises(RaspError, match=message):
        evaluate(program, ["ab"])
