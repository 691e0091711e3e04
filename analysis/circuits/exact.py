"""Edges cut one at a time."""

import torch
from jaxtyping import Float
from torch import Tensor

from analysis.circuits.setting import Setting


def exact(on: Setting) -> Float[Tensor, "example edge"]:
    """The change of the metric when each edge alone is cut.

    The edges into a receiver are computed together, from its block on, since only what is disturbed
    has to be read anew.
    """
    graph, whole = on.graph, on.whole
    each = torch.eye(len(graph.edges)).to(on.run.logits)
    ends = [[edge.receiver == receiver for edge in graph.edges] for receiver in graph.receivers]
    cut = [
        on.cut(each[torch.tensor(into)], start=graph.block(receiver))
        for receiver, into in zip(graph.receivers, ends, strict=True)
    ]
    return (torch.cat(cut) - whole).T
