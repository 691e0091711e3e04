"""The irreps of any group, from the regular representation.

(L_g f)(h) = f(g^-1 h) commutes with every matrix C[h, k] = c[h^-1 k]. For a random c with
c[g] = c[g^-1] that matrix is symmetric, and its eigenspaces are irreducible over the reals, each
irrep occurring as often as its multiplicity d / (endomorphism dimension). (J. Dixon, Computing
irreducible representations of groups, Mathematics of Computation 24, 1970, has the idea.)
"""

from collections.abc import Iterator
from dataclasses import replace

import torch
from jaxtyping import Float64
from torch import Tensor

from tasks.groups.group import FiniteGroup
from tasks.groups.irrep import (
    Irrep,
    IrrepError,
    by_dimension_and_character,
    irrep_from_matrices,
    named_by_dimension,
)

# Eigenvalues, in units of the largest, closer than _EQUAL are one; further apart than _DISTINCT
# they are two, with eigenvectors good to about 1e-16 / _DISTINCT. A gap between is a bad draw.
_EQUAL, _DISTINCT = 1e-10, 1e-6
_DRAWS = 20
_ELEMENTS_AT_ONCE = 2**24  # float64 numbers in a chunk: 128 MiB


def irreps_from_commutant(group: FiniteGroup, seed: int = 0) -> list[Irrep]:
    """All real irreps: trivial, then `{dimension}d_{letter}`, sorted as
    `by_dimension_and_character` says.

    Takes time cubic in the order: a tenth of a second at 360, a minute at 5040.

    Raises:
        IrrepError: no random draw had well separated eigenvalues.
    """
    subspaces: dict[bytes, Float64[Tensor, "element d"]] = {}
    for basis in _irreducible_subspaces(group, torch.Generator().manual_seed(seed)):
        subspaces.setdefault(_character_key(group, basis), basis)
    irreps = [
        irrep_from_matrices(group, "subspace", _matrices(group, basis))
        for basis in subspaces.values()
    ]
    trivial, *others = sorted(irreps, key=by_dimension_and_character)
    return [replace(trivial, name="trivial"), *named_by_dimension(others)]


def _irreducible_subspaces(
    group: FiniteGroup, generator: torch.Generator
) -> Iterator[Float64[Tensor, "element d"]]:
    """Orthonormal bases of irreducible subspaces of the regular representation that sum to it."""
    quotients = group.table[group.inverses]  # [h, k] = h^-1 k
    for _ in range(_DRAWS):
        c = torch.randn(group.order, generator=generator, dtype=torch.float64)
        values, vectors = torch.linalg.eigh((c + c[group.inverses])[quotients])
        gaps = values.diff() / values.abs().max()
        if not ((gaps > _EQUAL) & (gaps < _DISTINCT)).any():
            sizes = (gaps > _EQUAL).nonzero().squeeze(1) + 1
            yield from vectors.tensor_split(sizes, dim=1)
            return
    raise IrrepError(f"{group.name}: near-degenerate eigenvalues in each of {_DRAWS} random draws")


def _character_key(group: FiniteGroup, basis: Float64[Tensor, "element d"]) -> bytes:
    """The character of L on the subspace, rounded.

    The projector on it is p[h^-1 k], so that chi(g) = sum over h of p[h^-1 g h], the order times
    the mean of p over the class of g.
    """
    p = basis @ basis[group.identity]
    sums = torch.zeros(len(group.class_sizes), dtype=torch.float64).index_add_(0, group.classes, p)
    rounded = (sums / group.class_sizes * group.order * 1e4).round().long()
    return rounded.numpy().tobytes()


def _matrices(
    group: FiniteGroup, basis: Float64[Tensor, "element d"]
) -> Float64[Tensor, "element d d"]:
    """V^T L_g V for each g, with (L_g V)[h] = V[g^-1 h]."""
    shifts = group.table[group.inverses]  # [g, h] = g^-1 h
    chunk = max(1, _ELEMENTS_AT_ONCE // basis.numel())
    return torch.cat([basis.T @ basis[rows] for rows in shifts.split(chunk)])
