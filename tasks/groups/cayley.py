"""The Cayley graph of a group: what is known of the generators, carried to every element."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float64, Int64
from torch import Tensor


class Step(NamedTuple):
    """Edges of the graph that lead to new elements: children = parents * generator."""

    children: Int64[Tensor, "edge"]
    parents: Int64[Tensor, "edge"]
    generator: int


def spanning_tree(right: Int64[Tensor, "generator element"], identity: int) -> list[Step]:
    """Breadth-first tree from the identity; `right[k, a]` is the index of a * generator_k."""
    seen = torch.zeros(right.shape[1], dtype=torch.bool)
    seen[identity] = True
    frontier = torch.tensor([identity])
    steps: list[Step] = []
    while len(frontier):
        level = []
        for generator, column in enumerate(right):
            parents = frontier[~seen[column[frontier]]]
            children = column[parents]  # distinct: right multiplication is injective
            seen[children] = True
            level.append(Step(children, parents, generator))
        steps += level
        frontier = torch.cat([step.children for step in level]) if level else frontier[:0]
    return steps


def extend_table(
    right: Int64[Tensor, "generator element"], identity: int
) -> Int64[Tensor, "element element"]:
    """The whole multiplication table from right multiplication by generators.

    Column by column along the tree: a * (b * s) = (a * b) * s, one gather a column.
    """
    order = right.shape[1]
    columns = torch.empty(order, order, dtype=torch.int64)  # columns[b, a] = a * b
    columns[identity] = torch.arange(order)
    for children, parents, generator in spanning_tree(right, identity):
        columns[children] = right[generator][columns[parents]]
    return columns.T.contiguous()


def extend_homomorphism(
    tree: Sequence[Step], identity: int, generators: Float64[Tensor, "generator d d"], order: int
) -> Float64[Tensor, "element d d"]:
    """The representation with these matrices on the generators of the tree, on every element."""
    dimension = generators.shape[-1]
    matrices = torch.empty(order, dimension, dimension, dtype=torch.float64)
    matrices[identity] = torch.eye(dimension, dtype=torch.float64)
    for children, parents, generator in tree:
        matrices[children] = matrices[parents] @ generators[generator]
    return matrices
