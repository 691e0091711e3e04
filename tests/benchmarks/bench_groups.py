"""Groups: a table and its irreps, cold, against the published way of computing them.

The published way composes all pairs of permutations one by one and looks each product up in a
dictionary. Its irreps come from generators: each element is written as a word and the matrices of
its letters are multiplied, one element at a time. Both are written here plainly, without sympy,
whose composition alone took up to hours for S6, so that the ratios
are lower bounds.

Run: OMP_NUM_THREADS=1 python tests/benchmarks/bench_groups.py [S5 S6 ...]
"""

import resource
import sys
import time
from collections.abc import Callable, Sequence

import torch

from tasks.groups.families import Member, build_member, parse_member
from tasks.groups.permutations import (
    Permutation,
    symmetric_elements,
)
from tasks.groups.tensors import computed_irreps
from tasks.groups.young import orthogonal_form, partition_name, partitions


def plain_table(elements: Sequence[Permutation]) -> torch.Tensor:
    """Compose each pair, look up the index of the product."""
    index = {p: i for i, p in enumerate(elements)}
    table = torch.zeros(len(elements), len(elements), dtype=torch.int64)
    for a, p in enumerate(elements):
        for b, q in enumerate(elements):
            table[a, b] = index[tuple(q[i] for i in p)]
    return table


def plain_irreps(elements: Sequence[Permutation], degree: int) -> dict[str, torch.Tensor]:
    """For each irrep, multiply the matrices along a word for each element."""
    words = [word_of(p) for p in elements]
    found = {}
    for partition in partitions(degree):
        letters = orthogonal_form(partition)
        matrices = []
        for word in words:
            matrix = torch.eye(letters.shape[-1], dtype=torch.float64)
            for letter in word:
                matrix = matrix @ letters[letter]
            matrices.append(matrix)
        found[partition_name(partition)] = torch.stack(matrices)
    return found


def word_of(p: Permutation) -> list[int]:
    """Adjacent transpositions whose product, left factor first, is p (bubble sort)."""
    values, word = list(p), []
    for end in range(len(values) - 1, 0, -1):
        for i in range(end):
            if values[i] > values[i + 1]:
                values[i], values[i + 1] = values[i + 1], values[i]
                word.append(i)
    return word


def timed(function: Callable, *arguments):
    start = time.perf_counter()
    result = function(*arguments)
    return result, time.perf_counter() - start, peak_mebibytes()


def peak_mebibytes() -> float:
    """Highest resident memory of this process so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def compare(name: str) -> None:
    member = parse_member(name)
    if member is None or member.family != "S":
        raise SystemExit(f"{name}: the plain way is written for S3 to S6")
    elements = symmetric_elements(member.size)

    group, *ours_table = timed(build_member, member)
    found, *ours_irreps = timed(computed_irreps, group)
    table, *plain_table_s = timed(plain_table, elements)
    plain, *plain_irreps_s = timed(plain_irreps, elements, member.size)

    assert torch.equal(group.table, table)
    for irrep in found:
        torch.testing.assert_close(irrep.matrices, plain[irrep.name], atol=1e-12, rtol=0)
    print(f"{name}: results equal; peak memory of the process after each step")
    report("table", ours_table, plain_table_s)
    report("irreps", ours_irreps, plain_irreps_s)


def report(what: str, ours: Sequence[float], plain: Sequence[float]) -> None:
    print(
        f"  {what:6}  ours {ours[0]:7.3f} s {ours[1]:5.0f} MiB   "
        f"plain {plain[0]:7.3f} s {plain[1]:5.0f} MiB   ratio {plain[0] / ours[0]:5.1f}x"
    )


def main() -> None:
    computed_irreps(build_member(Member("S", 3)))  # first use of torch's kernels
    for name in sys.argv[1:] or ["S5", "S6"]:
        compare(name)


if __name__ == "__main__":
    main()
