"""What chains draw at random, each from generators of its own."""

from collections.abc import Callable, Iterator

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor

from analysis.llc.config import LLCConfig

AT_ONCE = 2**14
"""Numbers that a chain draws at a time; a function of nothing else, so that chains do not depend
on each other."""


class Draws:
    """Noise and examples for the steps of all chains.

    Chain i draws what it would alone, whatever the number of chains, and the same at every point.

    Args:
        config: seed, chains, batch size.
        size: normal numbers of a step.
        n_examples: of the data set.
        like: has the device and dtype of the noise.
        chains: which chains; all of the config's if not given.
    """

    def __init__(
        self,
        config: LLCConfig,
        size: int,
        n_examples: int,
        like: Tensor,
        chains: range | None = None,
    ) -> None:
        seeds = [seed_of(config, i) for i in chains or range(config.chains)]
        self._normal = [
            torch.Generator(like.device).manual_seed(int(seed.generate_state(1)[0]))
            for seed in seeds
        ]
        self._other = [np.random.default_rng(seed) for seed in seeds]
        self._size, self._like, self._n = size, like, n_examples
        self._batch = config.batch_size or n_examples
        self._noise = _one_by_one(self._normals)
        self._examples = _one_by_one(self._batches)
        self._uniform = _one_by_one(self._uniforms)

    def noise(self) -> Float[Tensor, "chain move"]:
        """Standard normal numbers for one step."""
        return next(self._noise)

    def examples(self) -> Int64[Tensor, "chain_or_1 example"]:
        """Different examples for one step, or all of them."""
        if self._batch == self._n:
            return torch.arange(self._n, device=self._like.device)[None]
        return next(self._examples)

    def uniform(self) -> Float[Tensor, "chain"]:
        """A number between 0 and 1."""
        return next(self._uniform)

    def _normals(self) -> Float[Tensor, "chain step move"]:
        n_steps = max(1, AT_ONCE // self._size)
        # In float32, which is three times as fast, and noise enough for any precision.
        block = torch.empty(len(self._normal), n_steps, self._size, device=self._like.device)
        for row, generator in zip(block, self._normal, strict=True):
            row.normal_(generator=generator)
        return block.to(self._like.dtype)

    def _batches(self) -> Int64[Tensor, "chain step example"]:
        n_steps = max(1, AT_ONCE // self._batch // 16)
        drawn = [
            [g.choice(self._n, self._batch, replace=False, shuffle=False) for _ in range(n_steps)]
            for g in self._other
        ]
        return torch.from_numpy(np.array(drawn)).to(self._like.device)

    def _uniforms(self) -> Float[Tensor, "chain step"]:
        drawn = np.stack([generator.random(1024) for generator in self._other])
        return torch.from_numpy(drawn).to(self._like)


def seed_of(config: LLCConfig, chain: int) -> np.random.SeedSequence:
    """What all that a chain draws comes from."""
    return np.random.SeedSequence((config.seed, chain))


def _one_by_one(block: Callable[[], Tensor]) -> Iterator[Tensor]:
    """The steps of block after block."""
    while True:
        yield from block().unbind(1)
