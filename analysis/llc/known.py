"""Losses whose learning coefficient is known, to judge estimates by.

Each has an asymptotic learning coefficient lambda, and, but for deep linear networks, the exact
expectation of the estimate nbeta (L(w) - L(w*)) at finite temperature: under
exp(-nbeta L(w) - gamma / 2 |w - w*|^2), gamma the localization. At every w*, L is 0.
"""

from dataclasses import dataclass
from functools import reduce
from itertools import combinations, pairwise
from math import ceil, prod, sqrt
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor

from analysis.llc.landscape import FunctionLandscape, Landscape, Losses, Weights


class LearningCoefficient(NamedTuple):
    """The volume of {L < e} goes as e^lambda (-log e)^(multiplicity - 1) for small e."""

    lambda_: float
    multiplicity: int


@dataclass(frozen=True)
class Regular:
    """L = 1/2 sum h_j w_j^2, about its only minimum w* = 0."""

    curvatures: tuple[float, ...]
    """h."""

    @property
    def coefficient(self) -> LearningCoefficient:
        """Half the number of parameters."""
        return LearningCoefficient(len(self.curvatures) / 2, 1)

    def landscape(self) -> Landscape:
        """In float64."""
        h = torch.tensor(self.curvatures, dtype=torch.float64)
        return FunctionLandscape(lambda w: (h * w.square()).sum(dim=-1) / 2, torch.zeros_like(h), 1)

    def expected(self, nbeta: float, localization: float, step_size: float = 0.0) -> float:
        """The estimate of endless chains; with a step size, of SGLD, which is biased by it.

        A direction's variance v solves v = (1 - eps a / 2)^2 v + eps, with a = nbeta h + gamma, so
        that it is 1 / (a (1 - eps a / 4)). Raises `ValueError` where the chains diverge.
        """
        return float((self._halves(nbeta) * self._variances(nbeta, localization, step_size)).sum())

    def _halves(self, nbeta: float) -> Float[np.ndarray, "parameter"]:
        return nbeta * np.array(self.curvatures) / 2

    def _variances(
        self, nbeta: float, localization: float, step_size: float
    ) -> Float[np.ndarray, "parameter"]:
        a = nbeta * np.array(self.curvatures) + localization
        if step_size * a.max() >= 4:
            raise ValueError(
                f"step size {step_size} diverges: it must be below {4 / a.max():.3g}, "
                "4 / (nbeta h + localization)"
            )
        return 1 / (a * (1 - step_size * a / 4))


@dataclass(frozen=True)
class RegularData(Regular):
    """The same loss as a mean over n examples x_i, normal with mean exactly 0.

    loss_i = 1/2 sum h_j ((w_j - x_ij)^2 - x_ij^2): gradients of minibatches are those of L with a
    noise that does not depend on w.
    """

    n_examples: int = 1000
    seed: int = 0
    """Of the examples."""

    @property
    def examples(self) -> Float[Tensor, "example parameter"]:
        """x."""
        generator = torch.Generator().manual_seed(self.seed)
        shape = (self.n_examples, len(self.curvatures))
        x = torch.randn(shape, generator=generator, dtype=torch.float64)
        return x - x.mean(dim=0)

    def landscape(self) -> Landscape:
        """In float64."""
        return _DataLandscape(torch.tensor(self.curvatures, dtype=torch.float64), self.examples)

    def expected(
        self,
        nbeta: float,
        localization: float,
        step_size: float = 0.0,
        batch_size: int | None = None,
    ) -> float:
        """As `Regular.expected`, of SGLD whose every step draws a batch without replacement.

        A step adds eps + (eps nbeta / 2)^2 C (1 - B / n) / B to the variance, with C = h^2 Var(x),
        n - 1 in the denominator of the variance.
        """
        variances = self._variances(nbeta, localization, step_size)
        if batch_size is not None:
            gradient = np.array(self.curvatures) ** 2 * self.examples.var(dim=0).numpy()
            noise = gradient * (1 - batch_size / self.n_examples) / batch_size
            variances = variances * (1 + step_size * nbeta**2 * noise / 4)
        return float((self._halves(nbeta) * variances).sum())


class _DataLandscape(Landscape):
    def __init__(
        self, curvatures: Float[Tensor, "parameter"], examples: Float[Tensor, "example parameter"]
    ) -> None:
        self.curvatures, self.examples = curvatures, examples
        self.n_examples = len(examples)
        self.centres = torch.zeros_like(curvatures)[None]
        self.bytes_per_example = examples[0].nbytes

    def losses(self, weights: Weights, examples: Int64[Tensor, "chain_or_1 example"]) -> Losses:
        """As in `Landscape`."""
        pull = self.curvatures * weights  # [point, chain, parameter]
        drawn = self.examples[examples]  # [chain or 1, example, parameter]
        shared = (pull * weights).sum(dim=-1, keepdim=True) / 2
        return shared - (drawn @ pull[..., None])[..., 0]


