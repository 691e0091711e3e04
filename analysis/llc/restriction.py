"""Which directions of parameter space a chain may move in.

With all others held, the learning coefficient is the weight-refined one of Wang et al. (2024),
arXiv 2410.02984. A chain's place is given by its move from w*, in coordinates of which there are
as many as directions, orthonormal, so that its distance from w* is that of its moves from 0.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int64
from torch import Tensor


@dataclass(frozen=True, eq=False)
class Restriction:
    """Some parameters may move, alone or in a subspace; all others stay, bit by bit.

    Attributes:
        name: what moves, such as `all` or `l0h1`.
        index: the parameters that move, each once; None for all of them.
        basis: orthonormal directions of `index`, in place of all of them. It acts on the leading
            axis of the moved parameters, seen as [token, rest] (after `index` has ordered them).
    """

    name: str = "all"
    index: Int64[Tensor, "moved"] | None = None
    basis: Float[Tensor, "token direction"] | None = None

    def size(self, n_parameters: int) -> int:
        """How many coordinates a move has."""
        moved = n_parameters if self.index is None else len(self.index)
        if self.basis is None:
            return moved
        n_tokens, n_directions = self.basis.shape
        return moved // n_tokens * n_directions

    def weights(
        self, centres: Float[Tensor, "point parameter"], moves: Float[Tensor, "point chain move"]
    ) -> Float[Tensor, "point chain parameter"]:
        """The parameters after a move from each centre."""
        if self.basis is not None:
            by_direction = moves.unflatten(-1, (self.basis.shape[1], -1))
            moves = (self.basis.to(moves) @ by_direction).flatten(-2)
        if self.index is None:
            return centres[:, None] + moves
        whole = centres[:, None].expand(-1, moves.shape[1], -1)
        return whole.index_add(-1, self.index.to(moves.device), moves)


def positions(layout: Mapping[str, torch.Size]) -> dict[str, Int64[Tensor, "..."]]:
    """Where the entries of each parameter are in the flat vector, in the parameter's own shape."""
    sizes = [shape.numel() for shape in layout.values()]
    pieces = torch.arange(sum(sizes)).split(sizes)
    return {name: p.view(shape) for (name, shape), p in zip(layout.items(), pieces, strict=True)}
