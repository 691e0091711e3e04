"""Chains: what they sample, and that none depends on how they are computed."""

from dataclasses import replace

import jaxtyping
import pytest
import torch
from torch import Tensor

import analysis.llc.posterior as posterior_module
from analysis.llc import FunctionLandscape, LLCConfig, ModuleLandscape, NetworkLandscape, sample
from analysis.llc.known import NormalCrossing, RegularData
from analysis.llc.posterior import Posterior
from analysis.llc.restriction import Restriction
from analysis.scores import split_scores
from interp.models.config import (
    BilinearConfig,
    CompiledConfig,
    DecoderConfig,
    IterationHeadConfig,
    MLPConfig,
    ModelConfig,
    TransformerConfig,
)
from tasks.composition import GroupComposition
from tasks.iteration import Parity
from tasks.sequences import Fraction, Sort
from tasks.task import Task

CURVATURES = torch.linspace(0.5, 2, 10, dtype=torch.float64)
QUICK = LLCConfig("sgld", step_size=1e-3, nbeta=50.0, chains=3, draws=12, burn_in=5, full_every=4)
NETWORKS: dict[str, tuple[ModelConfig, Task]] = {
    "mlp": (MLPConfig(d_embed=4, d_mlp=8, bias=True), GroupComposition("S3")),
    "bilinear": (BilinearConfig(d_embed=4), GroupComposition("S3")),
    "transformer": (
        TransformerConfig(n_heads=2, d_model=8, d_head=4, d_mlp=8),
        GroupComposition("C5", equals_token=True),
    ),
    "decoder": (DecoderConfig(d_model=8), Parity(max_length=4)),
    "iteration_head": (IterationHeadConfig(), Parity(max_length=4)),
    "compiled": (CompiledConfig(), Sort("a..c", max_length=4)),
    "regression": (CompiledConfig(), Fraction("x,a", max_length=4)),
}


def quadratic(n_examples: int = 100) -> FunctionLandscape:
    return FunctionLandscape(
        lambda w: (w.square() * CURVATURES).sum(dim=-1) / 2,
        torch.zeros(10, dtype=torch.float64),
        n_examples,
    )


def network(name: str, dtype: torch.dtype = torch.float64, **given: object) -> NetworkLandscape:
    config, task = NETWORKS[name]
    torch.manual_seed(0)
    model = config.build(task, 0).eval()
    examples = task.examples("all").rows(slice(20))
    return NetworkLandscape(model, examples, dtype=dtype, **given)  # pyright: ignore[reportArgumentType]


def closed_form(nbeta: float, gamma: float, eps: float) -> float:
    stiffness = nbeta * CURVATURES + gamma
    return float((nbeta * CURVATURES / (2 * stiffness * (1 - eps * stiffness / 4))).sum())


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(("eps", "gamma"), [(4e-3, 1.0), (4e-3, 50.0), (1e-3, 5.0)])
def test_sgld_of_a_regular_loss_is_its_closed_form_with_the_steps_bias(eps: float, gamma: float):
    config = LLCConfig(
        "sgld",
        step_size=eps,
        nbeta=100.0,
        localization=gamma,
        chains=256,
        draws=500,
        full_every=500,
    )
    found = 100 * sample(quadratic(), config).excess.mean(dim=-1)[0]
    error = float(found.std()) / 16
    assert error < 0.01 * closed_form(100, gamma, eps)
    assert float(found.mean()) == pytest.approx(closed_form(100, gamma, eps), abs=4 * error)


@pytest.mark.usefixtures("unchecked")
def test_mala_has_no_bias_however_large_its_steps():
    config = LLCConfig("mala", step_size=8e-3, nbeta=100.0, chains=256, draws=500, full_every=500)
    trace = sample(quadratic(), config)
    found = 100 * trace.excess.mean(dim=-1)[0]
    error = float(found.std()) / 16
    assert float(found.mean()) == pytest.approx(closed_form(100, 1, 0), abs=4 * error)
    assert closed_form(100, 1, 8e-3) > closed_form(100, 1, 0) + 20 * error
    assert trace.acceptance is not None
    assert 0.5 < float(trace.acceptance.mean()) < 0.95


