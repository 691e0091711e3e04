"""What the draws tell, against closed forms of Gaussian posteriors."""

from dataclasses import replace
from math import log

import pytest
import torch
from torch import Tensor
from torch.nn import Linear

from analysis.llc.config import LLCConfig
from analysis.llc.landscape import ModuleLandscape
from analysis.llc.observables import (
    bayesian_influence,
    covariance_spectrum,
    loss_covariance,
    losses_elsewhere,
    singular_fluctuation,
    susceptibilities,
    wbic,
)
from analysis.llc.sampling import Trace, sample

N, D = 50, 3
GAMMA = 2.0
CHAINS, DRAWS = 4, 20000


def _numbers(*shape: int, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


X = _numbers(N // 2, D, seed=0).repeat(2, 1) * torch.tensor([0.5, 1.0, 2.0], dtype=torch.float64)
H = X.T @ X / N
SIGNS = torch.ones(N, dtype=torch.float64)
SIGNS[: N // 2] = -1
R = SIGNS * _numbers(N // 2, seed=1).repeat(2)
"""Residuals at w*, orthogonal to X: the loss of example i is (R_i - X_i w)^2 / 2."""


def _trace(nbeta: float, r: Tensor = R, *, points: int = 1) -> Trace:
    """Independent draws of the posterior, which is Gaussian."""
    covariance = torch.linalg.inv(nbeta * H + GAMMA * torch.eye(D, dtype=torch.float64))
    root = torch.linalg.cholesky(covariance)
    moves = _numbers(points, CHAINS, DRAWS, D, seed=2) @ root.T
    losses = (r - moves @ X.T).square() / 2
    full = losses.mean(dim=-1)
    initial = torch.full((points,), float(r.square().mean()) / 2, dtype=torch.float64)
    return Trace(
        config=LLCConfig(localization=GAMMA, chains=CHAINS, draws=DRAWS, full_every=1),
        nbeta=torch.full((points,), nbeta, dtype=torch.float64),
        step_size=torch.full((points,), 1e-4, dtype=torch.float64),
        n_examples=N,
        initial_loss=initial,
        loss=full,
        excess=full - initial[:, None, None],
        distance=moves.square().sum(dim=-1),
        full_loss=full,
        example_losses=losses,
        moves=moves,
        last=moves[:, :, -1],
        metric=None,
        acceptance=None,
        friction=None,
        seconds=0.0,
    )


def _covariance_of_losses(nbeta: float, x: Tensor, r: Tensor) -> Tensor:
    """r_i r_j s_ij + s_ij^2 / 2, where s is the covariance of the answers x_i w (Isserlis)."""
    s = x @ torch.linalg.inv(nbeta * H + GAMMA * torch.eye(D, dtype=torch.float64)) @ x.T
    return r[:, None] * r * s + s.square() / 2


NBETA = N / log(N)
TRACE = _trace(NBETA, points=2)


def test_wbic_of_a_gaussian_posterior():
    value, error = wbic(TRACE)
    h = torch.linalg.eigvalsh(H)
    exact = N * (R.square().mean() / 2 + (h / (2 * (NBETA * h + GAMMA))).sum())
    assert value.shape == error.shape == (2,)
    assert (error < 0.05).all()
    assert ((value - exact).abs() < 4 * error).all()


def test_wbic_is_of_one_temperature():
    with pytest.raises(ValueError, match=r"nbeta is 10: the WBIC is of n / log n = 12\.7811"):
        wbic(_trace(10.0))


@pytest.mark.parametrize("nbeta", [NBETA, 1e6])
def test_singular_fluctuation_of_a_gaussian_posterior(nbeta):
    trace = TRACE if nbeta == NBETA else _trace(nbeta)
    exact = nbeta / 2 * _covariance_of_losses(nbeta, X, R).diagonal().mean()
    assert singular_fluctuation(trace) == pytest.approx(float(exact), rel=0.02)


def test_singular_fluctuation_of_a_regular_model_is_half_the_trace():
    gradients = R[:, None] * X
    limit = (torch.linalg.solve(H, gradients.T @ gradients / N)).trace() / 2
    assert singular_fluctuation(_trace(1e6)) == pytest.approx(float(limit), rel=0.02)
    # Where the residuals have the variance that the model says, as if it had the truth:
    assert singular_fluctuation(_trace(1e6, SIGNS)) == pytest.approx(D / 2, rel=0.02)


def test_spectrum_of_a_quadratic_loss():
    exact = 1 / (NBETA * torch.linalg.eigvalsh(H) + GAMMA)
    found = covariance_spectrum(TRACE)
    assert found.shape == (2, D)
    torch.testing.assert_close(found, exact.expand(2, D), rtol=0.02, atol=0)


def test_spectrum_of_fewer_draws_than_coordinates():
    moves = _numbers(2, 2, 3, 9, seed=5)
    config = LLCConfig(step_size=1e-4, burn_in=0, chains=2, draws=5, full_every=2)
    trace = sample(_landscape(X, R), config, keep=frozenset({"moves"}))
    object.__setattr__(trace, "moves", moves)  # of other sizes
    found = covariance_spectrum(trace)
    assert found.shape == (2, 6)
    for eigenvalues, draws in zip(found, moves.flatten(1, 2), strict=True):
        exact = torch.linalg.eigvalsh(torch.cov(draws.T)).flip(-1)
        torch.testing.assert_close(eigenvalues, exact[:6])
        assert exact[6:].abs().max() < 1e-12


def test_covariance_of_losses_of_a_gaussian_posterior():
    exact = _covariance_of_losses(NBETA, X, R)
    found = loss_covariance(TRACE)
    scale = exact.diagonal().sqrt()
    error = (found - exact) / (scale[:, None] * scale)
    assert float(error.abs().max()) < 0.05


def test_influence_is_a_correlation():
    found = bayesian_influence(TRACE)
    torch.testing.assert_close(found, found.mT, rtol=0, atol=0)
    ones = torch.ones(2, N, dtype=torch.float64)
    torch.testing.assert_close(found.diagonal(dim1=1, dim2=2), ones)
    draws = TRACE.example_losses[0].flatten(0, 1)
    torch.testing.assert_close(found[0], torch.corrcoef(draws.T))


def test_influence_is_how_one_loss_answers_to_the_weight_of_another():
    # The posterior with the weight of example 0 a little larger is Gaussian too.
    nbeta, step = NBETA, 1e-4
    means = []
    for weight in (step, -step):
        precision = nbeta * (H + weight * torch.outer(X[0], X[0]) / N)
        covariance = torch.linalg.inv(precision + GAMMA * torch.eye(D, dtype=torch.float64))
        mean = covariance @ (nbeta * weight * R[0] * X[0] / N)
        residual = R - X @ mean
        means.append((residual.square() + (X @ covariance * X).sum(dim=-1)) / 2)
    derivative = (means[0] - means[1]) / (2 * step)
    exact = -nbeta / N * _covariance_of_losses(nbeta, X, R)[0]
    torch.testing.assert_close(derivative, exact, rtol=1e-4, atol=1e-8)


def test_the_own_data_have_no_susceptibility():
    found = susceptibilities(TRACE, TRACE.example_losses)
    assert found.shape == (2, N)
    assert float(found.mean(dim=-1).abs().max()) < 1e-12


def test_susceptibility_is_how_the_loss_answers_to_other_data():
    # L = w H w / 2 and l = w G w / 2: the mean of L at (1 - h) L + h l has a closed form.
    x = _numbers(5, D, seed=6)
    other = (TRACE.moves @ x.T).square() / 2
    found = susceptibilities(TRACE, other)[0]
    for answer, row in zip(found, x, strict=True):
        means = []
        for h in (1e-4, -1e-4):
            mixed = (1 - h) * H + h * torch.outer(row, row)
            covariance = torch.linalg.inv(NBETA * mixed + GAMMA * torch.eye(D).double())
            means.append((H @ covariance).trace() / 2)
        exact = (means[0] - means[1]) / 2e-4 / NBETA
        scale = float(other.std() * TRACE.full_loss.std())
        assert float(answer) == pytest.approx(float(exact), rel=0.05, abs=0.02 * scale)


def _landscape(x: Tensor, y: Tensor) -> ModuleLandscape:
    model = Linear(D, 1, bias=False).double().eval()
    with torch.no_grad():
        model.weight.zero_()
    return ModuleLandscape(
        model, x, y[:, None], lambda said, right: (said - right).square()[:, 0] / 2
    )


def test_losses_of_other_data_at_the_draws():
    config = LLCConfig(step_size=1e-3, nbeta=5.0, chains=2, draws=6, burn_in=2, full_every=2)
    keep = frozenset({"moves", "example_losses"})
    trace = sample(_landscape(X, R), config, keep=keep)
    torch.testing.assert_close(losses_elsewhere(trace, _landscape(X, R)), trace.example_losses)
    found = losses_elsewhere(trace, _landscape(X[:7], R[:7]))
    torch.testing.assert_close(found, trace.example_losses[..., :7])


def test_sampled_draws_have_the_spectrum():
    config = LLCConfig(
        sampler="mala",
        step_size=0.02,
        nbeta=NBETA,
        localization=GAMMA,
        chains=100,
        draws=200,
        full_every=10,
        burn_in=100,
    )
    trace = sample(_landscape(X, R), config, keep=frozenset({"moves", "example_losses"}))
    exact = 1 / (NBETA * torch.linalg.eigvalsh(H) + GAMMA)
    torch.testing.assert_close(covariance_spectrum(trace)[0], exact, rtol=0.12, atol=0)
    nu = NBETA / 2 * _covariance_of_losses(NBETA, X, R).diagonal().mean()
    assert singular_fluctuation(trace) == pytest.approx(float(nu), rel=0.12)


@pytest.mark.parametrize(
    ("function", "name"),
    [(singular_fluctuation, "example_losses"), (covariance_spectrum, "moves")],
)
def test_what_was_not_kept_is_asked_for(function, name):
    trace = replace(TRACE, example_losses=None, moves=None)
    with pytest.raises(ValueError, match=rf"the trace has no {name}: sample with keep="):
        function(trace)
