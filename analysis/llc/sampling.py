"""Chains about every centre of a landscape, all at once."""

import math
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from functools import partial
from typing import Any

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from analysis.llc.config import LLCConfig
from analysis.llc.draws import Draws
from analysis.llc.landscape import Landscape
from analysis.llc.posterior import Posterior
from analysis.llc.restriction import Restriction
from analysis.llc.sampler import MALA, SGLD, SGNHT, Moves, PerPoint, RMSPropSGLD, Sampler

Show = Callable[[int, int, float], None]
"""Told of steps done, of how many, and the running estimate of the first point, NaN in burn-in."""


@dataclass(frozen=True, eq=False)
class Trace:
    """What was seen of the chains, in float64 on the CPU.

    Attributes:
        config: settings of the sampler.
        nbeta: the inverse temperature times n, of each point.
        step_size: of each point.
        n_examples: of the data set.
        initial_loss: L(w*) on all examples.
        loss: of each draw on the examples of its step.
        excess: the same less those examples' loss at w*, whose mean is that of L(w) - L(w*) with
            less noise.
        distance: |w - w*|^2 of each draw.
        full_loss: on all examples, of every `full_every`-th draw.
        example_losses: of every example at those draws, if they were to be kept.
        moves: w - w* at those draws, in the restriction's coordinates, if they were to be kept.
        last: the moves after the last step, on the landscape's device.
        metric: what preconditions the steps, there too; None but for RMSProp.
        acceptance: the mean acceptance probability of proposals; None but for MALA.
        friction: the mean of the thermostat, sqrt(gamma) where gradients have no noise; None but
            for SGNHT.
        seconds: the sampling took.
    """

    config: LLCConfig
    nbeta: Float[Tensor, "point"]
    step_size: Float[Tensor, "point"]
    n_examples: int
    initial_loss: Float[Tensor, "point"]
    loss: Float[Tensor, "point chain draw"]
    excess: Float[Tensor, "point chain draw"]
    distance: Float[Tensor, "point chain draw"]
    full_loss: Float[Tensor, "point chain full_draw"]
    example_losses: Float[Tensor, "point chain full_draw example"] | None
    moves: Float[Tensor, "point chain full_draw move"] | None
    last: Moves
    metric: Moves | None
    acceptance: Float[Tensor, "point chain"] | None
    friction: Float[Tensor, "point chain"] | None
    seconds: float


PER_POINT = ("nbeta", "step_size", "initial_loss")


def joined(traces: Sequence[Trace], dim: int) -> Trace:
    """The traces of groups of points (`dim` 0), or of groups of chains (1), as one."""
    whole: dict[str, Any] = {"seconds": sum(trace.seconds for trace in traces)}
    for field in fields(Trace):
        parts = [getattr(trace, field.name) for trace in traces]
        if isinstance(parts[0], Tensor) and not (dim == 1 and field.name in PER_POINT):
            whole[field.name] = torch.cat(parts, dim)
    return replace(traces[0], **whole)


@contextmanager
def denormals_flushed() -> Iterator[None]:
    """On processors, numbers below 1e-38 are 0 in this thread.

    The probabilities that a network gives to wrong answers are often so small, and multiplying such
    numbers takes a processor many times as long as others.
    """
    before = float(torch.full((), 1e-38) / 10) == 0.0
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(before)