@pytest.mark.usefixtures("unchecked")
def test_rmsprop_agrees_at_small_steps():
    config = LLCConfig(
        "rmsprop_sgld",
        step_size=1e-5,
        nbeta=100.0,
        localization=20.0,
        chains=128,
        draws=600,
        thin=5,
        burn_in=3000,
        full_every=600,
    )
    found = 100 * sample(quadratic(), config).excess.mean(dim=-1)[0]
    assert float(found.mean()) == pytest.approx(closed_form(100, 20, 0), rel=0.02)


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("step_size", [1e-3, 0.012])
def test_the_thermostat_has_no_bias_where_the_loss_is_quadratic(step_size: float):
    config = LLCConfig(
        "sgnht", step_size=step_size, nbeta=100.0, chains=256, draws=500, full_every=500
    )
    trace = sample(quadratic(), config)
    found = 100 * trace.excess.mean(dim=-1)[0]
    error = float(found.std()) / 16
    assert error < 0.003 * closed_form(100, 1, 0)
    assert float(found.mean()) == pytest.approx(closed_form(100, 1, 0), abs=4 * error)
    assert trace.friction is not None
    assert float(trace.friction.mean()) == pytest.approx(1, abs=0.05)


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("powers", [(1, 1), (2, 2)])
def test_the_thermostat_finds_what_the_quadrature_does(powers: tuple[int, int]):
    known = NormalCrossing(powers)
    config = LLCConfig(step_size=4e-4, nbeta=145.0, chains=256, draws=600, thin=5, full_every=600)
    found = 145 * sample(known.landscape(), config).excess.mean(dim=-1)[0]
    error = float(found.std()) / 16
    assert error < 0.02 * known.expected(145.0, 1.0)
    assert float(found.mean()) == pytest.approx(known.expected(145.0, 1.0), abs=4 * error)


@pytest.mark.usefixtures("unchecked")
def test_the_thermostat_takes_away_the_heat_of_minibatches():
    known = RegularData((1.0, 1.0, 1.0, 1.0), n_examples=100)
    config = LLCConfig(step_size=1e-3, nbeta=100.0, chains=128, batch_size=10, draws=2000)
    trace = sample(known.landscape(), config)
    found = float(100 * trace.excess.mean())
    assert trace.friction is not None
    assert float(trace.friction.mean()) > 1.3  # there was heat
    assert found == pytest.approx(known.expected(100.0, 1.0), rel=0.05)


@pytest.mark.parametrize("sampler", ["sgld", "rmsprop_sgld", "sgnht", "mala"])
@pytest.mark.parametrize("batch_size", [None, 7])
def test_a_chain_does_not_depend_on_the_others(sampler: str, batch_size: int | None):
    batch_size = None if sampler == "mala" else batch_size
    config = replace(QUICK, sampler=sampler, batch_size=batch_size)
    landscape = network("mlp")
    few, many = (sample(landscape, replace(config, chains=n)) for n in (2, 5))
    torch.testing.assert_close(many.loss[:, :2], few.loss, rtol=1e-12, atol=0)
    torch.testing.assert_close(many.last[:, :2], few.last, rtol=1e-10, atol=1e-14)
    assert not torch.equal(many.last[:, 0], many.last[:, 1])


def test_a_point_does_not_depend_on_the_others():
    config, task = NETWORKS["mlp"]
    models = [config.build(task, seed).eval() for seed in range(3)]
    points = [dict(model.named_parameters()) for model in models]
    examples = task.examples("all")
    together = NetworkLandscape(models[0], examples, points=points, dtype=torch.float64)
    found = sample(together, QUICK)
    for i, model in enumerate(models):
        alone = sample(NetworkLandscape(model, examples, dtype=torch.float64), QUICK)
        torch.testing.assert_close(found.loss[i], alone.loss[0], rtol=1e-12, atol=0)
        torch.testing.assert_close(found.full_loss[i], alone.full_loss[0], rtol=1e-12, atol=0)
        torch.testing.assert_close(found.initial_loss[i], alone.initial_loss[0], rtol=1e-12, atol=0)


