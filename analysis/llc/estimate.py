"""The local learning coefficient: lambda = nbeta (E[L(w)] - L(w*)), if the checks allow it."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float64
from torch import Tensor
from torch.nn import Module

from analysis.llc.checks import Check, Evidence, checks, reach
from analysis.llc.config import LLCConfig
from analysis.llc.curvature import largest_curvature, minibatch_variance, predicted_drop
from analysis.llc.draws import Draws
from analysis.llc.landscape import Landscape, Loss, NetworkLandscape
from analysis.llc.posterior import Posterior
from analysis.llc.restriction import Restriction
from analysis.llc.sampling import Show, Trace, sample
from tasks.task import Examples, Task


@dataclass(frozen=True, eq=False)
class LLCEstimate:
    """An estimate of the local learning coefficient (Lau et al., 2023, arXiv 2308.12108).

    Attributes:
        value: the mean over chains of nbeta (mean L(w) - L(w*)), whatever the checks say.
        standard_error: of the mean, from the chains' spread.
        interval: its 95% confidence interval, Student's t with chains - 1 degrees of freedom.
        chains: each chain's estimate.
        nbeta: inverse temperature times n.
        initial_loss: L(w*).
        checks: all of them; `failures` has those that fail.
    """

    value: float
    standard_error: float
    interval: tuple[float, float]
    chains: Float64[np.ndarray, "chain"]
    nbeta: float
    initial_loss: float
    checks: tuple[Check, ...]

    @property
    def failures(self) -> tuple[Check, ...]:
        """The checks that fail. If there is one, `value` is no local learning coefficient."""
        return tuple(check for check in self.checks if not check.passed)

    @property
    def failed_checks(self) -> str:
        """The names of the checks that fail, with a space between them: a cell of a table."""
        return " ".join(check.name for check in self.failures)

    def __str__(self) -> str:
        """The number with its interval, or why there is none."""
        if self.failures:
            return "no estimate: " + "; ".join(check.reason for check in self.failures)
        low, high = self.interval
        return f"{self.value:.4g} ({low:.4g} to {high:.4g})"


def estimate_llc(
    model: Module,
    data: Task | Examples,
    config: LLCConfig | None = None,
    *,
    restriction: Restriction | None = None,
    loss: Loss = "task",
    dtype: torch.dtype | None = None,
    show: Show | None = None,
) -> LLCEstimate:
    """Estimate the local learning coefficient of a network.

    Args:
        model: a network of this package, in evaluation mode.
        data: a task, of which the training set is taken, or examples.
        config: the sampler's settings.
        restriction: which parameters move; all that are trained if not given.
        loss: `task`, as in training, or `kl`, the divergence from what the network says at w*.
        dtype: of the sampling; the model's if not given.
        show: told of the progress.

    For other modules and losses see `ModuleLandscape` and `llc_estimates`.

    Raises:
        ValueError: the model is in training mode, the loss at w* is not finite, or the data set is
            smaller than a batch.
    """
    examples = data.examples("train") if isinstance(data, Task) else data
    landscape = NetworkLandscape(model, examples, loss=loss, dtype=dtype)
    (found,), _ = llc_estimates(landscape, config, restriction, show=show)
    return found


def llc_estimates(
    landscape: Landscape,
    config: LLCConfig | None = None,
    restriction: Restriction | None = None,
    *,
    keep: frozenset[str] = frozenset(),
    show: Show | None = None,
) -> tuple[list[LLCEstimate], Trace]:
    """Estimate the local learning coefficient at every centre of a landscape, all at once.

    Returns the estimates and the trace that they come from. Raises `ValueError` as `sample` does,
    and for an engine that cannot do what is asked.
    """
    config, restriction = config or LLCConfig(), restriction or Restriction()
    if config.engine == "batched":
        trace = sample(landscape, config, restriction, keep=keep, show=show)
    elif keep:
        raise ValueError(f"the engine {config.engine!r} keeps nothing: take 'batched'")
    else:
        from analysis.llc.engines import ENGINES

        trace = ENGINES[config.engine](landscape, config, restriction)
    return judged(trace, landscape, restriction), trace


def judged(trace: Trace, landscape: Landscape, restriction: Restriction) -> list[LLCEstimate]:
    """The estimate of every point, with its checks.

    Measures the curvature and the minibatches' noise where the chains ended, and how far descent
    goes from w*.
    """
    config, like = trace.config, landscape.centres
    nbeta, step_size = (x.to(like)[:, None, None] for x in (trace.nbeta, trace.step_size))
    posterior = Posterior(landscape, restriction, nbeta, config.localization)
    last = trace.last.nan_to_num()
    curvature = largest_curvature(
        posterior, last, step_size.sqrt(), trace.metric, seed=config.seed
    ).amax(dim=1)
    noise = torch.zeros_like(curvature)
    if (config.batch_size or landscape.n_examples) < landscape.n_examples:
        draws = Draws(config, 1, landscape.n_examples, like)
        noise = minibatch_variance(posterior, last, draws).amax(dim=1)
    plain = curvature  # at most, of the Hessian without the metric
    if trace.metric is not None:
        plain = curvature / trace.metric.flatten(1).amin(dim=1)
    stiffness = (nbeta[:, 0, 0] * plain + config.localization).cpu().double()
    relaxations = [config.steps / config.relaxation(eps) for eps in trace.step_size.tolist()]
    drop = predicted_drop(
        posterior,
        torch.tensor(relaxations, dtype=torch.float64) / config.localization,
        stiffness.clamp(min=config.localization),
        trace.initial_loss,
        seed=config.seed,
    )
    return [
        _estimate(trace, i, float(curvature[i]), float(noise[i]), float(drop[i]))
        for i in range(len(nbeta))
    ]


def _range(trace: Trace, point: int) -> tuple[float, float]:
    """The smallest and the largest factor that preconditions a point's steps."""
    if trace.metric is None:
        return 1.0, 1.0
    return float(trace.metric[point].min()), float(trace.metric[point].max())


def _estimate(trace: Trace, point: int, curvature: float, noise: float, drop: float) -> LLCEstimate:
    def of_point(values: Tensor) -> np.ndarray:
        return values[point].numpy()

    seen = Evidence(
        config=trace.config,
        nbeta=float(trace.nbeta[point]),
        step_size=float(trace.step_size[point]),
        initial_loss=float(trace.initial_loss[point]),
        excess=of_point(trace.excess),
        distance=of_point(trace.distance),
        full_loss=of_point(trace.full_loss if trace.config.batch_size else trace.loss),
        curvature=curvature,
        metric=_range(trace, point),
        minibatch_variance=noise,
        drop=drop,
        acceptance=None if trace.acceptance is None else float(trace.acceptance[point].mean()),
        friction=None if trace.friction is None else float(trace.friction[point].mean()),
    )
    chains = seen.chains
    value, error = float(chains.mean()), float(chains.std(ddof=1) / len(chains) ** 0.5)
    half = reach(error, len(chains))
    return LLCEstimate(
        value=value,
        standard_error=error,
        interval=(value - half, value + half),
        chains=chains,
        nbeta=seen.nbeta,
        initial_loss=seen.initial_loss,
        checks=checks(seen),
    )
