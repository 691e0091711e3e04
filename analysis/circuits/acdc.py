"""Automatic circuit discovery."""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from analysis.circuits.setting import Setting

N_THRESHOLDS = 12
LOWEST = 1e-4
"""Thresholds are evenly spaced on a log scale, from this share of what cutting all edges does."""


def acdc(on: Setting) -> Float[Tensor, "1 edge"]:
    """ACDC (Conmy et al. 2023, arXiv 2304.14997), for many thresholds at once.

    From the output to the inputs, every edge is cut for good if that changes the metric by less
    than the threshold, in the mean over examples of the absolute change. An edge's score is the
    highest threshold at which it stays, 0 if there is none. Which of two redundant edges stays
    depends on the order: here the one that is met last, whose sender is earlier.
    """
    n_edges = len(on.graph.edges)
    everything = (on.cut(torch.ones(1, n_edges).to(on.run.logits)) - on.whole).abs().mean()
    shares = torch.logspace(math.log10(LOWEST), 0, N_THRESHOLDS, dtype=torch.float64)
    thresholds = everything * shares.to(everything)
    cut = torch.zeros(N_THRESHOLDS, n_edges).to(everything)
    kept = on.whole.expand(N_THRESHOLDS, -1)
    for i in reversed(range(n_edges)):  # receivers in their order: none before this one has a cut
        trial = cut.clone()
        trial[:, i] = 1
        found = on.cut(trial, start=on.graph.block(on.graph.edges[i].receiver))
        goes = (found - kept).abs().mean(dim=1) < thresholds
        cut[:, i] = goes.to(cut)
        kept = torch.where(goes[:, None], found, kept)
    return (thresholds[:, None] * (1 - cut)).amax(dim=0, keepdim=True)
