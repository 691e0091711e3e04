"""What `sample` does, done otherwise: one chain after another, for comparison.

`sample_sequentially` runs the module's own forward with the draws of `sample`, and gives its trace
up to rounding. `sample_with_devinterp` leaves the steps to devinterp (2.x), of which ours have the
examples but not the noise; its trace is another of the same chain.
"""

import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from types import ModuleType
from typing import Any
from unittest.mock import patch

import torch
from jaxtyping import Float, Int64, Shaped
from torch import Tensor
from torch.func import functional_call
from torch.nn import Module, Parameter
from torch.optim import Optimizer
from torch.utils.data import IterableDataset

from analysis.llc.config import LLCConfig
from analysis.llc.draws import Draws, seed_of
from analysis.llc.landscape import (
    Landscape,
    ModuleLandscape,
    NetworkLandscape,
    Weights,
    unflattened,
)
from analysis.llc.posterior import Posterior
from analysis.llc.restriction import Restriction
from analysis.llc.sampler import Moves
from analysis.llc.sampling import Seen, Trace, joined, sample
from interp.arguments import nearest

DEVINTERP_SAMPLERS = ("sgld", "rmsprop_sgld")
"""Its sgnht has no friction: what its preconditioner says of it, its step does not read."""


def sample_sequentially(
    landscape: Landscape, config: LLCConfig, restriction: Restriction | None = None
) -> Trace:
    """The trace of `sample`, to rounding: the same draws, one chain after another."""

    def one(plain: Landscape, chain: int) -> Trace:
        return sample(plain, config, restriction, chains=range(chain, chain + 1))

    return _one_by_one(landscape, config, one)


def sample_with_devinterp(
    landscape: Landscape, config: LLCConfig, restriction: Restriction | None = None
) -> Trace:
    """Chains of `devinterp.slt.sampler.sample_single_chain`, one after another.

    What it moves are the restriction's coordinates, so it can have any. Its rmsprop_sgld goes on
    adapting after burn-in. A chain that it gives up is NaN from there on.

    Raises `ValueError` for a sampler that it has not.
    """
    if config.sampler not in DEVINTERP_SAMPLERS:
        raise ValueError(
            f"sampler is {config.sampler!r}: devinterp has {' and '.join(DEVINTERP_SAMPLERS)}"
            f"{nearest(config.sampler, DEVINTERP_SAMPLERS)}"
        )

    def one(plain: Landscape, chain: int) -> Trace:
        return _devinterp_chain(plain, config, restriction or Restriction(), chain)

    return _one_by_one(landscape, config, one)


def _one_by_one(
    landscape: Landscape, config: LLCConfig, one: Callable[[Landscape, int], Trace]
) -> Trace:
    """The traces of every chain at every point as one."""
    points = []
    for point in range(len(landscape.centres)):
        plain = _plain(landscape, point)
        points.append(joined([one(plain, chain) for chain in range(config.chains)], dim=1))
    return joined(points, dim=0)


def _plain(landscape: Landscape, point: int) -> Landscape:
    """One point of a landscape; if it is a module's, by the module's own forward."""
    plain = landscape.about([point])
    if isinstance(plain, ModuleLandscape):
        vars(plain)["outputs"] = partial(_outputs, plain)
    return plain


def _outputs(
    landscape: ModuleLandscape, weights: Weights, examples: Int64[Tensor, "1 example"]
) -> Shaped[Tensor, "1 1 example ..."]:
    """In place of `ModuleLandscape.outputs`, for one parameter vector."""
    own = {name: x[0, 0] for name, x in unflattened(landscape.layout, weights).items()}
    inputs = landscape.inputs[examples[0]]
    outputs = functional_call(landscape.model, {**landscape.rest, **own}, inputs)
    if isinstance(landscape, NetworkLandscape):
        outputs = outputs[:, -landscape.targets.shape[1] :]
    return outputs[None, None]


