"""A group's tensors as the measurements need them, computed once for each group and device."""

from dataclasses import dataclass
from functools import lru_cache

import torch
from jaxtyping import Float64, Int64
from torch import Tensor

from tasks.groups import finite_group, fourier_basis, irreps


@dataclass(frozen=True, eq=False)
class Harmonics:
    """Fourier analysis on a group G with n elements.

    The characters chi_k, the orthonormal basis of each isotypic space, and the products of
    elements that sums over all pairs are ordered by. Irreps are in the order of `irreps(group)`,
    the trivial one first; a mode is a column of the basis.
    """

    names: tuple[str, ...]
    """Canonical names of the irreps."""
    characters: Float64[Tensor, "irrep element"]
    basis: Float64[Tensor, "element mode"]
    blocks: tuple[slice, ...]
    """The modes of each irrep."""
    irrep_of_mode: Int64[Tensor, "mode"]
    dimensions: Float64[Tensor, "irrep"]
    """d, over the reals."""
    endomorphisms: Float64[Tensor, "irrep"]
    """c: 1, 2 or 4 for irreps of real, complex or quaternionic type."""
    table: Int64[Tensor, "g h"]
    """gh."""
    quotients: Int64[Tensor, "g h"]
    """g h^-1."""
    second_operand: Int64[Tensor, "g a"]
    """The b with ab = g."""

    @property
    def order(self) -> int:
        """n."""
        return len(self.table)

    def pairs(self, products: Int64[Tensor, "product"]) -> Int64[Tensor, "product a"]:
        """The positions a n + b of the pairs with these products."""
        first = torch.arange(self.order, device=products.device)
        return first * self.order + self.second_operand[products]

    def energy(self, functions: Float64[Tensor, "element width"]) -> Float64[Tensor, "irrep"]:
        """Squared norm of the part of functions on the group in each isotypic space."""
        return self.by_irrep((self.basis.T @ functions).square().sum(dim=1))

    def by_irrep(self, values: Float64[Tensor, "mode"]) -> Float64[Tensor, "irrep"]:
        """Sums over the modes of each irrep."""
        sums = values.new_zeros(len(self.names))
        return sums.index_add(0, self.irrep_of_mode, values)

    def mask(self, names: tuple[str, ...]) -> Float64[Tensor, "irrep"]:
        """1 for the irreps named, 0 for the others."""
        chosen = [float(name in names) for name in self.names]
        return torch.tensor(chosen, dtype=torch.float64, device=self.table.device)


@lru_cache(maxsize=8)
def harmonics(definition: str, device: torch.device) -> Harmonics:
    """The harmonics of `finite_group(definition)` on a device."""
    group = finite_group(definition)
    representations, basis = irreps(group), fourier_basis(group)

    def per_irrep(values: list[int]) -> Tensor:
        return torch.tensor(values, dtype=torch.float64, device=device)

    return Harmonics(
        names=tuple(irrep.name for irrep in representations),
        characters=torch.stack([irrep.character for irrep in representations]).to(device),
        basis=basis.matrix.to(device),
        blocks=basis.blocks,
        irrep_of_mode=basis.irrep_index.to(device),
        dimensions=per_irrep([irrep.dimension for irrep in representations]),
        endomorphisms=per_irrep([irrep.endomorphism_dimension for irrep in representations]),
        table=group.table.to(device),
        quotients=group.table[:, group.inverses].to(device),
        second_operand=group.table[group.inverses].T.contiguous().to(device),
    )
