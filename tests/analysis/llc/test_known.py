"""Losses whose learning coefficient is known, against values by hand and by sampling."""

import math
from itertools import product

import numpy as np
import pytest
import torch

from analysis.llc.config import LLCConfig
from analysis.llc.known import (
    DeepLinear,
    NormalCrossing,
    Regular,
    RegularData,
    reduced_rank_coefficient,
)
from analysis.llc.sampling import sample

KNOWN = [
    Regular((1.0, 2.0)),
    RegularData((1.0, 2.0), n_examples=7),
    NormalCrossing((1, 2)),
    DeepLinear((3, 2, 4), 1),
    DeepLinear((2, 3, 2, 3), 2),
]


@pytest.mark.parametrize("known", KNOWN, ids=str)
def test_the_loss_is_least_and_zero_at_the_centre(known):
    landscape = known.landscape()
    everything = torch.arange(landscape.n_examples)[None]
    near = torch.randn(1, 50, landscape.centres.shape[1], dtype=torch.float64)
    moved = landscape.losses(landscape.centres[:, None] + near, everything).mean(dim=-1)
    assert (moved > 0).all()
    centre = landscape.centres[:, None].clone().requires_grad_()
    loss = landscape.losses(centre, everything).mean()
    (gradient,) = torch.autograd.grad(loss, centre)
    assert loss == 0
    torch.testing.assert_close(gradient, torch.zeros_like(gradient), rtol=0, atol=1e-15)


@pytest.mark.parametrize(
    ("known", "weights", "expected"),
    [
        (Regular((1.0, 3.0)), [2.0, 1.0], 3.5),
        (NormalCrossing((1, 2)), [3.0, 2.0], 144.0),
        (NormalCrossing((0, 1)), [3.0, 2.0], 4.0),
        # B A - T = [[2 * 3], [1 * 3]] - [[1], [0]] = [[5], [3]]
        (DeepLinear((1, 1, 2), 1), [3.0, 2.0, 1.0], 17.0),
    ],
    ids=str,
)
def test_losses_by_hand(known, weights, expected):
    landscape = known.landscape()
    at = torch.tensor([[weights]], dtype=torch.float64)
    assert landscape.losses(at, torch.zeros(1, 1, dtype=torch.int64)).item() == expected


def test_examples_share_out_the_regular_loss():
    """An example's loss is 1/2 sum h (w - x)^2 less its value at 0; their mean is 1/2 h w^2."""
    known = RegularData((1.0, 3.0), n_examples=5)
    weights = torch.randn(1, 4, 2, dtype=torch.float64)
    picked = torch.tensor([[0, 2], [1, 1], [4, 3], [2, 0]])
    found = known.landscape().losses(weights, picked)
    x, h = known.examples[picked], torch.tensor([1.0, 3.0], dtype=torch.float64)
    squares = (weights[0, :, None] - x).square() - x.square()
    torch.testing.assert_close(found[0], (h * squares).sum(dim=-1) / 2)
    whole = known.landscape().losses(weights, torch.arange(5)[None]).mean(dim=-1)
    everywhere = Regular((1.0, 3.0)).landscape().losses(weights, torch.zeros(1, 1).long())[..., 0]
    torch.testing.assert_close(whole, everywhere)


def test_regular_expectation_by_hand():
    """The table of the literature's setting: d = 10, nbeta 100."""
    known = Regular((1.0,) * 10)
    assert known.coefficient == (5, 1)
    assert known.expected(100.0, 1.0, 4e-3) == pytest.approx(5.5067, abs=5e-5)
    assert known.expected(100.0, 50.0, 4e-3) == pytest.approx(3.9216, abs=5e-5)
    assert known.expected(100.0, 1.0, 4e-4) == pytest.approx(5.001, abs=5e-4)
    assert known.expected(1e9, 1.0) == pytest.approx(5, abs=1e-7)


def test_a_step_that_diverges_is_refused():
    with pytest.raises(ValueError, match=r"step size 0.04 diverges: it must be below 0.0396,"):
        Regular((1.0,)).expected(100.0, 1.0, 0.04)


def test_minibatches_add_their_variance():
    """Of two examples +-x, batches of one: the gradient is off by +-h x, a variance of h^2 x^2."""
    known = RegularData((2.0,), n_examples=2)
    x, a, step, nbeta = float(known.examples[0, 0]), 21.0, 0.01, 10.0
    contraction = (1 - step * a / 2) ** 2
    variance = (step + (step / 2 * nbeta * 2 * x) ** 2) / (1 - contraction)
    assert known.expected(nbeta, 1.0, step, 1) == pytest.approx(nbeta * 2 * variance / 2)
    assert known.expected(nbeta, 1.0, step, 2) == known.expected(nbeta, 1.0, step)


