"""Engines that take one chain after another, against `sample`."""

from dataclasses import replace

import jaxtyping
import pytest
import torch
from devinterp.slt import sampler as devinterp_sampler
from torch import Tensor
from torch.nn import Linear

from analysis.llc.config import LLCConfig
from analysis.llc.draws import Draws
from analysis.llc.engines import sample_sequentially, sample_with_devinterp
from analysis.llc.estimate import llc_estimates
from analysis.llc.landscape import FunctionLandscape, ModuleLandscape, NetworkLandscape
from analysis.llc.restriction import Restriction
from analysis.llc.sampler import RMSPropSGLD
from analysis.llc.sampling import Trace, sample
from interp.models.config import MLPConfig, TransformerConfig
from tasks.composition import GroupComposition

C5 = GroupComposition(group="C5")
SHORT = LLCConfig(
    "sgld", step_size=1e-3, nbeta=10.0, chains=3, draws=6, burn_in=3, thin=2, full_every=2, seed=4
)
TWO = replace(SHORT, chains=2)
FIELDS = ["nbeta", "step_size", "initial_loss", "loss", "excess", "distance", "full_loss", "last"]


@pytest.fixture(autouse=True)
def without_collecting_garbage(monkeypatch):
    """devinterp does it twice a chain, which takes longer than our chains."""
    monkeypatch.setattr(devinterp_sampler, "_gc_and_empty_cache", lambda: None)


def _network(loss: str = "task", points: int = 2) -> NetworkLandscape:
    model = MLPConfig(d_embed=3, d_mlp=4).build(C5, seed=0).eval()
    others = [MLPConfig(d_embed=3, d_mlp=4).build(C5, seed=i) for i in range(points)]
    centres = [dict(other.named_parameters()) for other in others]
    return NetworkLandscape(model, C5.examples(), loss=loss, points=centres, dtype=torch.float64)


def _assert_same(found: Trace, expected: Trace, names: list[str] = FIELDS) -> None:
    for name in names:
        torch.testing.assert_close(
            getattr(found, name), getattr(expected, name), rtol=1e-9, atol=1e-12
        )


@pytest.mark.parametrize("sampler", ["sgld", "rmsprop_sgld", "sgnht", "mala"])
def test_one_chain_after_another_is_all_at_once(sampler):
    batch_size = None if sampler == "mala" else 7
    config = replace(SHORT, sampler=sampler, batch_size=batch_size)
    found, expected = sample_sequentially(_network(), config), sample(_network(), config)
    _assert_same(found, expected)
    assert (found.acceptance is None) == (sampler != "mala")
    assert (found.metric is None) == (sampler != "rmsprop_sgld")
    extra = {"mala": ["acceptance"], "rmsprop_sgld": ["metric"]}
    _assert_same(found, expected, extra.get(sampler, []))
    assert (expected.excess.diff(dim=-1) != 0).all()  # the chains moved


def test_the_divergence_of_every_point_is_from_its_own_answers(monkeypatch):
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)
    landscape = _network("kl")
    expected = sample(landscape, SHORT)  # the landscape has the answers of all points by now
    assert expected.initial_loss.tolist() == [0, 0]
    _assert_same(sample_sequentially(landscape, SHORT), expected)


@pytest.mark.parametrize("n_layers", [1, 2])
def test_a_transformer_by_its_hooked_forward(n_layers):
    config = TransformerConfig(n_layers=n_layers, d_model=8, n_heads=2, d_mlp=8)
    task = GroupComposition(group="C5", equals_token=True)
    model = config.build(task, seed=0).eval()
    landscape = NetworkLandscape(model, task.examples(), dtype=torch.float64)
    restriction = Restriction("some", torch.arange(0, landscape.centres.shape[1], 3))
    short = replace(SHORT, draws=4, batch_size=5)
    found = sample_sequentially(landscape, short, restriction)
    _assert_same(found, sample(landscape, short, restriction))


def _line(dtype: torch.dtype = torch.float64) -> ModuleLandscape:
    """A regular model: y = W x + b by least squares, of which w* is the minimum."""
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(40, 3, generator=generator, dtype=dtype)
    model = Linear(3, 2).to(dtype).requires_grad_().eval()
    with torch.no_grad():
        model.weight.zero_()
        model.bias.zero_()
    targets = torch.zeros(40, 2, dtype=dtype)
    return ModuleLandscape(model, inputs, targets, _squared)


def _squared(outputs: Tensor, targets: Tensor) -> Tensor:
    return (outputs - targets).square().sum(dim=-1) / 2


def test_any_module():
    config = replace(SHORT, batch_size=8)
    _assert_same(sample_sequentially(_line(), config), sample(_line(), config))


def _noise_of_ours(monkeypatch, config: LLCConfig, landscape, size: int) -> None:
    """devinterp's noise, chain after chain, as `Draws` has it."""
    draws = [
        Draws(config, size, landscape.n_examples, landscape.centres, range(i, i + 1))
        for _ in landscape.centres
        for i in range(config.chains)
    ]
    noises = (draw.noise()[None] for draw in draws for _ in range(config.steps))
    monkeypatch.setattr(torch, "normal", lambda **_: next(noises))


def _assert_like_devinterp(found: Trace, expected: Trace) -> None:
    for name in FIELDS:  # it reduces the loss in float32
        one, other = getattr(found, name), getattr(expected, name)
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("batch_size", [7, None])
def test_devinterp_takes_our_steps_when_it_has_our_noise(monkeypatch, batch_size):
    config, landscape = replace(TWO, batch_size=batch_size), _network()
    _noise_of_ours(monkeypatch, config, landscape, landscape.centres.shape[1])
    found, expected = sample_with_devinterp(landscape, config), sample(landscape, config)
    _assert_like_devinterp(found, expected)
    assert found.metric is None
    assert (expected.excess.diff(dim=-1) != 0).all()  # the chains moved


