"""Calibration: what it chooses passes the checks, and is right."""

import pytest
import torch

from analysis.llc import FunctionLandscape, Landscape, LLCConfig, calibrate_llc, llc_estimates
from analysis.llc.known import NormalCrossing, Regular
from interp.models.config import MLPConfig
from tasks.composition import GroupComposition

pytestmark = pytest.mark.usefixtures("unchecked")
BASE = LLCConfig(nbeta=100.0, chains=8)


@pytest.mark.parametrize(
    ("known", "expected"),
    [(Regular((0.5, 0.8, 1.0, 1.0, 1.3, 2.0)), 3.0), (NormalCrossing((0, 1)), 0.5)],
)
def test_what_is_chosen_passes_and_is_right(known, expected: float):
    found = calibrate_llc(known.landscape(), BASE, budget=8000)
    assert found.config.nbeta == 100.0
    assert found.config.chains == 8
    (estimate,), _ = llc_estimates(known.landscape(), found.config)
    assert estimate.failures == ()
    assert estimate.value == pytest.approx(expected, rel=0.2)
    low, high = estimate.interval
    assert low < known.expected(100.0, found.config.localization) < high
    assert len(found.table) == 12
    at_choice = found.table[found.table["nbeta"] == 100.0]
    assert at_choice["step_size"].median() == pytest.approx(found.config.step_size, rel=1e-6)
    coarse, fine = at_choice["estimate"].iloc[-1], at_choice["estimate"].iloc[0]
    assert coarse > fine - 3 * at_choice["standard_error"].iloc[0]


@pytest.mark.slow
def test_minibatches_need_smaller_steps():
    task = GroupComposition("C7")
    landscape = network(task)
    whole = calibrate_llc(landscape, LLCConfig(nbeta=200.0, chains=2), budget=400)
    parts = calibrate_llc(landscape, LLCConfig(nbeta=200.0, chains=2, batch_size=2), budget=400)
    assert parts.config.step_size < whole.config.step_size
    assert not parts.is_affordable


def network(task: GroupComposition) -> Landscape:
    from analysis.llc import NetworkLandscape

    return NetworkLandscape(MLPConfig(d_embed=3, d_mlp=4).build(task, 0).eval(), task.examples())


def test_a_loss_that_is_finite_nowhere_else():
    def loss(w: torch.Tensor) -> torch.Tensor:
        return torch.where(w.abs().amax(dim=-1) > 1e-9, torch.nan, 0.0 * w.sum(dim=-1))

    landscape = FunctionLandscape(loss, torch.zeros(3, dtype=torch.float64), 100)
    with pytest.raises(ValueError, match="not finite even with steps of"):
        calibrate_llc(landscape, BASE, budget=200)
