"""RASP programs, and transformers whose weights are compiled from them.

>>> from interp.rasp import compile_program, indices, select, selector_width, tokens
>>> earlier = selector_width(select(tokens, tokens, "==") & select(indices, indices, "<"))
>>> compiled = compile_program(earlier, tokens="abc", max_length=5)
>>> compiled(["abcab", "aaa"])
[[0, 0, 0, 1, 1], [0, 1, 2]]

The names are in `__init__.pyi`, and imported when they are first used.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
