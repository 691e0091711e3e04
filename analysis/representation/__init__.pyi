from .key_irreps import KeyIrreps, find_key_irreps, learning_order
from .measure import representation_metrics

__all__ = [
    "KeyIrreps",
    "find_key_irreps",
    "learning_order",
    "representation_metrics",
]