def test_chains_on_minibatches_have_the_expected_loss():
    known = RegularData((0.5, 2.0), n_examples=20)
    config = LLCConfig(
        "sgld", chains=40, step_size=0.02, nbeta=40.0, localization=5.0, batch_size=4, draws=900
    )
    trace = sample(known.landscape(), config)
    chains = 40 * trace.excess[0].mean(dim=-1)
    expected, full = known.expected(40.0, 5.0, 0.02, 4), known.expected(40.0, 5.0, 0.02)
    error = float(chains.std()) / 40**0.5
    assert abs(float(chains.mean()) - expected) < 4 * error
    assert expected > full + 10 * error


@pytest.mark.parametrize(
    ("exponents", "nbeta", "expected", "coefficient"),
    [
        ((0, 1), 145.0, 0.4983, (0.5, 1)),
        ((1, 1), 145.0, 0.3614, (0.5, 2)),
        ((1, 2), 145.0, 0.2095, (0.25, 1)),
        ((2, 2), 145.0, 0.1505, (0.25, 2)),
        ((1, 1), 5000.0, 0.4067, (0.5, 2)),
        ((2, 2), 5000.0, 0.1749, (0.25, 2)),
        ((1, 2), 5000.0, 0.2331, (0.25, 1)),
    ],
)
def test_normal_crossings(exponents, nbeta, expected, coefficient):
    known = NormalCrossing(exponents)
    assert known.coefficient == coefficient
    assert known.expected(nbeta, 1.0) == pytest.approx(expected, abs=5e-5)
    assert NormalCrossing(exponents[::-1]).expected(nbeta, 1.0) == pytest.approx(expected, abs=5e-5)


def test_crossing_of_one_is_regular():
    """L = w^2 has h = 2; the other direction has no part in it."""
    regular = Regular((2.0,)).expected(145.0, 3.0)
    assert NormalCrossing((0, 1)).expected(145.0, 3.0) == pytest.approx(regular, rel=1e-10)


@pytest.mark.parametrize("exponents", [(1, 2), (0, 1), (0, 3)])
def test_the_limit_is_lambda_where_the_multiplicity_is_one(exponents):
    known = NormalCrossing(exponents)
    assert known.expected(1e14, 1.0) == pytest.approx(known.coefficient.lambda_, rel=2e-3)


def test_with_multiplicity_two_the_limit_is_logarithmic():
    """The evidence goes as nbeta^-lambda log nbeta: lambda - 1 / (log nbeta + a constant)."""
    known = NormalCrossing((1, 1))
    lag = [1 / (0.5 - known.expected(10.0**power, 1.0)) for power in (8, 10, 12)]
    assert np.diff(lag) == pytest.approx(2 * math.log(10), rel=1e-3)


def test_two_matrices_are_reduced_rank_regression():
    sizes = [
        (m, h, n, r) for m, h, n in product(range(1, 7), repeat=3) for r in range(min(m, h, n) + 1)
    ]
    assert len(sizes) == 657
    for m, h, n, r in sizes:
        expected = reduced_rank_coefficient(m, h, n, r)
        assert DeepLinear((m, h, n), r).coefficient == pytest.approx(expected), (m, h, n, r)


@pytest.mark.parametrize(
    ("widths", "rank", "lambda_", "multiplicity"),
    [
        ((5, 3, 5), 0, 6.5, 2),
        ((5, 3, 5), 2, 9.5, 2),
        ((5, 3, 5), 3, 10.5, 1),
        ((4, 3, 8), 1, 8.5, 1),
        ((3, 8, 4), 2, 6.0, 1),
        ((3, 2, 3), 1, 3.5, 2),
        ((3, 3, 2, 3), 2, 4.0, 1),
        ((3, 3, 2, 3), 1, 3.5, 3),
        # By hand: L = (a b c)^2 / 2 has three crossing minima, and a scalar regression one slope.
        ((1, 1, 1, 1), 0, 0.5, 3),
        ((1, 1, 1, 1), 1, 0.5, 1),
        # L = b^2 (a_1^2 + a_2^2) / 2: it is cheaper that b vanishes.
        ((2, 1, 1), 0, 0.5, 1),
    ],
)
def test_deep_linear_networks(widths, rank, lambda_, multiplicity):
    assert DeepLinear(widths, rank).coefficient == pytest.approx((lambda_, multiplicity))


@pytest.mark.parametrize("rank", [-1, 3])
def test_a_rank_that_does_not_fit_is_refused(rank):
    with pytest.raises(ValueError, match=rf"rank is {rank}: it must be from 0 to 2"):
        DeepLinear((4, 2, 3), rank)


def test_mala_gives_what_the_quadrature_does():
    """Of one matrix entry after another, L = (a b)^2 / 2: a normal crossing, twice as cold."""
    config = LLCConfig(
        sampler="mala", chains=100, step_size=0.1, nbeta=20.0, localization=1.0, draws=600
    )
    trace = sample(DeepLinear((1, 1, 1), 0).landscape(), config)
    chains = 20 * trace.excess[0].mean(dim=-1)
    expected = NormalCrossing((1, 1)).expected(10.0, 1.0)
    assert abs(float(chains.mean()) - expected) < 4 * float(chains.std()) / 100**0.5
