"""Isotypic subspaces of the matrices that have an axis of group elements, and random ones.

Moves of such a matrix W [element, width] are in V (x) R^width, for a space V of functions on the
group. The isotypic space of an irrep is one V for first operand, second operand and product, since
its projection commutes with translations from either side; a pair of complex conjugate irreps is
one real irrep with one V. With d the dimension over the reals and c that of the endomorphisms, V
has d^2 / c dimensions (Serre, Linear Representations of Finite Groups, sections 2.6 and 13.2).
"""

import re

import torch
from jaxtyping import Float64, Int64
from torch import Tensor

from analysis.llc.landscape import ModuleLandscape
from analysis.llc.restriction import Restriction, positions
from interp.arguments import nearest
from tasks.composition import GroupComposition
from tasks.groups import FiniteGroup, find_irrep, fourier_basis, irreps
from tasks.task import Task

KINDS = ("irrep", "random")
_MATRICES = {
    "embed_a": ("W_E_a",),
    "embed_b": ("W_E_b",),
    "embed": ("W_E_a", "W_E_b", "embed.W_E"),
    "unembed": ("W_U", "unembed.W_U"),
}


def subspace(name: str, landscape: ModuleLandscape, task: Task | None) -> Restriction:
    """The restriction `irrep:NAME@MATRICES` or `random:RANK:SEED@MATRICES`.

    The matrices are `embed_a`, `embed_b`, `embed` (both, or a transformer's one, without the row
    of the token '=') and `unembed`; those joined by `+` all move in V. Not given: the first of
    these that the network has. Random spaces are uniform among those of a rank, seed 0 if not
    given.

    Raises:
        ValueError: the task is not group composition, or there is no such irrep, rank or matrix.
    """
    what, _, matrices = name.partition("@")
    if not isinstance(task, GroupComposition):
        given = "no task is given" if task is None else f"the task is {task.name}"
        raise ValueError(f"{what!r} is a space of functions on a group, and {given}")
    what, basis = _space(what, task.finite_group)
    where = _by_element(landscape, task.finite_group.order)
    chosen = _chosen(matrices, where)
    moved = dict.fromkeys(p for matrix in chosen for p in _MATRICES[matrix] if p in where)
    index = torch.cat([where[parameter] for parameter in moved], dim=1).flatten()
    centres = landscape.centres
    return Restriction(f"{what}@{'+'.join(chosen)}", index.to(centres.device), basis.to(centres))


def beside(name: str, task: GroupComposition, n_random: int = 5) -> list[str]:
    """What the coefficient of `irrep:NAME@MATRICES` is to be compared with.

    A coefficient reads the subspace's dimension, the localization and the parametrisation too, and
    says something of an irrep only beside irreps that are not used and random subspaces.

    Returns:
        Names of the group's other irreps, then of `n_random` random subspaces of equal rank, in
        the same matrices.

    Raises:
        ValueError: there is no such irrep.
    """
    irrep, at, matrices = name.removeprefix("irrep:").partition("@")
    found = find_irrep(task.finite_group, irrep)
    others = [f"irrep:{i.name}" for i in irreps(task.finite_group) if i is not found]
    others += [f"random:{found.rank}:{seed}" for seed in range(n_random)]
    return [other + at + matrices for other in others]


def _space(what: str, group: FiniteGroup) -> tuple[str, Float64[Tensor, "element rank"]]:
    """The name in full, and an orthonormal basis."""
    kind, _, which = what.partition(":")
    if kind == "irrep":
        irrep, basis = find_irrep(group, which), fourier_basis(group)
        block = basis.blocks[irreps(group).index(irrep)]
        return f"irrep:{irrep.name}", basis.matrix[:, block]
    match = re.fullmatch(r"(\d+)(?::(\d+))?", which)
    if not match or not 1 <= int(match[1]) <= group.order:
        raise ValueError(
            f"no random subspace is {which!r}: write random:RANK or random:RANK:SEED, with a rank "
            f"from 1 to {group.order}, the order of {group.name}"
        )
    rank, seed = int(match[1]), int(match[2] or 0)
    generator = torch.Generator().manual_seed(seed)
    draw = torch.randn(group.order, rank, generator=generator, dtype=torch.float64)
    return f"random:{rank}:{seed}", torch.linalg.qr(draw).Q


def _by_element(
    landscape: ModuleLandscape, order: int
) -> dict[str, Int64[Tensor, "element width"]]:
    """By parameter, where the entries for each group element are in the flat vector."""
    found = positions(landscape.layout)
    rows = {name: found[name][:order] for name in _MATRICES["embed"] if name in found}
    return rows | {name: found[name].T for name in _MATRICES["unembed"] if name in found}


def _chosen(matrices: str, where: dict[str, Tensor]) -> list[str]:
    """The names that `+` joins, each once."""
    known = [
        name for name, all_of_them in _MATRICES.items() if not where.keys().isdisjoint(all_of_them)
    ]
    names = list(dict.fromkeys(matrices.split("+"))) if matrices else known[:1] or ["embed"]
    for name in names:
        if name not in known:
            raise ValueError(
                f"the network has no trained matrix {name!r} with an axis of group elements: it "
                f"has {', '.join(known) or 'none'}{nearest(name, known)}"
            )
    return names
