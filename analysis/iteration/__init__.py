"""How networks solve iterative problems by chain of thought: accuracy, attention, causal evidence.

After Cabannes et al. (2024), "Iteration Head", arXiv 2406.02128. The names are in `__init__.pyi`,
and imported when they are first used.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
