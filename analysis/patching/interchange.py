"""Interchange interventions: do the answers become those of the run that an activation is from?

>>> from analysis.patching import sweep  # doctest: +SKIP
>>> sweep(model, pairs, "resid_post", metric=interchange_accuracy)  # doctest: +SKIP
"""

from jaxtyping import Float
from torch import Tensor

from analysis.patching.metrics import Logits, Reference, accuracy


def interchange_accuracy(logits: Logits, reference: Reference) -> Float[Tensor, "example"]:
    """The share of the positions that changed where the corrupted answer has the largest logit.

    Of clean runs with activations of corrupted ones, whose inputs differ in one variable, this is
    the interchange intervention accuracy of Geiger et al. (2021), arXiv 2106.02997: 1 where the
    activations are all that the network knows of the variable. A metric like those of `METRICS`.
    """
    swapped = Reference(reference.pairs.swapped, reference.corrupted, reference.clean)
    return accuracy(logits, swapped)