@denormals_flushed()
def sample(
    landscape: Landscape,
    config: LLCConfig,
    restriction: Restriction | None = None,
    *,
    nbeta: Float[Tensor, "point"] | None = None,
    step_size: Float[Tensor, "point"] | None = None,
    keep: frozenset[str] = frozenset(),
    show: Show | None = None,
    chains: range | None = None,
) -> Trace:
    """Sample the tempered posterior about every centre.

    All points and chains move together. Chain i of a point is the same whatever other chains and
    points there are, and chain i of all points sees the same noise and examples.

    Args:
        landscape: the loss, and its centres.
        config: the sampler.
        restriction: which directions move; all if not given.
        nbeta, step_size: of each point, in place of the config's one.
        keep: `example_losses` and `moves`, if they are to be kept, see `Trace`.
        show: told of the progress.
        chains: which of the config's chains; all if not given.

    Raises:
        ValueError: the data set is smaller than a batch, or the loss at w* is not finite.
    """
    begin = time.perf_counter()
    centres = landscape.centres
    one = config.nbeta_of(landscape.n_examples)
    nbeta = torch.full((len(centres),), one) if nbeta is None else nbeta
    step_size = torch.full((len(centres),), config.step_size) if step_size is None else step_size
    posterior = Posterior(
        landscape, restriction or Restriction(), _per_point(nbeta, centres), config.localization
    )
    moves = posterior.start(len(chains or range(config.chains)))
    draws = Draws(config, moves.shape[-1], landscape.n_examples, centres, chains)
    sampler = _sampler(config, posterior.nbeta, _per_point(step_size, centres), draws)
    seen = Seen(posterior, keep)
    for step in range(config.steps):
        examples = draws.examples()
        draw, rest = divmod(step - config.burn_in_steps, config.thin)
        is_draw = draw >= 0 and rest == 0
        is_full = is_draw and (draw + 1) % config.full_every == 0
        if is_draw:
            seen.place(moves, is_full=is_full)
        loss = sampler(moves, partial(posterior.potential, examples=examples), draws.noise())
        if is_draw:
            seen.losses(loss, examples)
        if show and step % config.full_every == 0:
            show(step + 1, config.steps, float(nbeta[0]) * seen.mean_excess)
    return Trace(
        config=config,
        nbeta=nbeta.double().cpu(),
        step_size=step_size.double().cpu(),
        n_examples=landscape.n_examples,
        **seen.stacked(),
        last=moves,
        metric=sampler.metric if isinstance(sampler, RMSPropSGLD) else None,
        acceptance=sampler.acceptance.cpu() / config.steps if isinstance(sampler, MALA) else None,
        friction=sampler.friction.cpu() / config.steps if isinstance(sampler, SGNHT) else None,
        seconds=time.perf_counter() - begin,
    )


class Seen:
    """What a trace is made of, draw by draw."""

    def __init__(self, posterior: Posterior, keep: frozenset[str] = frozenset()) -> None:
        self.posterior, self.keep = posterior, keep
        at_centre = posterior.losses(posterior.start(1), posterior.everything)[:, 0]
        self.at_centre = at_centre.double()  # [point, example]
        self.initial = self.at_centre.mean(dim=-1)
        if not self.initial.isfinite().all():
            lost = self.initial[~self.initial.isfinite()]
            raise ValueError(f"the loss at w* is {float(lost[0])}: no estimate")
        self.found: dict[str, list[Tensor]] = defaultdict(list)
        self.total = self.at_centre.new_zeros(())

    def place(self, moves: Moves, *, is_full: bool) -> None:
        """Note where the chains are."""
        self.found["distance"].append(moves.square().sum(dim=-1).double())
        if not is_full:
            return
        losses = self.posterior.losses(moves, self.posterior.everything).double()
        self.found["full_loss"].append(losses.mean(dim=-1))
        if "example_losses" in self.keep:
            self.found["example_losses"].append(losses)
        if "moves" in self.keep:
            self.found["moves"].append(moves.clone())

    def losses(self, loss: Tensor, examples: Int64[Tensor, "chain_or_1 example"]) -> None:
        """Note the losses there on the examples of the step."""
        columns = examples if self.at_centre.shape[1] > 1 else torch.zeros_like(examples[:1, :1])
        self.found["loss"].append(loss.double())
        excess = loss - self.at_centre[:, columns].mean(dim=-1)
        self.found["excess"].append(excess)
        self.total += excess[0].mean()

    @property
    def mean_excess(self) -> float:
        """Of the first point, so far."""
        return float(self.total) / len(self.found["excess"]) if self.found["excess"] else math.nan

    def stacked(self) -> dict[str, Any]:
        """The fields of a `Trace`, with the draws along their third axis."""
        names = ("loss", "excess", "distance", "full_loss", "example_losses", "moves")
        stacks: dict[str, Any] = {
            name: torch.stack(self.found[name], dim=2).cpu() if name in self.found else None
            for name in names
        }
        if stacks["full_loss"] is None:
            stacks["full_loss"] = stacks["loss"][..., :0]
        return {**stacks, "initial_loss": self.initial.cpu()}


def _per_point(values: Float[Tensor, "point"], like: Tensor) -> PerPoint:
    return values.to(like)[:, None, None]


def _sampler(config: LLCConfig, nbeta: PerPoint, step_size: PerPoint, draws: Draws) -> Sampler:
    if config.sampler == "rmsprop_sgld":
        return RMSPropSGLD(step_size, nbeta, config.burn_in_steps)
    if config.sampler == "sgnht":
        return SGNHT(step_size, config.localization)
    if config.sampler == "mala":
        return MALA(step_size, nbeta, config.localization, draws.uniform)
    return SGLD(step_size)
