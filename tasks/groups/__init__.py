"""Finite groups, their real irreducible representations, and the cache of their tensors.

>>> from tasks.groups import finite_group, irreps
>>> [irrep.name for irrep in irreps(finite_group("S4"))]
['trivial', 'sign', 'standard', 'standard_sign', '[2,2]']

The names below are imported when they are first used (PEP 562), so that importing this package
costs no torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tasks.groups.axioms import NotAGroupError
    from tasks.groups.cache import (
        CacheEntry,
        CacheWarning,
        cache_entries,
        cache_folder,
        clear_cache,
        verify_cache,
    )
    from tasks.groups.fourier import FourierBasis, isotypic_projection
    from tasks.groups.group import FiniteGroup
    from tasks.groups.irrep import Irrep
    from tasks.groups.naming import UnknownGroupError, finite_group
    from tasks.groups.tensors import UnknownIrrepError, find_irrep, fourier_basis, irreps

_HOMES = {
    "FiniteGroup": "group",
    "finite_group": "naming",
    "UnknownGroupError": "naming",
    "NotAGroupError": "axioms",
    "Irrep": "irrep",
    "irreps": "tensors",
    "find_irrep": "tensors",
    "UnknownIrrepError": "tensors",
    "fourier_basis": "tensors",
    "FourierBasis": "fourier",
    "isotypic_projection": "fourier",
    "CacheEntry": "cache",
    "CacheWarning": "cache",
    "cache_entries": "cache",
    "cache_folder": "cache",
    "clear_cache": "cache",
    "verify_cache": "cache",
}

__all__ = [
    "CacheEntry",
    "CacheWarning",
    "FiniteGroup",
    "FourierBasis",
    "Irrep",
    "NotAGroupError",
    "UnknownGroupError",
    "UnknownIrrepError",
    "cache_entries",
    "cache_folder",
    "clear_cache",
    "find_irrep",
    "finite_group",
    "fourier_basis",
    "irreps",
    "isotypic_projection",
    "verify_cache",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return __all__
