"""Fourier analysis on a finite group over the reals: isotypic spaces and a basis for each.

All of it rests on the matrix M[g, ij] = rho_ij(g) of an irrep, for which M M^T = chi(g^-1 h).
With d the dimension, c the dimension of the endomorphisms and n the order, (d / cn) M M^T is the
orthogonal projection on the isotypic space (Serre, section 2.6, with c for the real forms).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate, pairwise
from math import sqrt

import torch
from jaxtyping import Float, Float64, Int64
from torch import Tensor

from tasks.groups.group import FiniteGroup
from tasks.groups.irrep import Irrep


@dataclass(frozen=True, eq=False, repr=False)
class FourierBasis:
    """An orthonormal basis of the functions on a group, grouped by irrep.

    Attributes:
        matrix: orthogonal; each column is a function on the group, in one isotypic space. For an
            irrep of real type they are sqrt(d / n) rho_ij, row by row.
        blocks: the columns of each irrep, in the order of `irreps(group)`.
    """

    matrix: Float64[Tensor, "element element"]
    blocks: tuple[slice, ...]

    @cached_property
    def irrep_index(self) -> Int64[Tensor, "element"]:
        """For each column, the position of its irrep in `irreps(group)`."""
        sizes = torch.tensor([block.stop - block.start for block in self.blocks])
        return torch.repeat_interleave(sizes)


def blocks_of(irreps: Sequence[Irrep]) -> tuple[slice, ...]:
    """The columns of each irrep: as many as its rank, one irrep after another."""
    ends = accumulate((irrep.rank for irrep in irreps), initial=0)
    return tuple(slice(start, stop) for start, stop in pairwise(ends))


def basis_of(irreps: Sequence[Irrep]) -> FourierBasis:
    """The Fourier basis of a group from its complete list of irreps."""
    matrix = torch.cat([_isotypic_basis(irrep) for irrep in irreps], dim=1)
    return FourierBasis(matrix, blocks_of(irreps))


def _isotypic_basis(irrep: Irrep) -> Float64[Tensor, "element rank"]:
    """Left singular vectors of M, whose singular values are sqrt(cn / d) or zero."""
    entries = irrep.matrices.flatten(1)
    scale = sqrt(irrep.dimension / irrep.endomorphism_dimension / len(entries))
    if irrep.kind == "real":
        return scale * entries
    _, right = torch.linalg.eigh(entries.T @ entries)  # ascending: the non-zero ones are last
    return scale * entries @ right[:, -irrep.rank :]


def isotypic_projection(
    irrep: Irrep, group: FiniteGroup, x: Float[Tensor, "element *rest"]
) -> Float[Tensor, "element *rest"]:
    """Orthogonal projection of functions on the group onto the isotypic space of an irrep.

    P[g, h] = d / (cn) chi(g^-1 h), applied as (d / cn) M (M^T x); right for every type.

    Args:
        irrep: one of `irreps(group)`.
        group: the group.
        x: functions on the group along the first axis, any dtype and device.
    """
    entries = irrep.matrices.flatten(1).to(x)
    scale = irrep.dimension / (irrep.endomorphism_dimension * group.order)
    columns = x.reshape(group.order, -1)
    return (scale * entries @ (entries.T @ columns)).reshape(x.shape)
