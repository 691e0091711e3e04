"""The checks: each failure that there can be is marked, and what is right is not."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from analysis.llc import FunctionLandscape, LLCConfig, estimate_llc, llc_estimates
from analysis.llc.checks import Evidence, checks
from analysis.llc.curvature import (
    hessian_trace,
    largest_curvature,
    minibatch_variance,
    predicted_drop,
)
from analysis.llc.draws import Draws
from analysis.llc.known import DeepLinear, RegularData
from analysis.llc.posterior import Posterior
from analysis.llc.restriction import Restriction
from interp.models.config import MLPConfig
from paper.llc_gates import CASES, estimated
from tasks.composition import GroupComposition


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("name", CASES)
def test_what_fails_is_marked_and_what_is_right_is_not(name: str):
    case = CASES[name]
    estimate = estimated(case, seed=1)
    failed = [check.name for check in estimate.failures]
    if case.check is None:
        assert case.truth is not None
        assert failed == []
        assert estimate.value == pytest.approx(case.truth, rel=0.1)
        low, high = estimate.interval
        assert low < estimate.value < high
        assert str(estimate).startswith(f"{estimate.value:.4g} (")
    else:
        assert case.check in failed
        assert str(estimate).startswith("no estimate: ")


def test_all_chains_that_diverge_are_named():
    landscape = FunctionLandscape(
        lambda w: torch.where(w[..., 0] > 0.05, torch.nan, w.square().sum(dim=-1)),
        torch.zeros(3, dtype=torch.float64),
        100,
    )
    config = LLCConfig(step_size=1e-4, chains=10, draws=20, burn_in=20)
    (estimate,), trace = llc_estimates(landscape, config)
    lost = [i for i in range(10) if not trace.excess[0, i].isfinite().all()]
    assert 0 < len(lost) < 10
    names = ", ".join(map(str, lost))
    assert str(estimate) == f"no estimate: the loss of chain {names} is not finite"


def posterior_of(landscape, nbeta: float = 100.0, localization: float = 1.0) -> Posterior:
    like = landscape.centres.new_full((1, 1, 1), nbeta)
    return Posterior(landscape, Restriction(), like, localization)


def test_curvature_is_the_largest_eigenvalue_of_the_hessian():
    landscape = DeepLinear((3, 4, 3), 2).landscape()
    posterior = posterior_of(landscape)
    generator = torch.Generator().manual_seed(0)
    moves = torch.randn(posterior.start(2).shape, generator=generator, dtype=torch.float64) * 0.3
    scale = torch.full((1, 1, 1), 1e-4).double()
    found = largest_curvature(posterior, moves, scale, seed=0)
    for chain in range(2):
        at = landscape.centres[0] + moves[0, chain]
        hessian = torch.autograd.functional.hessian(landscape.function, at)
        exact = torch.linalg.eigvalsh(hessian).max()  # pyright: ignore[reportArgumentType]
        assert float(found[0, chain]) == pytest.approx(float(exact), rel=0.02)
        metric = 1 / (1 + torch.arange(24.0).double())
        inner = metric.sqrt()[:, None] * hessian * metric.sqrt()  # pyright: ignore[reportOperatorIssue]
        seen = largest_curvature(posterior, moves, scale, metric.expand_as(moves), seed=0)
        exact = torch.linalg.eigvalsh(inner).max()
        assert float(seen[0, chain]) == pytest.approx(float(exact), rel=0.02)


def test_the_variance_of_minibatch_gradients_is_that_of_draws_without_replacement():
    known = RegularData((0.5, 2.0), n_examples=50)
    posterior = posterior_of(known.landscape())
    config = LLCConfig(batch_size=10)
    draws = Draws(config, 1, 50, posterior.landscape.centres)
    found = minibatch_variance(posterior, posterior.start(8), draws, repeats=400).mean()
    gradients = torch.tensor([0.5, 2.0]).double() * known.examples
    exact = gradients.var(dim=0).sum() / 10 * (1 - 10 / 50)
    assert float(found) == pytest.approx(float(exact), rel=0.03)


@pytest.mark.usefixtures("unchecked")
def test_the_drop_is_that_of_the_flow_and_nothing_at_a_minimum():
    nbeta, gamma, shift = 100.0, 3.0, 0.2
    landscape = FunctionLandscape(
        lambda w: (w - shift).square().sum(dim=-1) / 2, torch.zeros(4).double(), 100
    )
    initial = torch.tensor([4 * shift**2 / 2]).double()
    for time in (0.002, 0.01, 1.0):
        stiffness = torch.tensor([100 * (nbeta + gamma)]).double()  # small steps follow the flow
        found = predicted_drop(
            posterior_of(landscape, nbeta, gamma),
            torch.tensor([time]).double(),
            stiffness / (1 if time < 0.1 else 100),
            initial,
            seed=0,
        )
        to = nbeta * shift / (nbeta + gamma)
        place = to * (1 - np.exp(-(nbeta + gamma) * time))
        exact = nbeta * 4 * (shift**2 - (place - shift) ** 2) / 2
        assert float(found) == pytest.approx(exact, rel=0.02)
    still = FunctionLandscape(lambda w: w.square().sum(dim=-1), torch.zeros(4).double(), 100)
    found = predicted_drop(
        posterior_of(still),
        torch.ones(1).double(),
        200 * torch.ones(1).double(),
        0 * initial,
        seed=0,
    )
    assert abs(float(found)) < 1e-6


THERMOSTAT = LLCConfig(step_size=1e-4, nbeta=100.0)


def evidence(**changed: object) -> Evidence:
    """Of independent draws of a regular loss in ten dimensions, at a weak localization."""
    generator = np.random.default_rng(0)
    w = generator.normal(size=(8, 500, 10)) / 10
    excess = (w**2).sum(axis=-1) / 2
    given = {
        "config": LLCConfig("sgld", step_size=1e-4, nbeta=100.0, localization=1.0),
        "nbeta": 100.0,
        "step_size": 1e-4,
        "initial_loss": 0.0,
        "excess": excess,
        "distance": (w**2).sum(axis=-1),
        "full_loss": excess[:, ::2],
        "curvature": 1.0,
        "metric": (1.0, 1.0),
        "minibatch_variance": 0.0,
        "drop": 0.0,
        "acceptance": None,
        "friction": None,
    }
    return Evidence(**(given | changed))  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize(
    ("name", "changed"),
    [
        ("r_hat_loss", {"excess": evidence().excess + 0.01 * np.arange(8)[:, None]}),
        ("r_hat_distance", {"distance": evidence().distance * (1 + np.arange(8)[:, None])}),
        ("ess_loss", {"excess": np.repeat(evidence().excess[:, ::50], 50, axis=1)}),
        ("ess_distance", {"distance": np.repeat(evidence().distance[:, ::100], 100, axis=1)}),
        ("trend", {"excess": evidence().excess * np.linspace(0.8, 1.2, 500)}),
        ("acceptance", {"acceptance": 0.1}),
        ("step_size", {"curvature": 11.0}),
        ("minibatch", {"minibatch_variance": 21.0}),
        ("minimum", {"drop": 0.3}),
        ("minimum", {"drop": float("nan")}),
        ("below", {"initial_loss": 0.04}),
        ("negative", {"excess": evidence().excess - 0.1}),
        ("temperature", {"full_loss": 0.5 * evidence().full_loss}),
        ("localization", {"distance": 20 * evidence().distance}),
        ("temperature", {"full_loss": evidence().full_loss[:, :1]}),
        ("step_size", {"metric": (1.0, 1000.0)}),
        ("diffusion", {"metric": (0.5, 1.0)}),
        ("diffusion", {"config": LLCConfig("sgld", step_size=1e-4, burn_in=90_000, nbeta=100.0)}),
        ("diffusion", {"config": LLCConfig(step_size=1e-4, burn_in=900, nbeta=100.0)}),
        ("diffusion", {"config": LLCConfig(step_size=1e-4, nbeta=100.0), "friction": 3.0}),
        ("minibatch", {"config": THERMOSTAT, "friction": 1.0, "minibatch_variance": 0.3}),
        ("step_size", {"config": THERMOSTAT, "friction": 1.0, "curvature": 61.0}),
    ],
)
def test_each_check_fails_when_it_should(name: str, changed: dict):
    assert [check.name for check in checks(evidence()) if not check.passed] == []
    failed = [check for check in checks(evidence(**changed)) if not check.passed]
    assert name in [check.name for check in failed]
    assert all(check.reason for check in failed)


@pytest.mark.usefixtures("unchecked")
def test_the_sensitivities_are_derivatives():
    config = LLCConfig(
        "mala", step_size=5e-3, nbeta=100.0, localization=10.0, chains=64, draws=1500, full_every=1
    )
    known = RegularData((0.6, 1.0, 1.4), n_examples=100)
    (estimate,), _ = llc_estimates(known.landscape(), config)
    value = {check.name: check.value for check in estimate.checks}
    step = 1e-4
    for name, hotter, stronger in (("temperature", 1 + step, 1), ("localization", 1, 1 + step)):
        slope = known.expected(100 * hotter, 10 * stronger) - known.expected(100, 10)
        exact = abs(slope / step / known.expected(100, 10))
        assert value[name] == pytest.approx(exact, abs=0.02)


def test_a_network_and_its_task():
    task = GroupComposition("S3")
    model = MLPConfig(d_embed=4, d_mlp=8).build(task, 0).eval()
    config = LLCConfig(step_size=1e-3, nbeta=5.0, chains=2, draws=5, burn_in=5, full_every=2)
    given = estimate_llc(model, task.examples("train"), config)
    assert estimate_llc(model, task, config).chains.tolist() == given.chains.tolist()
    assert given.nbeta == 5.0
    assert estimate_llc(model, task, replace(config, nbeta=None)).nbeta != 5.0


def test_the_trace_is_that_of_the_hessian():
    landscape = DeepLinear((3, 4, 3), 2).landscape()
    posterior = posterior_of(landscape)
    scale = torch.full((1, 1, 1), 1e-4).double()
    hessian = torch.autograd.functional.hessian(landscape.function, landscape.centres[0])
    found = hessian_trace(posterior, posterior.start(1), scale, seed=0)
    exact = float(hessian.trace())  # pyright: ignore[reportAttributeAccessIssue]
    assert float(found) == pytest.approx(exact, rel=0.15)
