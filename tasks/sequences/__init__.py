"""Tasks on short sequences, each with an exact answer at every token.

>>> from tasks.sequences import Sort
>>> Sort().answers("cabbac")
['a', 'a', 'b', 'b', 'c', 'c']

The names are in `__init__.pyi`, and imported when they are first used.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