class _Adapting(RMSPropSGLD):
    """Which never holds its metric."""

    def __init__(self, *args, **options) -> None:
        super().__init__(*args, **options)
        self.adapts = 10**9


def test_devinterp_preconditions_as_ours_but_all_along(monkeypatch):
    monkeypatch.setattr("analysis.llc.sampling.RMSPropSGLD", _Adapting)
    # devinterp leaves the localization out of the metric, so that must be small.
    config = replace(TWO, sampler="rmsprop_sgld", batch_size=7, localization=1e-9)
    landscape = _network()
    _noise_of_ours(monkeypatch, config, landscape, landscape.centres.shape[1])
    found, expected = sample_with_devinterp(landscape, config), sample(landscape, config)
    _assert_like_devinterp(found, expected)
    torch.testing.assert_close(found.metric, expected.metric, rtol=1e-4, atol=1e-7)


def test_devinterp_moves_in_a_subspace(monkeypatch):
    basis = torch.eye(5, dtype=torch.float64)[:, 1:3]
    restriction = Restriction("two tokens", torch.arange(15), basis)
    landscape = _network(points=1)
    _noise_of_ours(monkeypatch, TWO, landscape, 6)
    found = sample_with_devinterp(landscape, TWO, restriction)
    expected = sample(landscape, TWO, restriction)
    torch.testing.assert_close(found.distance, expected.distance, rtol=1e-4, atol=1e-7)
    assert found.last.shape == (1, 2, 6)


def test_devinterp_finds_the_closed_form_of_a_regular_model():
    h = torch.tensor([1.0, 2.0, 4.0], dtype=torch.float64)
    landscape = FunctionLandscape(
        lambda w: (h * w.square()).sum(dim=-1) / 2, torch.zeros(3, dtype=torch.float64), 100
    )
    nbeta, localization, step = 50.0, 5.0, 4e-3
    config = LLCConfig(
        "sgld",
        step_size=step,
        nbeta=nbeta,
        localization=localization,
        chains=4,
        draws=200,
        burn_in=50,
    )
    trace = sample_with_devinterp(landscape, config)
    a = nbeta * h + localization
    exact = float((nbeta * h / (2 * a * (1 - step * a / 4))).sum())
    chains = nbeta * trace.excess[0].mean(dim=-1)
    error = float(chains.std()) / 2
    assert len(set(chains.tolist())) == 4
    assert error < 0.2
    assert abs(float(chains.mean()) - exact) < 4 * error


def test_devinterp_and_ours_agree_on_a_network():
    config = LLCConfig("sgld", step_size=1e-2, nbeta=8.0, localization=20.0, chains=3, draws=100)
    landscape = _network("kl", points=1)
    found, expected = sample_with_devinterp(landscape, config), sample(landscape, config)
    theirs, ours = (8 * trace.excess[0].mean(dim=-1) for trace in (found, expected))
    error = float((theirs.var() / 3 + ours.var() / 3).sqrt())
    assert error < 0.2 * float(ours.mean())
    assert 0 < float((theirs.mean() - ours.mean()).abs()) < 4 * error  # other noise


def test_devinterp_leaves_no_trace_but_its_own(capfd):
    landscape, config = _line(), replace(TWO, nbeta=1.0)  # of which devinterp warns
    state = torch.get_rng_state()
    first = sample_with_devinterp(landscape, config)
    assert torch.equal(torch.get_rng_state(), state)
    _assert_same(sample_with_devinterp(landscape, config), first)
    assert capfd.readouterr() == ("", "")


def test_a_chain_that_devinterp_gives_up_is_nan():
    config = replace(TWO, step_size=1e3, draws=100, thin=1)
    trace = sample_with_devinterp(_line(torch.float32), config)
    assert trace.excess.shape == (1, 2, 100)
    assert trace.excess[..., -1].isnan().all()
    assert trace.distance[..., -1].isnan().all()
    assert trace.last.isnan().all()


def test_dropout_stays_off():
    model = torch.nn.Sequential(Linear(3, 2), torch.nn.Dropout(0.5)).eval()
    like = _line(torch.float32)
    landscape = ModuleLandscape(model, like.inputs, like.targets, _squared)
    trace = sample_with_devinterp(landscape, replace(TWO, burn_in=0, batch_size=40))
    torch.testing.assert_close(trace.loss[..., 0], trace.initial_loss[:, None].expand(-1, 2))


@pytest.mark.parametrize("engine", [sample_sequentially, sample_with_devinterp])
def test_an_infinite_loss_is_refused(engine):
    landscape = _line()
    landscape.targets[0] = torch.inf
    with pytest.raises(ValueError, match=r"^the loss at w\* is inf: no estimate$"):
        engine(landscape, TWO)


def test_samplers_that_devinterp_has_not():
    with pytest.raises(ValueError, match=r"sampler is 'mala': devinterp has sgld and rmsprop_sgld"):
        sample_with_devinterp(_line(), replace(SHORT, sampler="mala"))


@pytest.mark.parametrize("engine", ["sequential", "devinterp"])
def test_an_engine_is_a_setting(engine: str):
    landscape, config = _network(points=1), replace(TWO, engine=engine)
    (estimate,), trace = llc_estimates(landscape, config)
    assert trace.excess.shape == (1, 2, 6)
    assert estimate.failures
    with pytest.raises(ValueError, match=f"the engine '{engine}' keeps nothing"):
        llc_estimates(landscape, config, keep=frozenset({"moves"}))
