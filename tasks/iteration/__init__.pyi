from .encoding import PUBLISHED_VOCABULARY, IterationEncoding
from .iteration import Iteration
from .kinds import Copy, GroupProduct, Mixed, Parity, Polynomial
from .layout import Layout, Role
from .problems import copy, named_problem, parity, polynomial, prefix_product
from .task import IterationTask

__all__ = [
    "PUBLISHED_VOCABULARY",
    "Copy",
    "GroupProduct",
    "Iteration",
    "IterationEncoding",
    "IterationTask",
    "Layout",
    "Mixed",
    "Parity",
    "Polynomial",
    "Role",
    "copy",
    "named_problem",
    "parity",
    "polynomial",
    "prefix_product",
]
