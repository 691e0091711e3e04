"""One real irreducible representation, its type, and the order in which irreps are listed."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import torch
from jaxtyping import Float64
from torch import Tensor

from tasks.groups.group import FiniteGroup

Kind = Literal["real", "complex", "quaternionic"]

_ENDOMORPHISM_DIMENSION: dict[Kind, int] = {"real": 1, "complex": 2, "quaternionic": 4}

# (<chi, chi>, Frobenius-Schur indicator) of an irrep over R. Over C it stays irreducible (real),
# is psi + conj(psi) (complex) or 2 psi (quaternionic), and the indicators of psi are 1, 0, -1:
# Serre, Linear Representations of Finite Groups, section 13.2.
_KINDS: dict[tuple[int, int], Kind] = {(1, 1): "real", (2, 0): "complex", (4, -2): "quaternionic"}


@dataclass(frozen=True, eq=False, repr=False)
class Irrep:
    """A real irreducible representation of a group, orthogonal, in float64.

    Attributes:
        name: canonical, such as "standard", "freq_3", "[3,2]", "5d_a".
        dimension: d, over the reals.
        kind: by the endomorphisms that commute with it: the reals, the complex numbers or the
            quaternions.
        matrices: `matrices[table[a, b]] == matrices[a] @ matrices[b]`, each orthogonal.
        character: trace of each matrix.
        published_name: in the results of arXiv 2302.03025; None where they had none.
    """

    name: str
    dimension: int
    kind: Kind
    matrices: Float64[Tensor, "element d d"]
    character: Float64[Tensor, "element"]
    published_name: str | None = None

    @property
    def endomorphism_dimension(self) -> int:
        """c = <chi, chi>: 1, 2 or 4 for real, complex and quaternionic type."""
        return _ENDOMORPHISM_DIMENSION[self.kind]

    @property
    def rank(self) -> int:
        """d^2 / c: dimension of the isotypic space in the functions on the group."""
        return self.dimension**2 // self.endomorphism_dimension

    def __repr__(self) -> str:
        return f"Irrep({self.name!r}, dimension={self.dimension}, kind={self.kind!r})"


class IrrepError(ArithmeticError):
    """Matrices that should have been irreps, all of them, are not: a defect of ours."""


def irrep_from_matrices(
    group: FiniteGroup,
    name: str,
    matrices: Float64[Tensor, "element d d"],
    published_name: str | None = None,
) -> Irrep:
    """The irrep with these matrices; its kind follows from the character.

    Raises:
        IrrepError: the character is not that of a real irreducible representation.
    """
    character = matrices.diagonal(dim1=1, dim2=2).sum(dim=1)
    norm, indicator = _norm_and_indicator(group, character)
    kind = _KINDS.get((round(norm), round(indicator)))
    if kind is None or max(abs(norm - round(norm)), abs(indicator - round(indicator))) > 1e-6:
        raise IrrepError(
            f"{name} of {group.name} is not irreducible over the reals: "
            f"<chi, chi> = {norm:.6g}, Frobenius-Schur indicator {indicator:.6g}"
        )
    return Irrep(name, matrices.shape[-1], kind, matrices, character, published_name)


def _norm_and_indicator(
    group: FiniteGroup, character: Float64[Tensor, "element"]
) -> tuple[float, float]:
    """<chi, chi> and the mean of chi(g^2)."""
    squares = group.table.diagonal()
    return float(character @ character) / group.order, float(character[squares].mean())


def check_complete(group: FiniteGroup, irreps: Sequence[Irrep]) -> None:
    """Every real irrep is there, once: distinct characters, and ranks that sum to the order.

    Raises:
        IrrepError: one is missing or stands twice.
    """
    ranks = sum(irrep.rank for irrep in irreps)
    characters = torch.stack([irrep.character for irrep in irreps])
    overlaps = (characters @ characters.T / group.order).fill_diagonal_(0).abs().max()
    if ranks != group.order or overlaps > 1e-6:
        raise IrrepError(
            f"the irreps of {group.name} are not complete: their ranks sum to {ranks}, "
            f"the order is {group.order}; largest overlap of characters {float(overlaps):.2g}"
        )


def named_by_dimension(irreps: Iterable[Irrep]) -> list[Irrep]:
    """The irreps with names `{dimension}d_{letter}`, lettered in the order given."""
    count: dict[int, int] = {}
    named = []
    for irrep in irreps:
        count[irrep.dimension] = count.get(irrep.dimension, 0) + 1
        letters = _letters(count[irrep.dimension])
        named.append(replace(irrep, name=f"{irrep.dimension}d_{letters}"))
    return named


def by_dimension_and_character(irrep: Irrep) -> tuple:
    """Sort key of irreps that have no better order.

    Dimension, then kind (real, complex, quaternionic), then the character as a list over the
    elements, the larger first (which puts the trivial irrep before all others).
    """
    character = [-round(value, 6) for value in irrep.character.tolist()]
    return irrep.dimension, irrep.endomorphism_dimension, character


def _letters(count: int) -> str:
    """1 -> a, 26 -> z, 27 -> aa, as spreadsheet columns."""
    letters = ""
    while count:
        count, letter = divmod(count - 1, 26)
        letters = chr(ord("a") + letter) + letters
    return letters
