"""Young's orthogonal form: the irreps of the symmetric groups.

Sagan, The Symmetric Group, section 2.3 (partitions and standard tableaux); James and Kerber, The
Representation Theory of the Symmetric Group, section 3.4 (the orthogonal form, 3.4.10).
A standard tableau is written as its lattice word: `tableau[i]` is the row that holds entry i.
"""

from collections.abc import Iterator
from math import sqrt

import torch
from jaxtyping import Float64
from torch import Tensor

from tasks.groups.cayley import Step, extend_homomorphism, spanning_tree
from tasks.groups.group import FiniteGroup
from tasks.groups.irrep import Irrep, irrep_from_matrices
from tasks.groups.permutations import Permutation, adjacent_transpositions, cycle_notation

Partition = tuple[int, ...]
Tableau = tuple[int, ...]

# Published names: arXiv 2302.03025. The other canonical names are their own published names.
_PUBLISHED = {
    (2, 2): "s4_2d",
    (2, 2, 1): "s5_5d_a",
    (3, 2): "s5_5d_b",
    (3, 1, 1): "s5_6d",
    (3, 3): "s6_5d_a",
    (2, 2, 2): "s6_5d_b",
}
_NAMED = ["trivial", "sign", "standard", "standard_sign"]


def symmetric_irreps(group: FiniteGroup, degree: int) -> list[Irrep]:
    """trivial, sign, standard, standard_sign, then as published, then by dimension.

    Those with a published name come in the published order; the rest by dimension, and the larger
    partition first, as in [5,2] before [2,2,1,1,1].
    """
    tree = tree_of(group, adjacent_transpositions(degree))
    irreps = []
    for partition in sorted(partitions(degree), key=_listing_order):
        generators = orthogonal_form(partition)
        matrices = extend_homomorphism(tree, group.identity, generators, group.order)
        name = partition_name(partition)
        published = name if name in _NAMED else _PUBLISHED.get(partition)
        irreps.append(irrep_from_matrices(group, name, matrices, published))
    return irreps


def partition_name(partition: Partition) -> str:
    """Such as "[3,2]", or the word of the field: trivial, sign, standard, standard_sign."""
    n = sum(partition)
    words = {(2, *[1] * (n - 2)): "standard_sign", (n - 1, 1): "standard"}
    words |= {(1,) * n: "sign", (n,): "trivial"}  # the last wins: sign of S2, trivial of S1
    return words.get(partition, f"[{','.join(map(str, partition))}]")


def _listing_order(partition: Partition) -> tuple:
    name = partition_name(partition)
    if name in _NAMED:
        return 0, _NAMED.index(name)
    if partition in _PUBLISHED:
        return 1, list(_PUBLISHED).index(partition)
    return 2, *by_dimension(partition)


def by_dimension(partition: Partition) -> tuple[int, list[int]]:
    """Sort key: number of standard tableaux, then the larger partition first."""
    return len(standard_tableaux(partition)), [-part for part in partition]


def partitions(n: int, largest: int | None = None) -> Iterator[Partition]:
    """The partitions of n into parts that do not increase, the largest partition first."""
    if n == 0:
        yield ()
    for part in range(min(n, largest or n), 0, -1):
        for rest in partitions(n - part, part):
            yield (part, *rest)


def conjugate(partition: Partition) -> Partition:
    """The partition with rows and columns exchanged."""
    return tuple(sum(part > column for part in partition) for column in range(partition[0]))


def standard_tableaux(partition: Partition) -> list[Tableau]:
    """The standard tableaux of this shape, as lattice words."""
    if not partition:
        return [()]
    tableaux = []
    for row, part in enumerate(partition):
        below = partition[row + 1] if row + 1 < len(partition) else 0
        if part > below:  # the largest entry stands at the end of this row
            smaller = (*partition[:row], part - 1, *partition[row + 1 :])
            shape = smaller if smaller[-1] else smaller[:-1]
            tableaux += [(*tableau, row) for tableau in standard_tableaux(shape)]
    return tableaux


def orthogonal_form(partition: Partition) -> Float64[Tensor, "generator d d"]:
    """The matrices of the adjacent transpositions (i i+1), symmetric and orthogonal.

    With r = content(i+1) - content(i) in the tableau t:
    (i i+1) e_t = 1/r e_t + sqrt(1 - 1/r^2) e_t', where t' is t with i and i+1 exchanged.
    """
    tableaux = standard_tableaux(partition)
    index = {tableau: position for position, tableau in enumerate(tableaux)}
    degree, dimension = sum(partition), len(tableaux)
    matrices = torch.zeros(degree - 1, dimension, dimension, dtype=torch.float64)
    for column, tableau in enumerate(tableaux):
        content = _contents(tableau)
        for i in range(degree - 1):
            distance = content[i + 1] - content[i]
            matrices[i, column, column] = 1 / distance
            if abs(distance) > 1:
                row = index[exchanged(tableau, i)]
                matrices[i, row, column] = sqrt(1 - 1 / distance**2)
    return matrices


def exchanged(tableau: Tableau, i: int) -> Tableau:
    """The tableau with the entries i and i+1 exchanged (standard unless they are neighbours)."""
    return (*tableau[:i], tableau[i + 1], tableau[i], *tableau[i + 2 :])


def _contents(tableau: Tableau) -> list[int]:
    """Column minus row of each entry."""
    return [tableau[:i].count(row) - row for i, row in enumerate(tableau)]


def tree_of(group: FiniteGroup, generators: list[Permutation]) -> list[Step]:
    """Spanning tree of a permutation group by these generators, in the group's element order."""
    indices = [group.element_names.index(cycle_notation(p)) for p in generators]
    return spanning_tree(group.table[:, indices].T, group.identity)
