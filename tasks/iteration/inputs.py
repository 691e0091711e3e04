"""Input sequences of one length, drawn at random."""

import numpy as np
from jaxtyping import Int64

Inputs = Int64[np.ndarray, "example time"]


def independent_inputs(
    n_inputs: int, n_examples: int, length: int, rng: np.random.Generator
) -> Inputs:
    """Every input at every time alike, whatever was drawn before: some sequences are repeated."""
    return rng.integers(n_inputs, size=(n_examples, length))


def distinct_inputs(
    n_inputs: int, n_examples: int, length: int, rng: np.random.Generator
) -> Inputs:
    """`n_examples` sequences without a repeated one, or all there are if these are fewer.

    Their order is random.
    """
    n_possible = n_inputs**length
    if n_possible <= 4 * n_examples:  # so many that drawing would often repeat
        codes = rng.permutation(n_possible)[:n_examples]
        return codes[:, None] // n_inputs ** np.arange(length) % n_inputs
    weights = rng.integers(2**63, size=length)
    found = np.empty((0, length), dtype=np.int64)
    while len(found) < n_examples:
        drawn = independent_inputs(n_inputs, n_examples, length, rng)
        found = np.concatenate([found, drawn])
        # Equal sequences have equal sums (modulo 2^64). That others have them too is as good as
        # impossible, and would only mean that one of them is left out.
        _, first = np.unique(found @ weights, return_index=True)
        found = found[np.sort(first)]
    return found[:n_examples]
