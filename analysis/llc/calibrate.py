"""Choosing step size, localization and chain length, and a sweep about the choice to look at."""

from dataclasses import dataclass, replace
from itertools import product
from math import ceil

import pandas as pd
import torch

from analysis.llc.checks import EFFECTIVE_DRAWS, LOCALIZATION, MINIBATCH_BIAS, STEP_LIMIT
from analysis.llc.config import DIFFUSED, LLCConfig
from analysis.llc.curvature import largest_curvature
from analysis.llc.estimate import LLCEstimate, judged
from analysis.llc.landscape import Landscape
from analysis.llc.posterior import Posterior
from analysis.llc.restriction import Restriction
from analysis.llc.sampling import Show, sample

STEPS = (0.25, 1.0, 4.0)
TEMPERATURES = (0.1, 0.3, 1.0, 3.0)
"""Step sizes and inverse temperatures of the sweep, over those chosen."""
MARGIN = 0.7
"""Of what the checks allow, so that chance does not decide."""
PILOTS = 5
WORTH = 4.0
"""Effective draws, over those that the checks ask for: that R-hat is safe too."""
CHOSEN_FOR = {"diverged", "diffusion", "step_size", "minibatch", "acceptance", "localization"}
"""The checks that the settings must pass; the others take more draws than a pilot has."""
SHARE = 0.1
"""Of the budget, for the draws of each pilot; half of it for those of the sweep."""
LEAST = 100
"""Steps; pilots of a smaller budget say nothing."""
SMALLER, LARGER = 1 / 30, 3.0
"""By how much a pilot may change the step; the localization by the latter, either way."""


@dataclass(frozen=True, eq=False)
class Calibration:
    """Settings for an estimate, and a sweep about them.

    Attributes:
        config: the settings.
        pilot: a short estimate by them.
        table: the sweep: rows of step_size, nbeta, estimate, standard_error and failures, the names
            of the checks that fail. All its cells see the same noise, so that differences along a
            row are those of the step size.
        is_affordable: whether the chains of `config` keep within the budget.
    """

    config: LLCConfig
    pilot: LLCEstimate
    table: pd.DataFrame
    is_affordable: bool


