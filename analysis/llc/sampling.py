"""Chains about every centre of a landscape, all at once."""

import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass

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
"""Told of steps done, of how many, and the running estimate of the first point."""


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
        acceptance: the mean acceptance probability of proposals; None but for MALA.
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
    acceptance: Float[Tensor, "point chain"] | None
    seconds: float


def sample(
    landscape: Landscape,
    config: LLCConfig,
    restriction: Restriction | None = None,
    *,
    nbeta: Float[Tensor, "point"] | None = None,
    step_size: Float[Tensor, "point"] | None = None,
    keep: frozenset[str] = frozenset(),
    show: Show | None = None,
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
    moves = posterior.start(config.chains)
    at_centre = posterior.losses(moves[:, :1], posterior.everything)[:, 0]  # [point, example]
    initial = at_centre.double().mean(dim=-1)
    if not initial.isfinite().all():
        raise ValueError(f"the loss at w* is {float(initial[~initial.isfinite()][0])}: no estimate")
    draws = Draws(config, moves.shape[-1], landscape.n_examples, centres)
    sampler = _sampler(config, posterior.nbeta, _per_point(step_size, centres), draws)
    seen = _Seen(posterior, at_centre, keep)
    n_steps = config.burn_in_steps + config.draws * config.thin
    for step in range(n_steps):
        examples = draws.examples()
        draw, rest = divmod(step - config.burn_in_steps, config.thin)
        is_draw = draw >= 0 and rest == 0
        is_full = is_draw and draw % config.full_every == 0
        if is_draw:
            seen.place(moves, is_full=is_full)
        loss = sampler(moves, lambda at: posterior.potential(at, examples), draws.noise())
        if is_draw:
            seen.losses(loss, examples)
        if show and is_full:
            show(step + 1, n_steps, float(nbeta[0]) * seen.mean_excess)
    is_mala = isinstance(sampler, MALA)
    return Trace(
        config=config,
        nbeta=nbeta.double().cpu(),
        step_size=step_size.double().cpu(),
        n_examples=landscape.n_examples,
        initial_loss=initial.cpu(),
        **seen.stacked(),
        last=moves,
        acceptance=torch.as_tensor(sampler.acceptance).cpu() / n_steps if is_mala else None,
        seconds=time.perf_counter() - begin,
    )


class _Seen:
    """What a trace is made of, draw by draw."""

    def __init__(self, posterior: Posterior, at_centre: Tensor, keep: frozenset[str]) -> None:
        self.posterior, self.at_centre, self.keep = posterior, at_centre.double(), keep
        self.found: dict[str, list[Tensor]] = defaultdict(list)

    def place(self, moves: Moves, *, is_full: bool) -> None:
        """Note where the chains are."""
        self.found["distance"].append(moves.double().square().sum(dim=-1))
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
        self.found["excess"].append(loss - self.at_centre[:, columns].mean(dim=-1))

    @property
    def mean_excess(self) -> float:
        """Of the first point, so far."""
        return float(torch.stack(self.found["excess"])[:, 0].mean())

    def stacked(self) -> dict[str, Tensor | None]:
        """The fields of a `Trace`, with the draws along their third axis."""
        names = ("loss", "excess", "distance", "full_loss", "example_losses", "moves")
        return {
            name: torch.stack(self.found[name], dim=2).cpu() if name in self.found else None
            for name in names
        }


def _per_point(values: Float[Tensor, "point"], like: Tensor) -> PerPoint:
    return values.to(like)[:, None, None]


def _sampler(config: LLCConfig, nbeta: PerPoint, step_size: PerPoint, draws: Draws) -> Sampler:
    if config.sampler == "rmsprop_sgld":
        return RMSPropSGLD(step_size, nbeta)
    if config.sampler == "sgnht":
        return SGNHT(step_size)
    if config.sampler == "mala":
        return MALA(step_size, nbeta, config.localization, draws.uniform)
    return SGLD(step_size)
