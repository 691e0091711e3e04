"""The problems: their laws, by hand, and what is refused."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tasks.groups import finite_group
from tasks.iteration import (
    Iteration,
    copy,
    named_problem,
    parity,
    polynomial,
    prefix_product,
)

# Laws


@given(st.lists(st.integers(0, 1), min_size=1, max_size=40))
def test_parity_is_the_parity_of_the_sum_so_far(bits):
    sums = [sum(bits[: t + 1]) for t in range(len(bits))]
    assert parity().answers(bits) == [str(total % 2) for total in sums]


@given(st.text("abcde", min_size=1, max_size=40))
def test_copy_says_its_inputs_again(letters):
    assert copy("a..e").answers(letters) == list(letters)


@given(st.sampled_from([3, 5, 7, 11]), st.lists(st.integers(1, 2), min_size=1, max_size=20))
def test_polynomial_iteration_is_the_sum_of_products_of_the_last_inputs(modulus, x):
    """s_L = x_1 ... x_L + x_3 ... x_L + ... + x_L + 1, for L of 2 and more."""
    for length, answer in enumerate(polynomial(modulus).answers(x), start=1):
        tails = [math.prod(x[k:length]) for k in range(2, length)] + [1] * (length > 1)
        assert answer == str((math.prod(x[:length]) + sum(tails)) % modulus)


@pytest.mark.parametrize("name", ["S3", "A4", "Q8", "C5", "S3@published"])
def test_prefix_products_are_the_products_of_all_so_far(name):
    """Multiplied from the right end, which is the same because a product is associative."""
    group = finite_group(name)
    inputs = torch.randint(group.order, (50, 9), generator=torch.Generator().manual_seed(0))
    states = prefix_product(name).iterate(inputs)
    for t in range(9):
        product = torch.full((50,), group.identity)
        for s in range(t, -1, -1):
            product = group.table[inputs[:, s], product]
        assert torch.equal(states[:, t], product)


def test_parity_is_the_product_in_the_group_of_two():
    assert torch.equal(parity().transition, prefix_product("C2").transition)
    assert torch.equal(parity().start, prefix_product("C2").start)


@pytest.mark.parametrize("modulus", [3, 11, 53])
def test_every_input_of_a_polynomial_permutes_the_states(modulus):
    table = polynomial(modulus).transition
    assert torch.equal(table.sort(dim=0).values, torch.arange(modulus)[:, None].expand_as(table))


# By hand


def test_the_published_example_of_polynomial_iteration():
    """Its last state, after the inputs 6 2 7 6 10, is 9."""
    # 6; 6*2+1 = 13; 2*7+1 = 15; 4*6+1 = 25; 3*10+1 = 31; all modulo 11
    assert polynomial(11).answers([6, 2, 7, 6, 10]) == ["6", "2", "4", "3", "9"]


def test_products_apply_the_left_permutation_first():
    assert prefix_product("S3").answers(["(0 1)", "(1 2)"]) == ["(0 1)", "(0 2 1)"]


def test_definitions():
    for definition in ("copy", "copy:a..e", "parity", "polynomial:7", "product:S3"):
        assert named_problem(definition).name == definition
    assert named_problem("polynomial").name == "polynomial:11"
    assert copy("0,1").name == "copy" and copy("0..2").inputs == ("0", "1", "2")


# A function of one's own


def test_a_function_is_tabulated_once_and_starts_from_the_first_state():
    asked = []

    def at_most_two(count: int, coin: str) -> int:
        asked.append((count, coin))
        return min(count + (coin == "gold"), 2)

    counter = Iteration.from_function("counter", range(3), ["gold", "lead"], at_most_two)
    assert sorted(asked) == [(s, x) for s in range(3) for x in ("gold", "lead")]
    assert counter.transition.tolist() == [[1, 0], [2, 1], [2, 2]]
    assert counter.answers(["lead", "gold", "gold", "gold"]) == ["0", "1", "2", "2"]
    assert len(asked) == 6


def test_a_start_of_ones_own():
    horner = Iteration.from_function(
        "horner", range(5), range(1, 5), lambda s, x: (s * x + 1) % 5, start=lambda x: x
    )
    assert torch.equal(horner.transition, polynomial(5).transition)
    assert torch.equal(horner.start, polynomial(5).start)


# Errors


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: Iteration.from_function("sum", range(3), range(2), lambda s, x: s + x),
            r"sum: F\(2, 1\) is 3, which is none of the 3 states \(0, 1, 2\): F must stay in",
        ),
        (
            lambda: Iteration.from_function("sum", range(9), [1], max, start=lambda x: -x),
            r"start\(1\) is -1, which is none of the 9 states \(0, 1, 2, \.\.\., 8\)",
        ),
        (
            lambda: Iteration.from_function("same", [1, "1"], [1], lambda s, x: s),
            "same has a state twice",
        ),
        (lambda: Iteration.from_function("none", [0], [], max), "none has no inputs"),
        (lambda: polynomial(9), "modulus is 9: it must be a prime from 3 to 8191.* is 7"),
        (lambda: polynomial(2), "modulus is 2: .* the nearest is 3"),
        (lambda: polynomial(10**9), "the nearest is 8191"),
        (lambda: named_problem("polynomial:x"), "modulus is 'x'"),
        (lambda: named_problem("partiy"), "no problem 'partiy': .* the nearest is parity"),
        (lambda: named_problem("parity:2"), "no problem 'parity:2'"),
        (lambda: named_problem("product:S9"), "unknown group 'S9'; nearest is S7"),
        (lambda: parity().answers("102"), "'2' is no input of parity: the inputs are 0, 1"),
        (lambda: parity().answers(""), "a sequence of parity is empty"),
    ],
)
def test_what_is_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()
