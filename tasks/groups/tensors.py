"""The tensors of a group, each computed once: irreps and Fourier basis, from the cache on disk."""

import json
from collections.abc import Callable
from difflib import get_close_matches
from functools import lru_cache

import torch
from torch import Tensor

from tasks.groups.alternating import alternating_irreps
from tasks.groups.cache import Contents, load_or_compute
from tasks.groups.commutant import irreps_from_commutant
from tasks.groups.families import member_of
from tasks.groups.fourier import FourierBasis, basis_of, blocks_of
from tasks.groups.group import FiniteGroup
from tasks.groups.irrep import Irrep, check_complete
from tasks.groups.rotations import cyclic_irreps, dihedral_irreps
from tasks.groups.young import symmetric_irreps

_CLOSED_FORMS: dict[str, Callable[[FiniteGroup, int], list[Irrep]]] = {
    "C": cyclic_irreps,
    "D": dihedral_irreps,
    "S": symmetric_irreps,
    "A": alternating_irreps,
}
_LARGEST_STORED_CLOSED_FORM = 1000  # beyond, computing S7 (0.4 s) beats reading its 450 MB


class UnknownIrrepError(ValueError):
    """The group has no irrep of this name; the message says which it has."""


@lru_cache(maxsize=32)
def irreps(group: FiniteGroup) -> tuple[Irrep, ...]:
    """The complete list of real irreducible representations, the trivial one first.

    The order is the published one where there is one, and else that of the closed form
    (`rotations`, `young`, `alternating`) or of `irreps_from_commutant`. Read from the cache on
    disk where that pays. The tensors are shared: do not write to them.
    """
    return _unpacked(_stored(group)) if _is_stored(group) else computed_irreps(group)


@lru_cache(maxsize=32)
def fourier_basis(group: FiniteGroup) -> FourierBasis:
    """An orthonormal basis of the functions on the group, in blocks by `irreps(group)`."""
    if not _is_stored(group):
        return basis_of(irreps(group))
    return FourierBasis(_stored(group).tensors["basis"], blocks_of(irreps(group)))


def find_irrep(group: FiniteGroup, name: str) -> Irrep:
    """The irrep with this canonical or published name.

    Raises:
        UnknownIrrepError: there is none; the message names the nearest.
    """
    by_name = {i.published_name: i for i in irreps(group) if i.published_name}
    by_name |= {irrep.name: irrep for irrep in irreps(group)}
    if name not in by_name:
        nearest = get_close_matches(name, by_name, n=1, cutoff=0)[0]
        canonical = [irrep.name for irrep in irreps(group)]
        shown = canonical if len(canonical) <= 12 else [*canonical[:11], "...", canonical[-1]]
        raise UnknownIrrepError(
            f"{group.name} has no irrep {name!r}; nearest is {nearest}. It has {', '.join(shown)}"
        )
    return by_name[name]


def computed_irreps(group: FiniteGroup) -> tuple[Irrep, ...]:
    """The irreps by the closed form of the group's family, or by the general algorithm."""
    member = member_of(group)
    if member and member.family in _CLOSED_FORMS:
        found = _CLOSED_FORMS[member.family](group, member.size)
    else:
        found = irreps_from_commutant(group)
    check_complete(group, found)
    return tuple(found)


def _is_stored(group: FiniteGroup) -> bool:
    """Whether reading the irreps from disk is no slower than computing them."""
    member = member_of(group)
    has_closed_form = member is not None and member.family in _CLOSED_FORMS
    return not has_closed_form or group.order <= _LARGEST_STORED_CLOSED_FORM


@lru_cache(maxsize=32)
def _stored(group: FiniteGroup) -> Contents:
    return load_or_compute(group, lambda: _packed(computed_irreps(group)))


def _packed(found: tuple[Irrep, ...]) -> Contents:
    tensors: dict[str, Tensor] = {"basis": basis_of(found).matrix}
    tensors["characters"] = torch.stack([irrep.character for irrep in found])
    tensors |= {f"matrices/{irrep.name}": irrep.matrices for irrep in found}
    described = [(irrep.name, irrep.kind, irrep.published_name) for irrep in found]
    return Contents(tensors, {"irreps": json.dumps(described)})


def _unpacked(contents: Contents) -> tuple[Irrep, ...]:
    matrices = {name: contents.tensors[f"matrices/{name}"] for name, _, _ in _described(contents)}
    characters = contents.tensors["characters"]
    return tuple(
        Irrep(name, matrices[name].shape[-1], kind, matrices[name], character, published_name)
        for (name, kind, published_name), character in zip(
            _described(contents), characters, strict=True
        )
    )


def _described(contents: Contents) -> list:
    return json.loads(contents.notes["irreps"])
