"""How the logits resemble the characters: similarity, and what chance would give.

The trace tensor K_k[a, b, c] = chi_k(a b c^-1) of an irrep depends on x = a b c^-1 alone. So the
inner product of the logits with it is that of chi_k with the class sums
S[x] = sum of C[a, b, c] over a b c^-1 = x, and no tensor over (a, b, c) is kept. C are the logits
of all pairs, less their mean over c. Source: Chughtai, Chan and Nanda 2023, arXiv 2302.03025.
"""

import torch
from jaxtyping import Float64
from torch import Tensor

from analysis.representation.activations import Activations, ActivationSums

SMALLEST = torch.finfo(torch.float64).tiny
"""In place of a zero norm, so that the shares of a network that is constant are 0."""


def character_coefficients(acts: Activations, sums: ActivationSums) -> Float64[Tensor, "irrep"]:
    """kappa_k of the projection of C onto K_k, which is kappa_k chi_k(a b c^-1)."""
    h = acts.harmonics
    logits = acts.logits(sums.by_product, sums.skip_by_product)  # summed over the pairs of g
    outputs = torch.arange(h.order, device=logits.device)
    class_sums = logits[h.table, outputs].sum(dim=1)  # C[g, c] belongs to x = g c^-1, so g = xc
    return h.characters @ class_sums / (h.order**2 * h.characters.square().sum(dim=1))


def similarity(
    acts: Activations,
    coefficients: Float64[Tensor, "irrep"],
    squares: Float64[Tensor, ""],
) -> Float64[Tensor, "irrep"]:
    """The cosine of C and K_k, both as vectors of n^3 entries; `squares` is |C|^2."""
    trace_norms = acts.harmonics.order * acts.harmonics.characters.norm(dim=1)
    return coefficients * trace_norms / squares.sqrt().clamp_min(SMALLEST)


def logit_squares(acts: Activations) -> Float64[Tensor, ""]:
    """|C|^2."""
    squares = acts.readout.new_zeros(())
    for tile in acts.tiles():
        squares += acts.logits(tile.hidden, tile.skip).square().sum()
    return squares


def similarity_by_chance(acts: Activations) -> Float64[Tensor, "irrep"]:
    """The standard deviation of the similarity when the pairs' targets are permuted at random.

    Exact, from the variance of sum_p u[p, pi(p)] over the uniform permutations pi of N = n^2
    things: the squares of the doubly centred u, summed, over N - 1 (Hoeffding 1951, theorem 2).
    Here that is c f / (d^2 (N - 1)), with f the share of |C|^2 that lies, along c, in the irrep's
    isotypic space, each output's mean over the pairs taken off.
    """
    h = acts.harmonics
    squares, sums = h.basis.new_zeros(h.order), h.basis.new_zeros(h.order)
    for tile in acts.tiles():
        modes = acts.logits(tile.hidden, tile.skip) @ h.basis
        squares += modes.square().sum(dim=(0, 1))
        sums += modes.sum(dim=(0, 1))
    varying = h.by_irrep(squares - sums.square() / h.order**2).clamp_min(0)
    share = varying / squares.sum().clamp_min(SMALLEST)
    return (h.endomorphisms * share / (h.order**2 - 1)).sqrt() / h.dimensions
