"""How a local learning coefficient is estimated: a frozen config, and flags of `interp llc`."""

from dataclasses import dataclass
from math import ceil, isfinite, log
from typing import Literal, get_args

from interp.arguments import nearest

SamplerName = Literal["sgnht", "sgld", "rmsprop_sgld", "mala"]
Engine = Literal["batched", "sequential", "devinterp"]
DIFFUSED = 5.0
"""Relaxation times of the localization that burn-in must last (after them a flat direction's
variance is within e^-10 of what it will be)."""


@dataclass(frozen=True)
class LLCConfig:
    """Settings of the sampler; see the guide for how to choose them, or `calibrate_llc`."""

    sampler: SamplerName = "sgnht"
    """sgnht (with momentum and a thermostat: by far the fewest steps, but minibatches disturb it
    more), sgld, rmsprop_sgld (preconditioned), or mala (without bias of the step; of the whole data
    set)."""
    step_size: float = 5e-4
    """eps: a step's drift is eps / 2 times the gradient, and its noise has variance eps; of sgnht
    the square of the time that a step takes."""
    nbeta: float | None = None
    """Inverse temperature times the number of examples n. Not given: n / log n."""
    localization: float = 1.0
    """gamma, the strength of the pull to w*."""
    chains: int = 8
    """Independent chains."""
    draws: int = 1000
    """Draws of each chain after burn-in."""
    burn_in: int | None = None
    """Steps before the first draw, which never count. Not given: until the slowest direction has
    forgotten where it began, 10 / (eps gamma), of sgnht 10 / sqrt(eps gamma)."""
    thin: int = 1
    """Steps from draw to draw."""
    batch_size: int | None = None
    """Examples of a step's gradient and loss, drawn anew each time. Not given: all of them."""
    full_every: int = 10
    """Draws from one evaluation of the loss on all examples to the next."""
    seed: int = 0
    """Of chain i alone with i, so that chains do not depend on how many there are."""

    engine: Engine = "batched"
    """batched: all chains and checkpoints at once. sequential, devinterp: one chain after another,
    by the network's own forward, or by devinterp 2; for comparison."""

    def __post_init__(self) -> None:
        """Raises `ValueError` for numbers out of range and a sampler that does not exist."""
        for name, allowed in (("sampler", SamplerName), ("engine", Engine)):
            value, names = getattr(self, name), get_args(allowed)
            if value not in names:
                raise ValueError(
                    f"{name} is {value!r}: it must be one of {', '.join(names)}"
                    f"{nearest(value, names)}"
                )
        for name in ("step_size", "localization", "nbeta"):
            value = getattr(self, name)
            if value is not None and not (isfinite(value) and value > 0):
                raise ValueError(f"{name} is {value}: it must be a number above 0")
        least = {"chains": 2, "draws": 4, "burn_in": 0, "thin": 1, "batch_size": 1, "full_every": 1}
        for name, bound in least.items():
            value = getattr(self, name)
            if value is not None and value < bound:
                raise ValueError(f"{name} is {value}: it must be at least {bound}")
        if self.sampler == "mala" and self.batch_size is not None:
            raise ValueError(
                "mala accepts or rejects by the loss on all examples: give no batch_size"
            )

    @property
    def burn_in_steps(self) -> int:
        """Steps before the first draw."""
        if self.burn_in is not None:
            return self.burn_in
        return ceil(DIFFUSED * self.relaxation(self.step_size))

    def relaxation(self, step_size: float) -> float:
        """Steps of a size in which a flat direction forgets where it was, by a factor of e."""
        strength = step_size * self.localization
        return 2 / (strength**0.5 if self.sampler == "sgnht" else strength)

    def localization_for(self, burn_in: int, step_size: float) -> float:
        """The weakest localization, for steps of a size, that a burn-in is long enough for."""
        strength = 2 * DIFFUSED / burn_in
        return (strength**2 if self.sampler == "sgnht" else strength) / step_size

    @property
    def steps(self) -> int:
        """Of each chain, burn-in included."""
        return self.burn_in_steps + self.draws * self.thin

    def nbeta_of(self, n_examples: int) -> float:
        """The inverse temperature times the number of examples.

        Raises `ValueError` for a data set too small to have one, or smaller than a batch.
        """
        if self.batch_size is not None and self.batch_size > n_examples:
            raise ValueError(
                f"batch_size is {self.batch_size}, and the data set has {n_examples} examples"
            )
        if self.nbeta is not None:
            return self.nbeta
        if n_examples < 2:
            raise ValueError(f"n / log n needs at least 2 examples, not {n_examples}: give nbeta")
        return n_examples / log(n_examples)