def calibrate_llc(
    landscape: Landscape,
    config: LLCConfig | None = None,
    restriction: Restriction | None = None,
    *,
    budget: int = 5000,
    show: Show | None = None,
) -> Calibration:
    """Choose step size, localization, burn-in and number of draws for a landscape's first centre.

    Pilots, until one is good, change the step to the largest that the checks of step and
    minibatches allow, with a margin, and weaken the localization as far as the estimate depends on
    it; the first one's is so strong that a short burn-in will do. The last says how many draws are
    worth four times what the checks of effective draws ask for.

    Args:
        landscape: the loss.
        config: what is not to be chosen: sampler, chains, batch size, nbeta, seed.
        restriction: which directions move.
        budget: steps that a chain may take in the end; a pilot takes up to six tenths of it, if
            its burn-in has to be that long, and the sweep one.
        show: told of the progress of each of them.

    Raises `ValueError` as `sample` does, for a budget below 100 steps, and if no step size keeps
    the chains finite.
    """
    if budget < LEAST:
        raise ValueError(f"the budget is {budget} steps: it must be at least {LEAST}")
    config, restriction = config or LLCConfig(), restriction or Restriction()
    landscape = landscape.about([0])
    nbeta = config.nbeta_of(landscape.n_examples)
    stiffness = nbeta * _curvature_nearby(landscape, restriction, nbeta, config.seed)
    step_size = MARGIN * 4 * STEP_LIMIT[config.sampler] / stiffness
    config = replace(
        config,
        nbeta=nbeta,
        step_size=step_size,
        localization=config.localization_for(ceil(SHARE * budget), step_size),
        draws=max(4, ceil(SHARE * budget / config.thin)),
    )
    pilot: LLCEstimate | None = None
    for _ in range(PILOTS):
        if pilot:
            config = _improved(config, _values(pilot))
        config = _with_burn_in(config, budget // 2)
        (pilot,) = judged(sample(landscape, config, restriction, show=show), landscape, restriction)
        if _is_good(pilot):
            break
    assert pilot is not None
    worth = _values(pilot)
    if "ess_distance" not in worth:
        raise ValueError(
            f"the loss is not finite even with steps of {config.step_size:.2g}: calibrate with "
            "another nbeta"
        )
    short = replace(_with_burn_in(config, budget // 20), draws=max(4, config.draws // 2))
    table = _sweep(landscape, short, restriction, nbeta, show)
    lacking = max(least / worth.get(f"ess_{name}", 1e9) for name, least in EFFECTIVE_DRAWS.items())
    draws = ceil(config.draws * max(WORTH * lacking, 0.1))
    chosen = replace(config, draws=draws, burn_in=None)
    return Calibration(chosen, pilot, table, chosen.steps <= budget)


def _values(pilot: LLCEstimate) -> dict[str, float]:
    return {check.name: max(check.value, 1e-9) for check in pilot.checks}


def _is_good(pilot: LLCEstimate) -> bool:
    """Whether its settings would pass, by a margin."""
    is_safe = _values(pilot).get("localization", 1.0) <= (1 + MARGIN) / 2 * LOCALIZATION
    return is_safe and not CHOSEN_FOR & {check.name for check in pilot.failures}


def _improved(config: LLCConfig, values: dict[str, float]) -> LLCConfig:
    """The settings that would meet the checks, if these were proportional to them."""
    if "localization" not in values:  # the chains diverged
        return replace(config, step_size=config.step_size * SMALLER)
    pull = MARGIN * LOCALIZATION / values["localization"]
    if values["diffusion"] < 0.9 * DIFFUSED:  # too short for flat directions to have been felt
        pull = min(pull, 1.0)
    step = 1.0
    if "step_size" in values:
        room = STEP_LIMIT[config.sampler] / values["step_size"]
        room = min(room, MINIBATCH_BIAS / values["minibatch"])
        step = min(max(MARGIN * room, SMALLER), LARGER)
    return replace(
        config,
        step_size=config.step_size * step,
        localization=config.localization * min(max(pull, 1 / LARGER), LARGER),
    )


def _with_burn_in(config: LLCConfig, most: int) -> LLCConfig:
    """As long a burn-in as is needed, or as may be."""
    return replace(config, burn_in=min(replace(config, burn_in=None).burn_in_steps, most))


def _sweep(
    landscape: Landscape,
    config: LLCConfig,
    restriction: Restriction,
    nbeta: float,
    show: Show | None,
) -> pd.DataFrame:
    """Estimates at several step sizes and temperatures, as the points of one landscape."""
    cells = list(product(TEMPERATURES, STEPS))
    many = landscape.about([0] * len(cells))
    nbetas = torch.tensor([nbeta * colder for colder, _ in cells])
    steps = torch.tensor([config.step_size * step / max(colder, 1.0) for colder, step in cells])
    trace = sample(many, config, restriction, nbeta=nbetas, step_size=steps, show=show)
    found = judged(trace, many, restriction)
    return pd.DataFrame(
        {
            "step_size": steps.tolist(),
            "nbeta": nbetas.tolist(),
            "estimate": [estimate.value for estimate in found],
            "standard_error": [estimate.standard_error for estimate in found],
            "failures": [estimate.failed_checks for estimate in found],
        }
    )


def _curvature_nearby(
    landscape: Landscape, restriction: Restriction, nbeta: float, seed: int
) -> float:
    """The largest curvature about w*, as far from it as nbeta L rises by 1 in a random direction.

    At w* itself there may be none.
    """
    like = landscape.centres
    posterior = Posterior(landscape, restriction, like.new_full((1, 1, 1), nbeta), 0.0)
    moves = posterior.start(1)
    noise = torch.randn(moves.shape, generator=torch.Generator().manual_seed(seed)).to(moves)
    noise /= noise.norm()
    loss = float(posterior.losses(moves, posterior.everything).mean())
    reach = 1e-4
    while reach < 1e4:
        away = float(posterior.losses(moves + reach * noise, posterior.everything).mean())
        if not nbeta * abs(away - loss) < 1:
            break
        reach *= 2
    scale = like.new_full((1, 1, 1), reach / 4)
    found = largest_curvature(posterior, moves + reach / 2 * noise, scale, seed=seed)
    return max(float(found), 1 / (nbeta * reach**2))
