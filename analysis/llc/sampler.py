"""How a chain moves: stochastic gradient Langevin dynamics and its relatives.

All sample exp(-U), U = nbeta L(w) + gamma / 2 |w - w*|^2. They change moves [point, chain, move]
in place and return the loss L where they began. Step sizes eps have the shape [point, 1, 1].
"""

from collections.abc import Callable
from typing import Protocol

import torch
from jaxtyping import Float
from torch import Tensor

Moves = Float[Tensor, "point chain move"]
Noise = Float[Tensor, "chain move"]
PerPoint = Float[Tensor, "point 1 1"]
PerChain = Float[Tensor, "point chain"]
Potential = Callable[[Moves], tuple[PerChain, Moves]]
"""From moves to the loss L and the gradient of U."""


class Sampler(Protocol):
    """What takes a step of every chain; what it remembers from step to step is its own."""

    def __call__(self, moves: Moves, potential: Potential, noise: Noise) -> PerChain:
        """Change `moves`; the loss before."""
        ...


class SGLD:
    """w <- w - eps/2 grad U + sqrt(eps) noise (Welling and Teh, 2011)."""

    def __init__(self, step_size: PerPoint) -> None:
        self.drift, self.scale = -step_size / 2, step_size.sqrt()

    def __call__(self, moves: Moves, potential: Potential, noise: Noise) -> PerChain:
        """As `Sampler`."""
        loss, gradient = potential(moves)
        moves.addcmul_(gradient, self.drift).addcmul_(noise, self.scale)
        return loss


class RMSPropSGLD:
    """SGLD with the step size of each parameter scaled by G = 1 / (sqrt(v) + damping).

    v is a running mean of the squared gradient of U / nbeta (Li et al., 2016, arXiv 1512.07666,
    algorithm 1, without its curvature term: what it samples is biased by how G changes).
    """

    def __init__(
        self, step_size: PerPoint, nbeta: PerPoint, *, decay: float = 0.99, damping: float = 0.1
    ) -> None:
        self.step_size, self.nbeta = step_size, nbeta
        self.decay, self.damping = decay, damping
        self.square: Tensor | None = None

    def __call__(self, moves: Moves, potential: Potential, noise: Noise) -> PerChain:
        """As `Sampler`."""
        loss, gradient = potential(moves)
        if self.square is None:
            self.square = torch.zeros_like(moves)
        scaled = gradient / self.nbeta
        self.square.mul_(self.decay).addcmul_(scaled, scaled, value=1 - self.decay)
        step_size = self.step_size / self.square.sqrt().add_(self.damping)
        moves.addcmul_(gradient, step_size, value=-0.5).addcmul_(noise, step_size.sqrt())
        return loss


class SGNHT:
    """The stochastic gradient Nose-Hoover thermostat (Ding et al., 2014).

    With eta = eps / 2, momentum u, thermostat xi and diffusion a:
    u <- u - eta grad U - xi u + sqrt(2 a eta) noise, w <- w + u, xi <- xi + mean(u^2) - eta.
    """

    def __init__(self, step_size: PerPoint, *, diffusion: float = 0.1) -> None:
        self.eta, self.diffusion = step_size / 2, diffusion
        self.momentum: Tensor | None = None
        self.thermostat: Tensor | None = None

    def __call__(self, moves: Moves, potential: Potential, noise: Noise) -> PerChain:
        """As `Sampler`."""
        loss, gradient = potential(moves)
        if self.momentum is None or self.thermostat is None:
            self.momentum = noise * self.eta.sqrt()
            self.thermostat = torch.full_like(moves[..., :1], self.diffusion)
        self.momentum.mul_(1 - self.thermostat).addcmul_(gradient, -self.eta)
        self.momentum.addcmul_(noise, (2 * self.diffusion * self.eta).sqrt())
        moves.add_(self.momentum)
        self.thermostat.add_(self.momentum.square().mean(dim=-1, keepdim=True) - self.eta)
        return loss


class MALA:
    """SGLD whose step is a proposal, accepted or rejected (Roberts and Tweedie, 1996).

    It needs the loss on all examples, and leaves exp(-U) exactly as it is. `acceptance` has the
    probabilities of all steps so far, added up.
    """

    def __init__(
        self,
        step_size: PerPoint,
        nbeta: PerPoint,
        localization: float,
        uniform: Callable[[], Float[Tensor, "chain"]],
    ) -> None:
        self.step_size, self.nbeta = step_size, nbeta[..., 0]
        self.localization, self.uniform = localization, uniform
        self.kept: tuple[Tensor, Tensor] | None = None
        self.acceptance: Tensor | float = 0.0

    def __call__(self, moves: Moves, potential: Potential, noise: Noise) -> PerChain:
        """As `Sampler`."""
        loss, gradient = self.kept or potential(moves)
        proposal = moves.addcmul(gradient, self.step_size, value=-0.5)
        proposal.addcmul_(noise, self.step_size.sqrt())
        new_loss, new_gradient = potential(proposal)
        back = moves - proposal.addcmul(new_gradient, self.step_size, value=-0.5)
        log_ratio = self._energy(loss, moves) - self._energy(new_loss, proposal)
        log_ratio -= back.square().sum(-1) / (2 * self.step_size[..., 0])
        log_ratio += noise.square().sum(-1) / 2
        probability = log_ratio.clamp(max=0).exp().nan_to_num()
        self.acceptance = self.acceptance + probability
        taken = self.uniform() < probability
        moves.copy_(torch.where(taken[..., None], proposal, moves))
        self.kept = (
            torch.where(taken, new_loss, loss),
            torch.where(taken[..., None], new_gradient, gradient),
        )
        return loss

    def _energy(self, loss: PerChain, moves: Moves) -> PerChain:
        return self.nbeta * loss + self.localization / 2 * moves.square().sum(dim=-1)
