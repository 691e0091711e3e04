"""What decides whether a sampled number is a local learning coefficient.

Every check has a value, a limit, and a sentence for when it fails. Those whose value is itself a
noisy mean over chains fail when it is beyond the limit by more than chance has it, or beyond twice
the limit. None of them is enough alone: a chain that never moves has a perfect R-hat, and a small
step hides a loss of which w* is no minimum.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float64
from scipy import stats

from analysis.llc.config import DIFFUSED, LLCConfig

R_HAT = {"loss": 1.05, "distance": 1.1}
EFFECTIVE_DRAWS = {"loss": 100.0, "distance": 50.0}
"""The loss is what is averaged; the distance only has to show that the chains get about."""
STEP_LIMIT = {"sgld": 0.025, "rmsprop_sgld": 0.025, "sgnht": 0.15, "mala": 0.025}
"""Of eps (nbeta h + gamma) / 4: of SGLD the relative bias in a direction; 1 is unstable. SGNHT has
no bias where the loss is quadratic, and MALA none at all: its limit is where calibration begins."""
MINIBATCH_BIAS = 0.05
LOCALIZATION, TEMPERATURE = 0.1, 0.25
TREND, DROP, BELOW, ACCEPTANCE = 0.05, 0.05, 0.05, 0.3
SMALLEST = 0.05
"""Relative checks are relative to the estimate, or to this where it is smaller."""

PerDraw = Float64[np.ndarray, "chain draw"]


@dataclass(frozen=True)
class Check:
    """One condition on an estimate."""

    name: str
    value: float
    limit: float
    passed: bool
    reason: str
    """Why the number cannot be trusted, if the check fails."""


@dataclass(frozen=True)
class Evidence:
    """What the checks of one point look at; see `Trace` for the arrays."""

    config: LLCConfig
    nbeta: float
    step_size: float
    initial_loss: float
    excess: PerDraw
    distance: PerDraw
    full_loss: Float64[np.ndarray, "chain full_draw"]
    curvature: float
    """The largest eigenvalue of the Hessian where the chains are, as a preconditioned chain sees
    it."""
    metric: tuple[float, float]
    """The smallest and the largest factor of the step size by which a direction is preconditioned;
    1 without."""
    minibatch_variance: float
    drop: float
    acceptance: float | None
    friction: float | None

    @property
    def chains(self) -> Float64[np.ndarray, "chain"]:
        """Each chain's estimate, nbeta times the mean of L(w) - L(w*)."""
        return self.nbeta * self.excess.mean(axis=1)


def checks(seen: Evidence) -> tuple[Check, ...]:
    """All checks of one point. If chains diverged, that is the only one."""
    lost = np.flatnonzero(~np.isfinite(seen.chains) | ~np.isfinite(seen.distance).all(axis=1))
    names = ", ".join(map(str, lost))
    diverged = _at_most(
        "diverged", float(len(lost)), 0.0, f"the loss of chain {names} is not finite"
    )
    if len(lost):
        return (diverged,)
    return diverged, *_mixing(seen), *_bias(seen), *_place(seen)


def _mixing(seen: Evidence) -> Iterator[Check]:
    """Do the chains agree, and have they gone anywhere?"""
    from arviz_stats.base.array import array_stats

    statistics: Any = array_stats  # its annotations lack what it returns
    for name, values in (("loss", seen.nbeta * seen.excess), ("distance", seen.distance)):
        if name == "loss" and np.ptp(values) < SMALLEST / 1000:  # nothing that moves matters
            continue
        with np.errstate(divide="ignore", invalid="ignore"):  # of chains that stand still
            r_hat = float(statistics.rhat(values, chain_axis=0, draw_axis=1))
            effective = float(statistics.ess(values, chain_axis=0, draw_axis=1))
        yield _at_most(
            f"r_hat_{name}",
            r_hat,
            R_HAT[name],
            f"the chains disagree on the {name}: R-hat is {r_hat:.3f}",
        )
        yield _at_least(
            f"ess_{name}",
            effective,
            EFFECTIVE_DRAWS[name],
            f"the draws of the {name} are worth {effective:.0f} independent ones: draw more",
        )
    diffused = seen.config.burn_in_steps / _relaxation(seen)
    yield _at_least(
        "diffusion",
        diffused,
        DIFFUSED * 0.999,  # rounding
        f"burn-in lasts {diffused:.2g} relaxation times of the localization: chains that hardly "
        "move look settled",
    )
    halves = np.array_split(seen.excess, 2, axis=1)
    drift = seen.nbeta * (halves[1].mean(axis=1) - halves[0].mean(axis=1))
    share = float(abs(drift.mean())) / _scale(seen)
    yield Check(
        "trend",
        share,
        TREND,
        bool(abs(drift.mean()) <= max(TREND * _scale(seen), _reach(drift, 0.99))),
        f"from one half of the draws to the other the estimate moves by {share:.0%}",
    )