def _devinterp_chain(
    landscape: Landscape, config: LLCConfig, restriction: Restriction, chain: int
) -> Trace:
    from devinterp.optim import SGMCMC  # these take seconds to import
    from devinterp.slt import sampler

    begin = time.perf_counter()
    centres, nbeta = landscape.centres, config.nbeta_of(landscape.n_examples)
    posterior = Posterior(
        landscape, restriction, centres.new_full((1, 1, 1), nbeta), config.localization
    )
    watch = _Watch(posterior, config)
    model = _Moving(posterior.start(1))
    settings = {"lr": config.step_size, "nbeta": nbeta, "localization": config.localization}
    with _quiet(sampler), torch.random.fork_rng([centres.device] if centres.is_cuda else []):
        torch.manual_seed(int(seed_of(config, chain).generate_state(1)[0]))
        sampler.sample_single_chain(
            model,
            _Steps(config, landscape, chain),
            watch.evaluate,
            {"moves": None},
            num_draws=config.steps,
            sampling_method=getattr(SGMCMC, config.sampler),
            sampling_method_kwargs=settings,
            callbacks=[watch.after_step],
            chain=chain,
            device=str(centres.device),
            batch_size=1,
            shuffle=False,
            epoch_mode="once",
        )
    watch.give_up()
    return Trace(
        config=config,
        nbeta=torch.tensor([nbeta], dtype=torch.float64),
        step_size=torch.tensor([config.step_size], dtype=torch.float64),
        n_examples=landscape.n_examples,
        **watch.seen.stacked(),
        last=watch.moves,
        metric=watch.metric,
        acceptance=None,
        friction=None,
        seconds=time.perf_counter() - begin,
    )


class _Moving(Module):
    """A chain's moves from w*, as devinterp wants parameters."""

    def __init__(self, moves: Moves) -> None:
        super().__init__()
        self.moves = Parameter(moves)


class _Steps(IterableDataset):
    """The examples of a chain's every step, as devinterp wants them."""

    def __init__(self, config: LLCConfig, landscape: Landscape, chain: int) -> None:
        chains = range(chain, chain + 1)
        self.draws = Draws(config, 1, landscape.n_examples, landscape.centres, chains)
        self.n_steps = config.steps

    def __len__(self) -> int:
        return self.n_steps

    def __iter__(self) -> Iterator[dict[str, Int64[Tensor, "example"]]]:
        return ({"input_ids": self.draws.examples()[0]} for _ in range(self.n_steps))


class _Watch:
    """The loss that devinterp asks for; each draw is noted before its step, as in `sample`."""

    def __init__(self, posterior: Posterior, config: LLCConfig) -> None:
        self.posterior, self.config, self.step = posterior, config, 0
        self.moves, self.examples = posterior.start(1), posterior.everything
        self.seen = Seen(posterior)
        self.metric: Moves | None = None

    def evaluate(
        self, model: Module, batch: Any
    ) -> tuple[Float[Tensor, "example_or_1"], dict[str, Any]]:
        """As `evaluate` of `sample_single_chain`."""
        moves, self.examples = model.get_parameter("moves"), batch["input_ids"]
        self.moves = moves.detach()  # and stays the chain's: after the last step, the last
        landscape, restriction = self.posterior.landscape, self.posterior.restriction
        weights = restriction.weights(landscape.centres, moves)
        losses = landscape.losses(weights, self.examples)
        self._note(self.moves, losses.detach().mean(dim=-1))
        return losses[0, 0], {}

    def after_step(self, *, model: _Moving, optimizer: Optimizer, **_: Any) -> None:
        """As a callback of `sample_single_chain`; the metric is the last step's."""
        state, group = optimizer.state[model.moves], optimizer.param_groups[0]
        if "square_avg" in state:
            self.metric = 1 / (state["square_avg"].sqrt() + group["preconditioner"].eps)

    def give_up(self) -> None:
        """Note NaN for the steps that were not taken."""
        if self.step < self.config.steps:
            self.moves = torch.full_like(self.moves, torch.nan)
        while self.step < self.config.steps:
            self._note(self.moves, self.moves.mean(dim=-1))

    def _note(self, moves: Moves, loss: Float[Tensor, "1 1"]) -> None:
        draw, rest = divmod(self.step - self.config.burn_in_steps, self.config.thin)
        self.step += 1
        if draw >= 0 and rest == 0:
            self.seen.place(moves, is_full=(draw + 1) % self.config.full_every == 0)
            self.seen.losses(loss, self.examples)


@contextmanager
def _quiet(sampler: ModuleType) -> Iterator[None]:
    """Without devinterp's progress bar and warnings: what a chain came to, its trace says."""
    bar = partial(sampler.trange, disable=True)
    with patch.object(sampler, "trange", bar), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


ENGINES = {"sequential": sample_sequentially, "devinterp": sample_with_devinterp}
"""In place of `sample`."""
