"""How a chain moves: stochastic gradient Langevin dynamics and its relatives.

All sample exp(-U), U = nbeta L(w) + gamma / 2 |w - w*|^2. They change moves [point, chain, move]
in place and return the loss L where they began. Step sizes eps have the shape [point, 1, 1].
"""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

Moves = Float[Tensor, "point chain move"]
Noise = Float[Tensor, "chain move"]
PerPoint = Float[Tensor, "point 1 1"]
PerChain = Float[Tensor, "point chain"]
Potential = Callable[[Moves], tuple[PerChain, Moves]]
"""From moves to the loss L and the gradient of U."""


Sampler = Callable[[Moves, Potential, Noise], PerChain]
"""What takes a step of every chain; what it remembers from step to step is its own."""


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

    v is a running mean of the squared gradient of U / nbeta (Li et al., 2016, arXiv 1512.07666).
    It is held from the middle of burn-in on: while G follows a chain about, the chain stays where G
    is small, and the term that makes up for that takes third derivatives of the loss.
    """

    def __init__(
        self,
        step_size: PerPoint,
        nbeta: PerPoint,
        burn_in: int,
        *,
        decay: float = 0.99,
        damping: float = 0.1,
    ) -> None:
        self.step_size, self.nbeta, self.adapts = step_size, nbeta, max(1, burn_in // 2)
        self.decay, self.damping = decay, damping
        self.square: Tensor | None = None

    @property
    def metric(self) -> Moves:
        """G."""
        assert self.square is not None
        return 1 / (self.square.sqrt() + self.damping)

    def __call__(self, moves: Moves, potential: Potential, noise: Noise) -> PerChain:
        """As `Sampler`."""
        loss, gradient = potential(moves)
        if self.square is None:
            self.square = torch.zeros_like(moves)
        if self.adapts > 0:
            self.adapts -= 1
            scaled = gradient / self.nbeta
            self.square.mul_(self.decay).addcmul_(scaled, scaled, value=1 - self.decay)
            self.scaled_step = self.step_size * self.metric
        moves.addcmul_(gradient, self.scaled_step, value=-0.5)
        moves.addcmul_(noise, self.scaled_step.sqrt())
        return loss


class SGNHT:
    """The stochastic gradient Nose-Hoover thermostat (Ding et al., 2014), split symmetrically.

    Momentum u, thermostat xi and diffusion A follow du = -grad U dt - xi u dt + sqrt(2 A) dW,
    dw = u dt, dxi = gamma (mean(u^2) - 1) dt, in steps of sqrt(eps), by the scheme BADODAB
    (Leimkuhler and Shang, 2016, arXiv 1505.06889): without bias of the step where U is quadratic.
    Noise in the gradient, which heats, raises xi, which cools. A is sqrt(gamma), so that a flat
    direction forgets where it was in 2 / sqrt(eps gamma) steps, where SGLD takes 2 / (eps gamma).
    """

    def __init__(self, step_size: PerPoint, localization: float) -> None:
        self.time, self.localization = step_size.sqrt(), localization
        self.diffusion = localization**0.5
        self.momentum: Tensor | None = None
        self.thermostat: Tensor | None = None
        self.friction: Tensor = torch.zeros(())
        """The thermostat at all steps so far, added up."""

    def __call__(self, moves: Moves, potential: Potential, noise: Noise) -> PerChain:
        """As `Sampler`."""
        loss, gradient = potential(moves)
        if self.momentum is None or self.thermostat is None:
            self.momentum = noise.expand_as(moves).clone()
            self.thermostat = torch.full_like(moves[..., :1], self.diffusion)
        self.momentum.addcmul_(gradient, -self.time)
        moves.addcmul_(self.momentum, self.time / 2)
        self._follow_heat(self.momentum, self.thermostat)
        lost = torch.expm1(-2 * self.thermostat * self.time)
        spread = (self.diffusion * -lost / self.thermostat).sqrt()
        self.momentum.mul_((1 + lost).sqrt()).addcmul_(noise, spread)
        self._follow_heat(self.momentum, self.thermostat)
        moves.addcmul_(self.momentum, self.time / 2)
        self.friction = self.friction + self.thermostat[..., 0]
        return loss

    def _follow_heat(self, momentum: Moves, thermostat: Float[Tensor, "point chain 1"]) -> None:
        heat = (
            torch.linalg.vector_norm(momentum, dim=-1, keepdim=True).square() / momentum.shape[-1]
        )
        thermostat.add_((heat - 1) * (self.localization * self.time / 2))


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
        self.acceptance: Tensor = torch.zeros(())

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