@dataclass(frozen=True)
class NormalCrossing:
    """L = w_1^(2 k_1) w_2^(2 k_2), about the crossing w* = 0 of its minima."""

    exponents: tuple[int, int]
    """k, not both 0."""

    @property
    def coefficient(self) -> LearningCoefficient:
        """min 1 / (2 k_j), as often as it is reached."""
        most = max(self.exponents)
        return LearningCoefficient(1 / (2 * most), self.exponents.count(most))

    def landscape(self) -> Landscape:
        """In float64."""
        twice = [2 * k for k in self.exponents]
        centre = torch.zeros(2, dtype=torch.float64)
        return FunctionLandscape(lambda w: w[..., 0] ** twice[0] * w[..., 1] ** twice[1], centre, 1)

    def expected(self, nbeta: float, localization: float) -> float:
        """The estimate of exact draws, by quadrature.

        In t = log |w| the integrand is smooth and falls off at both ends, so that the trapezoidal
        rule is exact to rounding.
        """
        t = np.linspace(-40.0, 0.0, 1501) + np.log(10 / sqrt(localization))
        first, second = np.ix_(t, t)
        k, m = self.exponents
        energy = nbeta * np.exp(2 * (k * first + m * second))
        distance = np.exp(2 * first) + np.exp(2 * second)
        weight = np.exp(first + second - energy - localization / 2 * distance)
        return float((energy * weight).sum() / weight.sum())


@dataclass(frozen=True)
class DeepLinear:
    """L = 1/2 |W_l ... W_1 - T|^2 (Frobenius), T of some rank; with two matrices, reduced-rank
    regression. W_i has the shape [widths[i], widths[i - 1]].

    w* has ones on the first `rank` places of every diagonal: of all minima for T, the matrices of
    lowest rank, where the local learning coefficient is that of the model.
    """

    widths: tuple[int, ...]
    """Input, hidden, ..., output."""
    rank: int
    """Of T."""

    def __post_init__(self) -> None:
        if not 0 <= self.rank <= min(self.widths):
            raise ValueError(f"rank is {self.rank}: it must be from 0 to {min(self.widths)}")

    @property
    def coefficient(self) -> LearningCoefficient:
        """Aoyagi (2024), Neural Networks, doi 10.1016/j.neunet.2024.106132."""
        r, ends = self.rank, self.widths[0] + self.widths[-1]
        excess = sorted(width - r for width in self.widths)
        some, others = excess[:2], excess[2:]  # the widths that count, and those too wide to
        while others and sum(some) > (len(some) - 1) * others[0]:
            some.append(others.pop(0))
        total, n = sum(some), len(some) - 1  # the theorem's l
        a = total - (ceil(total / n) - 1) * n
        twice = r * ends - r**2 + a * (n - a) / (2 * n) - (n - 1) * total**2 / (2 * n)
        products = sum(s * t for s, t in combinations(some, 2))
        return LearningCoefficient((twice + products) / 2, a * (n - a) + 1)

    def landscape(self) -> Landscape:
        """In float64."""
        shapes = [(after, before) for before, after in pairwise(self.widths)]
        ones = torch.zeros(max(self.widths), dtype=torch.float64)
        ones[: self.rank] = 1
        at_minimum = [ones.diag()[:after, :before] for after, before in shapes]
        centre = torch.cat([matrix.flatten() for matrix in at_minimum])
        truth = ones.diag()[: self.widths[-1], : self.widths[0]]

        def loss(weights: Float[Tensor, "*rows parameter"]) -> Float[Tensor, "*rows"]:
            pieces = weights.split([prod(shape) for shape in shapes], dim=-1)
            matrices = [p.unflatten(-1, shape) for p, shape in zip(pieces, shapes, strict=True)]
            product = reduce(lambda product, matrix: matrix @ product, matrices)
            return (product - truth).square().sum(dim=(-2, -1)) / 2

        return FunctionLandscape(loss, centre, 1)


Known = Regular | NormalCrossing | DeepLinear


def reduced_rank_coefficient(
    inputs: int, hidden: int, outputs: int, rank: int
) -> LearningCoefficient:
    """Of reduced-rank regression, in four cases (Aoyagi and Watanabe, 2005)."""
    m, h, n, r = inputs, hidden, outputs, rank
    if m + h < n + r:
        return LearningCoefficient((h * m - h * r + n * r) / 2, 1)
    if n + h < m + r:
        return LearningCoefficient((h * n - h * r + m * r) / 2, 1)
    if m + n < h + r:
        return LearningCoefficient(m * n / 2, 1)
    eighths = 2 * (h + r) * (m + n) + 2 * m * n - (h + r) ** 2 - m**2 - n**2
    odd = (m + h + n + r) % 2
    return LearningCoefficient((eighths + odd) / 8, 1 + odd)