def test_points_may_have_steps_and_temperatures_of_their_own():
    landscape = quadratic()
    landscape.centres = landscape.centres.expand(2, -1)
    given = {"nbeta": torch.tensor([50.0, 200.0]), "step_size": torch.tensor([1e-3, 1e-4])}
    both = sample(landscape, QUICK, **given)
    for i in range(2):
        config = replace(
            QUICK, nbeta=float(given["nbeta"][i]), step_size=float(given["step_size"][i])
        )
        alone = sample(quadratic(), config)
        torch.testing.assert_close(both.loss[i], alone.loss[0], rtol=1e-6, atol=0)


@pytest.mark.parametrize("name", NETWORKS)
def test_the_mean_loss_is_that_of_training(name: str):
    config, task = NETWORKS[name]
    model = config.build(task, 0).double().eval()
    split = "train" if len(task.examples("train")) else "all"
    landscape = NetworkLandscape(model, task.examples(split), dtype=torch.float64)
    everything = torch.arange(landscape.n_examples)[None]
    found = landscape.losses(landscape.centres[:, None], everything).mean()
    assert float(found) == pytest.approx(split_scores(model, task, split).loss, rel=1e-6)


@pytest.mark.parametrize("name", NETWORKS)
def test_parameters_of_many_rows_are_those_of_one(name: str):
    landscape = network(name)
    generator = torch.Generator().manual_seed(1)
    weights = landscape.centres[:, None] + 0.1 * torch.randn(
        1, 3, landscape.centres.shape[1], generator=generator, dtype=torch.float64
    )
    examples = torch.stack([torch.randperm(20, generator=generator)[:9] for _ in range(3)])
    found = landscape.losses(weights, examples)
    assert found.shape == (1, 3, 9)
    for i in range(3):
        alone = landscape.losses(weights[:, i : i + 1], examples[i : i + 1])
        torch.testing.assert_close(found[:, i : i + 1], alone, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("name", ["mlp", "transformer", "decoder", "compiled"])
def test_w_star_is_the_minimum_of_the_divergence_from_its_answers(name: str):
    landscape = network(name, loss="kl")
    everything = torch.arange(20)[None]
    at_centre = landscape.losses(landscape.centres[:, None], everything)
    torch.testing.assert_close(at_centre, torch.zeros_like(at_centre), rtol=0, atol=1e-12)
    posterior = Posterior(landscape, Restriction(), torch.ones(1, 1, 1).double(), 1.0)
    moves = posterior.start(2)
    assert float(posterior.loss_and_gradient(moves, everything)[1].abs().max()) < 1e-10
    moves += 0.05 * torch.randn(moves.shape, generator=torch.Generator().manual_seed(0))
    assert (posterior.losses(moves, everything).mean(dim=-1) > 0).all()


def test_denormals_are_flushed_while_chains_move_and_only_then():
    tiny = torch.tensor(1e-30)
    seen = []

    def loss(w: Tensor) -> Tensor:
        seen.append(float(tiny * 1e-10))
        return w.square().sum(dim=-1)

    landscape = FunctionLandscape(loss, torch.zeros(2), 10)
    sample(landscape, QUICK)
    assert set(seen) == {0.0}
    assert float(tiny * 1e-10) > 0
    torch.set_flush_denormal(True)
    try:
        sample(landscape, QUICK)
        assert float(tiny * 1e-10) == 0.0  # as it was before
    finally:
        torch.set_flush_denormal(False)


def test_gradients_in_parts_are_those_of_the_whole(monkeypatch: pytest.MonkeyPatch):
    landscape = network("transformer")
    posterior = Posterior(landscape, Restriction(), torch.full((1, 1, 1), 9.0).double(), 2.0)
    moves = torch.randn_like(posterior.start(3)) * 0.1
    whole = posterior.potential(moves, posterior.everything)
    monkeypatch.setattr(posterior_module, "BYTES_AT_ONCE", 3 * 7 * landscape.bytes_per_example)
    for old, new in zip(whole, posterior.potential(moves, posterior.everything), strict=True):
        torch.testing.assert_close(new, old, rtol=1e-10, atol=1e-12)


@pytest.mark.usefixtures("unchecked")
def test_minibatches_are_of_different_examples_and_fair():
    landscape = network("mlp")
    trace = sample(landscape, replace(QUICK, batch_size=19, draws=300, step_size=1e-16))
    base = trace.loss.mean()
    assert float(base) == pytest.approx(float(trace.initial_loss[0]), rel=0.02)
    assert float(trace.excess.abs().max()) < 1e-6 < float(trace.loss.std())


def test_the_loss_on_all_examples_is_seen_at_every_so_manieth_draw():
    landscape = network("mlp")
    every, seldom, never = (
        sample(landscape, replace(QUICK, full_every=n)).full_loss for n in (1, 4, 13)
    )
    assert every.shape == (1, 3, 12)
    torch.testing.assert_close(seldom, every[..., 3::4])
    assert never.shape == (1, 3, 0)


def test_a_module_with_a_loss_of_ones_own():
    torch.manual_seed(0)
    model = torch.nn.Linear(3, 2, dtype=torch.float64).eval()
    inputs, targets = torch.randn(20, 3).double(), torch.randn(20, 2).double()

    def squared(outputs: Tensor, targets: Tensor) -> Tensor:
        return (outputs - targets).square().sum(dim=-1)

    landscape = ModuleLandscape(model, inputs, targets, squared)
    found = landscape.losses(landscape.centres[:, None], torch.arange(20)[None])[0, 0]
    torch.testing.assert_close(found, squared(model(inputs), targets))


def test_a_chain_that_diverges_takes_none_with_it():
    landscape = FunctionLandscape(
        lambda w: torch.where(w[..., 0] > 0.05, torch.nan, w.square().sum(dim=-1)),
        torch.zeros(3, dtype=torch.float64),
        100,
    )
    trace = sample(landscape, replace(QUICK, chains=40, step_size=1e-4))
    lost = ~trace.excess.isfinite().all(dim=-1)[0]
    assert 0 < int(lost.sum()) < 40
    assert trace.last[0, ~lost].isfinite().all()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"sampler": "sgdl"}, "sampler is 'sgdl': it must be one of sgnht, sgld, .*did you mean"),
        ({"step_size": 0.0}, "step_size is 0.0: it must be a number above 0"),
        ({"localization": float("nan")}, "localization is nan"),
        ({"chains": 1}, "chains is 1: it must be at least 2"),
        ({"sampler": "mala", "batch_size": 4}, "mala accepts or rejects"),
    ],
)
def test_wrong_settings(given: dict, message: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)
    with pytest.raises(ValueError, match=message):
        LLCConfig(**given)


def test_wrong_data_and_models():
    landscape = network("mlp")
    with pytest.raises(ValueError, match="batch_size is 100, and the data set has 20 examples"):
        sample(landscape, replace(QUICK, batch_size=100))
    config, task = NETWORKS["mlp"]
    model = config.build(task, 0)
    with pytest.raises(ValueError, match="in training mode"):
        NetworkLandscape(model.train(), task.examples("all"))
    nowhere = FunctionLandscape(lambda w: w.sum(dim=-1) / 0, torch.zeros(2), 10)
    with pytest.raises(ValueError, match="the loss at w\\* is nan"):
        sample(nowhere, QUICK)
    compiled, regression = NETWORKS["regression"]
    with pytest.raises(ValueError, match="no divergence"):
        NetworkLandscape(
            compiled.build(regression, 0).eval(), regression.examples("all"), loss="kl"
        )
    with pytest.raises(ValueError, match="needs at least 2 examples"):
        sample(quadratic(1), replace(QUICK, nbeta=None))
