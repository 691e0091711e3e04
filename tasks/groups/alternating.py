"""Irreps of the alternating groups, by restriction from the symmetric groups.

The restrictions of a partition and its conjugate are equal, and irreducible unless the partition
is its own conjugate. Then the form of S_n has an associator T with T rho(s) = sgn(s) rho(s) T,
which commutes with A_n. T^2 = 1 splits the space in two halves, of real type; T^2 = -1 does so
over the complex numbers only, and over the reals the restriction is an irrep of complex type.
(James and Kerber, The Representation Theory of the Symmetric Group, section 2.5.)
"""

from collections.abc import Iterator
from dataclasses import replace
from math import sqrt

import torch
from jaxtyping import Float64
from torch import Tensor

from tasks.groups.cayley import extend_homomorphism
from tasks.groups.group import FiniteGroup
from tasks.groups.irrep import Irrep, irrep_from_matrices, named_by_dimension
from tasks.groups.permutations import even_generators
from tasks.groups.young import (
    Partition,
    Tableau,
    by_dimension,
    conjugate,
    exchanged,
    orthogonal_form,
    partition_name,
    partitions,
    standard_tableaux,
    tree_of,
)

_A5_NAMES = ["5d_a", "3d_a", "3d_b"]  # published as a5_5d_a, a5_3d_a, a5_3d_b


def alternating_irreps(group: FiniteGroup, degree: int) -> list[Irrep]:
    """trivial, standard, and the rest by dimension, kind and partition (the larger first).

    Of the two halves of a partition, the first is the one with the larger character on
    (0 1 2 3 4). For A5 the rest is in the published order: 5d_a, 3d_a, 3d_b.
    """
    restricted = list(_restrictions(group, degree))
    words = [irrep for irrep in restricted if irrep.name in ("trivial", "standard")]
    others = [irrep for irrep in restricted if irrep.name not in ("trivial", "standard")]
    others.sort(key=lambda irrep: (irrep.dimension, irrep.endomorphism_dimension))  # stable
    irreps = words + named_by_dimension(others)
    if degree != 5:
        return irreps
    by_name = {irrep.name: irrep for irrep in irreps}
    published = [replace(irrep, published_name=irrep.name) for irrep in words]
    return published + [replace(by_name[n], published_name=f"a5_{n}") for n in _A5_NAMES]


def _restrictions(group: FiniteGroup, degree: int) -> Iterator[Irrep]:
    tree = tree_of(group, even_generators(degree))
    for partition in sorted(partitions(degree), key=by_dimension):
        if partition < conjugate(partition):
            continue
        transpositions = orthogonal_form(partition)
        even = transpositions[:1] @ transpositions[1:]  # (0 1) * (i i+1)
        halves = [
            irrep_from_matrices(
                group,
                partition_name(partition),
                extend_homomorphism(tree, group.identity, basis.T @ even @ basis, group.order),
            )
            for basis in _invariant_subspaces(partition)
        ]
        yield from sorted(halves, key=lambda half: _minus_character_on_five_cycle(group, half))


def _minus_character_on_five_cycle(group: FiniteGroup, irrep: Irrep) -> float:
    if "(0 1 2 3 4)" not in group.element_names:
        return 0.0
    return -float(irrep.character[group.element_names.index("(0 1 2 3 4)")])


def _invariant_subspaces(partition: Partition) -> list[Float64[Tensor, "d half"]]:
    """Orthonormal bases of the real A_n-invariant subspaces of Young's orthogonal form.

    The associator maps e_t to sign(t) e_t', t' the transposed tableau. Where its square is 1,
    its eigenvectors for +1 and -1 are (e_t +- sign(t) e_t') / sqrt(2).
    """
    tableaux = standard_tableaux(partition)
    whole = torch.eye(len(tableaux), dtype=torch.float64)
    if partition != conjugate(partition) or len(tableaux) == 1:
        return [whole]
    signs = _tableau_signs(tableaux)
    pairs = [(t, _transposed(t)) for t in tableaux if t < _transposed(t)]
    if signs[pairs[0][0]] != signs[pairs[0][1]]:  # the associator has square -1
        return [whole]
    index = {tableau: position for position, tableau in enumerate(tableaux)}
    vector = {tableau: whole[position] for tableau, position in index.items()}
    return [
        torch.stack([vector[t] + half * signs[t] * vector[u] for t, u in pairs], dim=1) / sqrt(2)
        for half in (1, -1)
    ]


def _transposed(tableau: Tableau) -> Tableau:
    """The tableau with rows and columns exchanged: each entry's row becomes its column."""
    return tuple(tableau[:i].count(row) for i, row in enumerate(tableau))


def _tableau_signs(tableaux: list[Tableau]) -> dict[Tableau, int]:
    """The sign of the permutation of entries that leads from the first tableau to each."""
    signs, frontier = {tableaux[0]: 1}, [tableaux[0]]
    known = set(tableaux)
    while frontier:
        tableau = frontier.pop()
        for i in range(len(tableau) - 1):
            neighbour = exchanged(tableau, i)
            if neighbour in known and neighbour not in signs:
                signs[neighbour] = -signs[tableau]
                frontier.append(neighbour)
    return signs
