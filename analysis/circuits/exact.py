"""Edges cut one at a time."""

from collections import defaultdict

import torch
from jaxtyping import Float
from torch import Tensor

from analysis.circuits.setting import Setting


def exact(on: Setting) -> Float[Tensor, "example edge"]:
    """The change of the metric when each edge alone is cut.

    The edges into a block are computed together, from that block on.
    """
    by_block: dict[int, list[int]] = defaultdict(list)
    for i, edge in enumerate(on.graph.edges):
        by_block[on.graph.block(edge.receiver)].append(i)
    whole = on.whole
    effects = whole.new_empty(len(on.graph.edges), len(whole))
    for block, some in by_block.items():
        alone = torch.eye(len(on.graph.edges)).to(on.run.logits)[some]
        effects[some] = on.cut(alone, start=block) - whole
    return effects.T