def _bias(seen: Evidence) -> Iterator[Check]:
    """Does the number depend on how it was sampled?"""
    if seen.acceptance is not None:
        yield _at_least(
            "acceptance",
            seen.acceptance,
            ACCEPTANCE,
            f"{seen.acceptance:.0%} of the proposals are accepted: take a smaller step",
        )
    else:
        stiffness = seen.nbeta * seen.curvature + seen.metric[1] * seen.config.localization
        step = seen.step_size * stiffness / 4
        yield _at_most(
            "step_size",
            step,
            STEP_LIMIT[seen.config.sampler],
            f"the step is too large for a curvature of {seen.curvature:.3g}: eps (nbeta h + gamma) "
            f"/ 4 is {step:.2g}",
        )
        noise = seen.step_size * seen.nbeta**2 * seen.minibatch_variance / 8 / _scale(seen)
        if seen.friction is not None:  # which alone takes away what noise adds to the momentum
            noise *= 2 / (seen.step_size**0.5 * seen.friction)
        yield _at_most(
            "minibatch",
            noise,
            MINIBATCH_BIAS,
            f"the noise of the minibatches adds about {noise:.0%} to the estimate: take a smaller "
            "step or larger batches",
        )
    yield _localization(seen)
    yield _temperature(seen)


def _relaxation(seen: Evidence) -> float:
    """Steps in which the slowest flat direction forgets where it was."""
    config = seen.config
    usual = config.relaxation(seen.step_size * seen.metric[0])
    if seen.friction is None:
        return usual
    half, pull = seen.friction / 2, config.localization
    if half**2 < pull:
        return usual
    overdamped = (half + (half**2 - pull) ** 0.5) / (seen.step_size**0.5 * pull)
    return max(usual, overdamped)


def _localization(seen: Evidence) -> Check:
    together = (seen.excess - seen.excess.mean()) * (seen.distance - seen.distance.mean()) / 2
    pull = -seen.config.localization * seen.nbeta * together.mean(axis=1) / _scale(seen)
    return Check(
        "localization",
        float(abs(pull.mean())),
        LOCALIZATION,
        _is_within(pull, LOCALIZATION, 0.95),
        f"the estimate changes by {pull.mean():+.0%} for each e-fold of the localization: weaken "
        "it",
    )


def _temperature(seen: Evidence) -> Check:
    if seen.full_loss.shape[1] < 2:
        reason = "the loss on all examples was evaluated less than twice: lower full_every"
        return Check("temperature", float("nan"), TEMPERATURE, passed=False, reason=reason)
    variance = np.var(seen.nbeta * seen.full_loss, axis=1, ddof=1)
    heat = (seen.chains - variance) / _scale(seen)
    return Check(
        "temperature",
        float(abs(heat.mean())),
        TEMPERATURE,
        _is_within(heat, TEMPERATURE, 0.99),
        f"the estimate changes by {heat.mean():+.0%} for each e-fold of nbeta",
    )


def _place(seen: Evidence) -> Iterator[Check]:
    """Is w* a minimum?"""
    drop = seen.drop / _scale(seen)
    yield Check(
        "minimum",
        drop,
        DROP,
        bool(drop <= DROP),
        f"w* is not a minimum: descent alone lowers nbeta L by {seen.drop:.3g}",
    )
    rounding = 1e-6 * abs(seen.initial_loss)
    is_below = seen.full_loss < seen.initial_loss - rounding
    below = float(is_below.sum() / max(is_below.size, 1))
    yield _at_most(
        "below", below, BELOW, f"{below:.0%} of the draws have a lower loss than w*: no minimum"
    )
    estimate = float(seen.chains.mean())
    yield _at_least(
        "negative",
        estimate,
        -_reach(seen.chains, 0.95) - 1e-6,
        f"the estimate is negative, {estimate:.3g}: w* is no minimum",
    )


def _scale(seen: Evidence) -> float:
    return max(float(seen.chains.mean()), SMALLEST)


def _is_within(values: Float64[np.ndarray, "chain"], limit: float, confidence: float) -> bool:
    """Whether the mean is within the limit, or beyond it by no more than chance has it."""
    allowance = min(_reach(values, confidence), limit)
    return bool(abs(values.mean()) <= limit + allowance)


def _reach(values: Float64[np.ndarray, "chain"], confidence: float) -> float:
    """Half the width of the mean's confidence interval, by Student's t."""
    return reach(float(values.std(ddof=1) / len(values) ** 0.5), len(values), confidence)


def reach(standard_error: float, n: int, confidence: float = 0.95) -> float:
    """Half the width of a confidence interval, by Student's t with n - 1 degrees of freedom."""
    return float(stats.t.ppf((1 + confidence) / 2, n - 1)) * standard_error


def _at_most(name: str, value: float, limit: float, reason: str) -> Check:
    return Check(name, float(value), float(limit), bool(value <= limit), reason)


def _at_least(name: str, value: float, limit: float, reason: str) -> Check:
    return Check(name, float(value), float(limit), bool(value >= limit), reason)
