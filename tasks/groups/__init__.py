"""Finite groups, their real irreducible representations, and the cache of their tensors.

>>> from tasks.groups import finite_group, irreps
>>> [irrep.name for irrep in irreps(finite_group("S4"))]
['trivial', 'sign', 'standard', 'standard_sign', '[2,2]']

The names are in `__init__.pyi`, and imported when they are first used.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
