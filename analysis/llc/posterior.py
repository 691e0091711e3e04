"""The tempered posterior about a landscape's centres, exp(-nbeta L(w) - gamma / 2 |w - w*|^2)."""

from dataclasses import dataclass

import torch
from jaxtyping import Int64
from torch import Tensor

from analysis.llc.landscape import Landscape, Losses
from analysis.llc.restriction import Restriction
from analysis.llc.sampler import Moves, PerChain, PerPoint

BYTES_AT_ONCE = 2**26
"""Of what a gradient keeps; more than fits a processor's caches makes it slower."""
CUDA_BYTES_AT_ONCE = 2**32


@dataclass(frozen=True, eq=False)
class Posterior:
    """What is sampled: where, in which directions, how sharply."""

    landscape: Landscape
    restriction: Restriction
    nbeta: PerPoint
    localization: float

    def start(self, chains: int) -> Moves:
        """Every chain at its centre."""
        centres = self.landscape.centres
        return centres.new_zeros(len(centres), chains, self.restriction.size(centres.shape[1]))

    @property
    def everything(self) -> Int64[Tensor, "1 example"]:
        """All examples."""
        n_examples = self.landscape.n_examples
        return torch.arange(n_examples, device=self.landscape.centres.device)[None]

    def potential(
        self, moves: Moves, examples: Int64[Tensor, "chain_or_1 example"]
    ) -> tuple[PerChain, Moves]:
        """The mean loss of some examples, and the gradient of nbeta L + gamma / 2 |w - w*|^2."""
        loss, gradient = self.loss_and_gradient(moves, examples)
        return loss, gradient.mul_(self.nbeta).add_(moves, alpha=self.localization)

    def loss_and_gradient(
        self, moves: Moves, examples: Int64[Tensor, "chain_or_1 example"]
    ) -> tuple[PerChain, Moves]:
        """The mean loss of some examples, and its gradient."""
        total, gradient = None, None
        for part in examples.split(self._at_once(moves), dim=1):
            at = moves.detach().requires_grad_()
            share = self._losses(at, part).mean(dim=-1) * (part.shape[1] / examples.shape[1])
            (found,) = torch.autograd.grad(share.sum(), at)
            total = share.detach() if total is None else total + share.detach()
            gradient = found.contiguous() if gradient is None else gradient.add_(found)
        assert total is not None and gradient is not None
        return total, gradient

    @torch.no_grad()
    def losses(self, moves: Moves, examples: Int64[Tensor, "chain_or_1 example"]) -> Losses:
        """The loss of each example."""
        parts = examples.split(self._at_once(moves), dim=1)
        return torch.cat([self._losses(moves, part) for part in parts], dim=-1)

    def _losses(self, moves: Moves, examples: Int64[Tensor, "chain_or_1 example"]) -> Losses:
        weights = self.restriction.weights(self.landscape.centres, moves)
        return self.landscape.losses(weights, examples)

    def _at_once(self, moves: Moves) -> int:
        """Examples whose gradient is computed together."""
        most = CUDA_BYTES_AT_ONCE if moves.is_cuda else BYTES_AT_ONCE
        rows = moves.shape[0] * moves.shape[1]
        return max(1, most // max(1, rows * self.landscape.bytes_per_example))
