"""Representation theory of networks that compose in a finite group.

Similarity of the logits to the characters, shares of weights and activations in each isotypic
space, excluded and restricted losses, for all irreps at once. The names below are imported when
they are first used (PEP 562).
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from analysis.representation.key_irreps import KeyIrreps, find_key_irreps, learning_order
    from analysis.representation.measure import representation_metrics

_HOMES = {
    "representation_metrics": "measure",
    "find_key_irreps": "key_irreps",
    "KeyIrreps": "key_irreps",
    "learning_order": "key_irreps",
}

__all__ = ["KeyIrreps", "find_key_irreps", "learning_order", "representation_metrics"]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return __all__
