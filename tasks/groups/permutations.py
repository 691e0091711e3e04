"""Permutations in array form (p[i] is the image of i) and in cycle notation.

The product p * q applies p first, then q: (p * q)[i] = q[p[i]], as in sympy and GAP.
"""

import re
from collections.abc import Sequence
from itertools import permutations

from jaxtyping import Int64
from torch import Tensor, tensor

from tasks.groups.cayley import extend_table

Permutation = tuple[int, ...]

_GENERATOR = re.compile(r"(\(\s*(\d{1,4}(\s+\d{1,4})*)?\s*\)\s*)+")


def compose(p: Permutation, q: Permutation) -> Permutation:
    """First p, then q."""
    return tuple(q[image] for image in p)


def symmetric_elements(degree: int) -> list[Permutation]:
    """S_n in lexicographic order of the array form."""
    return list(permutations(range(degree)))


def alternating_elements(degree: int) -> list[Permutation]:
    """A_n, the even permutations, in lexicographic order of the array form."""
    return [p for p in symmetric_elements(degree) if is_even(p)]


def is_even(p: Permutation) -> bool:
    """Whether it is a product of an even number of transpositions."""
    return sum(len(cycle) - 1 for cycle in cycles(p)) % 2 == 0


def adjacent_transpositions(degree: int) -> list[Permutation]:
    """(0 1), (1 2), ..., which generate S_n."""
    points = range(degree)
    return [(*points[:i], i + 1, i, *points[i + 2 :]) for i in range(degree - 1)]


def even_generators(degree: int) -> list[Permutation]:
    """(0 1) * (i i+1) for i = 1, 2, ..., which generate A_n."""
    transpositions = adjacent_transpositions(degree)
    return [compose(transpositions[0], other) for other in transpositions[1:]]


def cycles(p: Permutation) -> list[list[int]]:
    """Cycles of length two and more, each from its smallest point, in order of that point."""
    found, seen = [], set()
    for start in range(len(p)):
        cycle = []
        while start not in seen:
            seen.add(start)
            cycle.append(start)
            start = p[start]
        if len(cycle) > 1:
            found.append(cycle)
    return found


def cycle_notation(p: Permutation) -> str:
    """Such as "(0 2)(1 3)"; the identity is "()"."""
    return "".join(f"({' '.join(map(str, cycle))})" for cycle in cycles(p)) or "()"


def parse_generators(text: str) -> list[Permutation]:
    """Permutations from "(0 1 2 3 4),(0 1)"; points count from 0, cycles apply left to right."""
    parts = [part.strip() for part in text.split(",")]
    for part in parts:
        if not _GENERATOR.fullmatch(part):
            raise ValueError(
                f"{part!r} is no permutation in cycle notation: points are numbers from 0 to "
                '9999, separated by spaces, and generators by commas, as in "(0 1 2 3 4),(0 1)"'
            )
    degree = 1 + max([int(point) for point in re.findall(r"\d+", text)], default=0)
    return [_product_of_cycles(part, degree) for part in parts]


def _product_of_cycles(text: str, degree: int) -> Permutation:
    product = tuple(range(degree))
    for body in re.findall(r"\(([^)]*)\)", text):
        points = [int(point) for point in body.split()]
        if len(set(points)) < len(points):
            raise ValueError(f"the cycle ({body}) names a point twice; each point may stand once")
        image = dict(zip(points, points[1:] + points[:1], strict=True))
        product = tuple(image.get(point, point) for point in product)
    return product


def closure(generators: Sequence[Permutation], limit: int) -> list[Permutation] | None:
    """The generated group in lexicographic order; None if it has more than `limit` elements."""
    identity = tuple(range(len(generators[0])))
    seen, frontier = {identity}, [identity]
    while frontier and len(seen) <= limit:
        products = {compose(p, generator) for p in frontier for generator in generators}
        frontier = list(products - seen)
        seen |= products
    return sorted(seen) if len(seen) <= limit else None


def permutation_table(
    elements: Sequence[Permutation], generators: Sequence[Permutation]
) -> Int64[Tensor, "element element"]:
    """Multiplication table of the group with these elements, which the generators generate."""
    index = {p: i for i, p in enumerate(elements)}
    right = [[index[compose(p, generator)] for p in elements] for generator in generators]
    return extend_table(
        tensor(right).long().reshape(len(generators), len(elements)),
        identity=index[tuple(range(len(elements[0])))],
    )
