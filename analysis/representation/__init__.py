"""Representation theory of networks that compose in a finite group.

Similarity of the logits to the characters, shares of weights and activations in each isotypic
space, excluded and restricted losses, for all irreps at once. The names are in `__init__.pyi`, and
imported when they are first used.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
