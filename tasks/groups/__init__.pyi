from .axioms import NotAGroupError
from .cache import CacheEntry, CacheWarning, cache_entries, cache_folder, clear_cache, verify_cache
from .fourier import FourierBasis, isotypic_projection
from .group import FiniteGroup
from .irrep import Irrep
from .naming import UnknownGroupError, finite_group
from .tensors import UnknownIrrepError, find_irrep, fourier_basis, irreps

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
