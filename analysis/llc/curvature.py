"""How the loss bends, and whether w* is a minimum of it."""

from math import ceil

import torch
from jaxtyping import Float64, Int64
from torch import Tensor

from analysis.llc.draws import Draws
from analysis.llc.posterior import Posterior
from analysis.llc.sampler import Moves, PerChain, PerPoint

CURVED_EXAMPLES = 2048
"""Examples whose curvature is measured, at most."""
POWER_STEPS = 20
PROBES = 32
FLOW_STEPS = 500
"""Steps of a descent, at most."""
BESIDE = 1e-3
"""Where a descent begins, in widths of the posterior's narrowest direction."""


def largest_curvature(
    posterior: Posterior, moves: Moves, scale: PerPoint, metric: Moves | None = None, *, seed: int
) -> PerChain:
    """The largest eigenvalue of the loss's Hessian where each chain is, by power iteration.

    Products with the Hessian are by gradients at a distance `scale` to either side, the square root
    of the step size, say: what the loss is like below that does not concern a chain.
    With a metric G it is that of sqrt(G) H sqrt(G), as a preconditioned chain sees it.
    """
    root = 1.0 if metric is None else metric.sqrt()
    n_examples = posterior.landscape.n_examples
    generator = torch.Generator().manual_seed(seed)
    some = torch.randperm(n_examples, generator=generator)[None, :CURVED_EXAMPLES].to(moves.device)
    direction = torch.randn(moves.shape[1:], generator=generator).to(moves).expand_as(moves)
    size = torch.zeros_like(moves[..., :1])
    for _ in range(POWER_STEPS):
        direction = direction / direction.norm(dim=-1, keepdim=True).clamp(min=1e-30)
        product = root * _hessian_product(posterior, moves, root * direction, scale, some)
        size = (direction * product).sum(dim=-1, keepdim=True)
        direction = product
    return size[..., 0]


def hessian_trace(posterior: Posterior, moves: Moves, scale: PerPoint, *, seed: int) -> PerChain:
    """The trace of the loss's Hessian where each chain is, by Hutchinson's estimator.

    The mean of v.Hv over random signs v; `scale` as in `largest_curvature`.
    """
    generator = torch.Generator().manual_seed(seed)
    total = torch.zeros_like(moves[..., 0])
    for _ in range(PROBES):
        signs = torch.randint(0, 2, moves.shape[1:], generator=generator).mul(2).sub(1).to(moves)
        unit = (signs / signs.shape[-1] ** 0.5).expand_as(moves)
        product = _hessian_product(posterior, moves, unit, scale, posterior.everything)
        total += (unit * product).sum(dim=-1) * signs.shape[-1]
    return total / PROBES


def _hessian_product(
    posterior: Posterior,
    moves: Moves,
    direction: Moves,
    scale: PerPoint,
    examples: Int64[Tensor, "1 example"],
) -> Moves:
    """The Hessian of the loss times a direction, by gradients at a distance to either side."""
    ahead = posterior.loss_and_gradient(moves + scale * direction, examples)[1]
    behind = posterior.loss_and_gradient(moves - scale * direction, examples)[1]
    return (ahead - behind) / (2 * scale)


def minibatch_variance(
    posterior: Posterior, moves: Moves, draws: Draws, *, repeats: int = 4
) -> PerChain:
    """E |g_B - g|^2 of the gradients g_B of the loss on minibatches, where each chain is.

    Half the mean squared difference of the gradients of two of them.
    """
    found = torch.zeros(moves.shape[:2], dtype=torch.float64, device=moves.device)
    for _ in range(repeats):
        one, other = (posterior.loss_and_gradient(moves, draws.examples())[1] for _ in range(2))
        found += (one - other).double().square().sum(dim=-1) / 2
    return found / repeats


def predicted_drop(
    posterior: Posterior,
    time: Float64[Tensor, "point"],
    stiffness: Float64[Tensor, "point"],
    initial_loss: Float64[Tensor, "point"],
    *,
    seed: int,
) -> Float64[Tensor, "point"]:
    """nbeta (L(w*) - L(w)), where w is as far as the chains' drift alone carries from w*.

    The flow dw/dt = -grad (nbeta L + gamma / 2 |w - w*|^2) is followed for the time that the chains
    run (of SGLD steps x eps / 2), in steps of 1 / `stiffness`, at which it is stable; `FLOW_STEPS`
    at most. It begins a little beside w*, so as to leave a saddle. Where w* is a minimum nothing is
    gained; NaN where the flow diverges.
    """
    moves = posterior.start(1)
    generator = torch.Generator().manual_seed(seed)
    n_steps = min(FLOW_STEPS, max(1, ceil(float((time * stiffness).max()))))
    step = torch.minimum(1 / stiffness, time / n_steps).to(moves)[:, None, None]
    moves += BESIDE * step.sqrt() * torch.randn(moves.shape[1:], generator=generator).to(moves)
    for _ in range(n_steps):
        _, gradient = posterior.potential(moves, posterior.everything)
        moves.addcmul_(gradient, step, value=-1)
    last = posterior.losses(moves, posterior.everything).double().mean(dim=(1, 2)).cpu()
    return (initial_loss - last) * posterior.nbeta[:, 0, 0].cpu()
