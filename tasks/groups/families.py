"""The named families of groups and the order of their elements.

| name | group, its order | canonical order of the elements |
|---|---|---|
| `C{n}` | cyclic, n | residues 0, 1, ..., n-1 |
| `D{m}` | dihedral, 2m | r^0, ..., r^(m-1), then r^0 s, ..., r^(m-1) s; s r s = r^-1 |
| `S{n}` | symmetric, n! | lexicographic in array form |
| `A{n}` | alternating, n!/2 | lexicographic in array form |
| `Dic{n}` | dicyclic, 4n | r^0, ..., r^(2n-1), then r^k s; s^2 = r^n, s r s^-1 = r^-1 |
| `Q{4n}` | generalised quaternion, 4n | as `Dic{n}` |
| `C2xS4` | direct product | pairs, the last factor fastest |

Products of permutations apply the left factor first. The published element order is that of the
checkpoints of Chughtai, Chan and Nanda 2023 (arXiv 2302.03025): sympy's coset enumeration for
S3 to S6 and A5, frozen in `published_orders.json`; the canonical one for C and D.
"""

import json
import re
from collections.abc import Callable
from functools import cache, reduce
from math import factorial, prod
from pathlib import Path
from typing import NamedTuple

import torch

from tasks.groups.group import MAX_ORDER, FiniteGroup, check_order
from tasks.groups.permutations import (
    Permutation,
    adjacent_transpositions,
    alternating_elements,
    cycle_notation,
    even_generators,
    permutation_table,
    symmetric_elements,
)


class Member(NamedTuple):
    """One group of a family, such as S5: family "S", size 5."""

    family: str
    size: int

    @property
    def name(self) -> str:
        return f"{self.family}{self.size}"


def parse_member(name: str) -> Member | None:
    """The family and size in a name such as "S5"; None if it is not of this form."""
    match = re.fullmatch(r"([A-Za-z]+)([1-9]\d{0,8})", name)
    return Member(match[1], int(match[2])) if match else None


def member_of(group: FiniteGroup) -> Member | None:
    """The family the group was built from, in any element order; None for other groups."""
    return parse_member(group.definition.partition("@")[0])


@cache
def published_orders() -> dict[str, list[Permutation]]:
    """Elements in array form, in published order, of the groups whose order was enumerated."""
    text = Path(__file__).with_name("published_orders.json").read_text()
    return {name: [tuple(p) for p in elements] for name, elements in json.loads(text).items()}


def build_member(member: Member) -> FiniteGroup:
    """A group of one of the `FAMILIES`, in canonical order."""
    return FAMILIES[member.family].build(member)


def build_published(member: Member) -> FiniteGroup:
    """A group in its enumerated published order, by `published_orders`."""
    elements = published_orders()[member.name]
    return _permutation_group(member, f"{member.name}@published", elements)


def _cyclic(member: Member) -> FiniteGroup:
    residues = torch.arange(member.size)
    table = (residues[:, None] + residues) % member.size
    names = tuple(map(str, range(member.size)))
    return FiniteGroup._from_valid_table(member.name, member.name, table, names)


def _dihedral(member: Member) -> FiniteGroup:
    return _rotations_and_flips(member.name, rotations=member.size, square_of_s=0)


def _dicyclic(member: Member) -> FiniteGroup:
    half = member.size if member.family == "Dic" else member.size // 4
    return _rotations_and_flips(member.name, rotations=2 * half, square_of_s=half)


def _rotations_and_flips(name: str, rotations: int, square_of_s: int) -> FiniteGroup:
    """Elements r^a s^e with s r = r^-1 s and s^2 = r^square_of_s:

    (r^a s^e)(r^b s^f) = r^(a + (-1)^e b + [e and f] square_of_s) s^(e xor f).
    """
    elements = torch.arange(2 * rotations)
    (a, b), (e, f) = ((x[:, None], x) for x in (elements % rotations, elements // rotations))
    power = (a + (1 - 2 * e) * b + (e & f) * square_of_s) % rotations
    powers = ["", "r", *(f"r^{k}" for k in range(2, rotations))][:rotations]
    names = [power or "e" for power in powers] + [f"{power} s".strip() for power in powers]
    return FiniteGroup._from_valid_table(name, name, power + rotations * (e ^ f), tuple(names))


def _symmetric(member: Member) -> FiniteGroup:
    return _permutation_group(member, member.name, symmetric_elements(member.size))


def _alternating(member: Member) -> FiniteGroup:
    return _permutation_group(member, member.name, alternating_elements(member.size))


def _permutation_group(member: Member, definition: str, elements: list[Permutation]) -> FiniteGroup:
    generating = adjacent_transpositions if member.family == "S" else even_generators
    table = permutation_table(elements, generating(member.size))
    names = tuple(map(cycle_notation, elements))
    return FiniteGroup._from_valid_table(member.name, definition, table, names)


def build_product(members: list[Member]) -> FiniteGroup:
    """The direct product; pairs in lexicographic order."""
    name = "x".join(member.name for member in members)
    check_order(prod(FAMILIES[family].order(size) for family, size in members), name)
    factors = [build_member(member) for member in members]
    table = reduce(_product_table, [factor.table for factor in factors])
    element_names = [""]
    for factor in factors:
        element_names = [f"{left}, {x}" for left in element_names for x in factor.element_names]
    names = tuple(f"({element.removeprefix(', ')})" for element in element_names)
    return FiniteGroup._from_valid_table(name, name, table, names)


def _product_table(first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
    order = len(first) * len(second)
    table = first[:, None, :, None] * len(second) + second[None, :, None, :]
    return table.reshape(order, order)


class Family(NamedTuple):
    """Groups `{letter}{size}` for each of the sizes."""

    about: str
    sizes: range
    order: Callable[[int], int]
    build: Callable[[Member], FiniteGroup]


FAMILIES = {
    "C": Family("cyclic, of order n", range(1, MAX_ORDER + 1), lambda n: n, _cyclic),
    "D": Family("dihedral, of order 2n", range(1, MAX_ORDER // 2 + 1), lambda m: 2 * m, _dihedral),
    "S": Family("symmetric, of order n!", range(1, 8), factorial, _symmetric),
    "A": Family(
        "alternating, of order n! / 2", range(1, 8), lambda n: (factorial(n) + 1) // 2, _alternating
    ),
    "Q": Family(
        "generalised quaternion, of order n, a multiple of 4",
        range(8, MAX_ORDER + 1, 4),
        lambda order: order,
        _dicyclic,
    ),
    "Dic": Family(
        "dicyclic, of order 4n", range(1, MAX_ORDER // 4 + 1), lambda n: 4 * n, _dicyclic
    ),
}
