"""Iterative problems, told as chains of thought: the state after every input, one by one.

>>> from tasks.iteration import parity
>>> parity().answers("1101")
['1', '0', '0', '1']

The names are in `__init__.pyi`, and imported when they are first used.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
