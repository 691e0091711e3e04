"""The group axioms, checked on a multiplication table."""

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Int64
from torch import Tensor

Table = Tensor | np.ndarray | Sequence
"""What is offered as a multiplication table, such as rows of integers; see `checked_table`."""

_ROWS_AT_ONCE = 1024  # bounds the memory of a check to 1024 rows of the table


class NotAGroupError(ValueError):
    """A multiplication table breaks a group axiom; the message names where."""


def checked_table(table: Table) -> Int64[Tensor, "element element"]:
    """The table as a tensor, if it is the multiplication table of a group.

    Raises:
        NotAGroupError: not square, an entry that is no element, no identity, an element without
            inverse, or the first triple (a, b, c), in lexicographic order, with (ab)c != a(bc).
    """
    checked = _square_of_indices(table)
    identity = _checked_identity(checked)
    _check_associativity(checked, identity)
    _check_inverses(checked, identity)
    return checked


def _square_of_indices(table: Table) -> Int64[Tensor, "element element"]:
    try:
        tensor = torch.as_tensor(table)
    except (TypeError, ValueError, OverflowError, RuntimeError) as error:
        raise NotAGroupError(f"the table is not a square of integers: {error}") from error
    if tensor.ndim != 2 or tensor.shape[0] != tensor.shape[1] or not tensor.numel():
        shape = tuple(tensor.shape)
        raise NotAGroupError(f"the table has shape {shape}; give n rows of n entries each, n >= 1")
    if tensor.is_floating_point() or tensor.is_complex() or tensor.dtype == torch.bool:
        raise NotAGroupError(f"the table holds {tensor.dtype}; give integers, table[a][b] = ab")
    order = len(tensor)
    outside = ((tensor < 0) | (tensor >= order)).nonzero()
    if len(outside):
        a, b = outside[0].tolist()
        raise NotAGroupError(
            f"not closed: table[{a}][{b}] = {int(tensor[a, b])} is no element; "
            f"allowed are 0 to {order - 1}"
        )
    return tensor.to("cpu", torch.int64).contiguous()


def _checked_identity(table: Int64[Tensor, "element element"]) -> int:
    elements = torch.arange(len(table))
    neutral = (table == elements).all(dim=1) & (table == elements[:, None]).all(dim=0)
    if not neutral.any():
        raise NotAGroupError(
            "no identity: one element e must have row e and column e equal to 0, 1, 2, ..."
        )
    return int(neutral.nonzero()[0])


def _check_associativity(table: Int64[Tensor, "element element"], identity: int) -> None:
    """Light's test: (xg)y = x(gy) for all x, y need only be seen to hold for generators g.

    (Clifford and Preston, The Algebraic Theory of Semigroups I, section 1.2.)
    """
    for generator in _generating_set(table, identity):
        for rows in table.split(_ROWS_AT_ONCE):
            if not torch.equal(table[rows[:, generator]], rows[:, table[generator]]):
                a, b, c = _first_failing_triple(table)
                left, right = int(table[table[a, b], c]), int(table[a, table[b, c]])
                raise NotAGroupError(
                    f"not associative: for (a, b, c) = ({a}, {b}, {c}), "
                    f"(ab)c = {left} but a(bc) = {right}"
                )


def _check_inverses(table: Int64[Tensor, "element element"], identity: int) -> None:
    lacking = (~((table == identity) & (table == identity).T).any(dim=1)).nonzero()
    if len(lacking):
        a = int(lacking[0])
        raise NotAGroupError(f"element {a} has no inverse: no b has ab = ba = {identity}")


def _generating_set(table: Int64[Tensor, "element element"], identity: int) -> list[int]:
    """Elements whose products, in any bracketing, are all elements: each the first not reached."""
    reached = torch.zeros(len(table), dtype=torch.bool)
    reached[identity] = True
    generators = []
    while not reached.all():
        generators.append(int((~reached).nonzero()[0]))
        reached[generators[-1]] = True
        _close_under_product(table, reached)
    return generators


def _close_under_product(table: Tensor, reached: Tensor) -> None:
    size = -1
    while size != (size := int(reached.sum())):
        members = reached.nonzero().squeeze(1)
        reached[table[members][:, members]] = True


def _first_failing_triple(table: Int64[Tensor, "element element"]) -> tuple[int, int, int]:
    """Of a table that is not associative: the lexicographically first (a, b, c)."""
    for a, row in enumerate(table):
        failing = (table[row] != row[table]).nonzero()  # [b, c]: (ab)c against a(bc)
        if len(failing):
            b, c = failing[0].tolist()
            return a, b, c
    raise AssertionError("the table is associative")
