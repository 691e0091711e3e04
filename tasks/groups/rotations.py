"""Irreps of cyclic and dihedral groups, by their rotation frequencies.

Names and order are those of arXiv 2302.03025, which left out the dihedral groups of even m.
(Serre, Linear Representations of Finite Groups, sections 5.1 and 5.3.)
"""

import torch
from jaxtyping import Float64
from torch import Tensor

from tasks.groups.group import FiniteGroup
from tasks.groups.irrep import Irrep, irrep_from_matrices


def cyclic_irreps(group: FiniteGroup, n: int) -> list[Irrep]:
    """trivial; sign = (-1)^k if n is even; freq_k = rotation by 2 pi k g / n, 1 <= k < n/2."""
    g = torch.arange(n)
    scalars = {"trivial": torch.ones(n)}
    if n % 2 == 0:
        scalars["sign"] = 1 - 2 * (g % 2)
    matrices = {name: scalar.double().reshape(n, 1, 1) for name, scalar in scalars.items()}
    matrices |= {f"freq_{k}": _rotations(k * g, n) for k in range(1, (n + 1) // 2)}
    return [irrep_from_matrices(group, name, m, name) for name, m in matrices.items()]


def dihedral_irreps(group: FiniteGroup, m: int) -> list[Irrep]:
    """trivial; sign (+1 on rotations, -1 on reflections); freq_k for 1 <= k < m/2.

    For even m also 1d_a and 1d_b before the freq_k: -1 on r, and +1 (a) or -1 (b) on s.
    """
    rotation, flip = torch.arange(2 * m) % m, torch.arange(2 * m) // m
    flip_sign, rotation_sign = 1 - 2 * flip, 1 - 2 * (rotation % 2)
    scalars = {"trivial": torch.ones(2 * m), "sign": flip_sign}
    if m % 2 == 0:
        scalars |= {"1d_a": rotation_sign, "1d_b": rotation_sign * flip_sign}
    matrices = {name: scalar.double().reshape(-1, 1, 1) for name, scalar in scalars.items()}
    for k in range(1, (m + 1) // 2):
        matrices[f"freq_{k}"] = _rotations(k * rotation, m)
        matrices[f"freq_{k}"][m:, :, 1] *= -1  # rotation @ diag(1, -1)
    published = m % 2 == 1
    return [
        irrep_from_matrices(group, name, matrix, name if published else None)
        for name, matrix in matrices.items()
    ]


def _rotations(steps: Tensor, n: int) -> Float64[Tensor, "element 2 2"]:
    """Rotations of the plane by 2 pi steps / n; the steps are reduced mod n for accuracy."""
    angle = (steps % n).double() * (2 * torch.pi / n)
    cos, sin = angle.cos(), angle.sin()
    return torch.stack([cos, -sin, sin, cos], dim=1).reshape(-1, 2, 2)
