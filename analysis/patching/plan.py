"""Which interventions need a forward pass, where it begins, and which of them share one."""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import torch
from jaxtyping import Bool, Int64
from torch import Tensor

from analysis.patching.interchange import interchange_accuracy
from analysis.patching.metrics import (
    Metric,
    accuracy,
    kl,
    logit_difference,
    loss,
    margin,
    probability,
)
from interp.models.partial import Network, begins_within, layer_of, looks_back, stays
from tasks.pairs import Pairs

BATCH_BYTES = {"cpu": 2**22, "cuda": 2**28}
"""Of the widest activation of a batch. A CPU is fastest where it fits in the cache."""
CALL_COST = {"cpu": 3e6, "cuda": 1e10}
"""What running a layer costs beside its arithmetic, in multiplications that take as long."""

READS: dict[Metric, Callable[[Pairs], Bool[Tensor, "example position"]]] = {
    margin: lambda pairs: pairs.scored,
    kl: lambda pairs: pairs.scored,
} | dict.fromkeys(
    [logit_difference, loss, probability, accuracy, interchange_accuracy],
    lambda pairs: pairs.changed,
)
"""The positions whose logits a metric depends on. Others may depend on all."""

Start = tuple[int, int]
"""The layer and the position of a first change."""


def reads(metric: Metric, pairs: Pairs) -> Bool[Tensor, "position"]:
    """The positions whose logits can change the metric of any example."""
    if metric in READS:
        return READS[metric](pairs).any(dim=0).cpu()
    return torch.ones(pairs.clean.targets.shape[1], dtype=torch.bool)


def first_changes(
    model: Network,
    touched: Mapping[str, Bool[Tensor, "cell position"]],
    read: Bool[Tensor, "logit_position"],
) -> dict[int, Start]:
    """Where each cell begins, of those that can change the logits at positions that are read.

    Args:
        model: any network with hook points; all of it runs if it is no `HookedTransformer`.
        touched: the positions that a cell changes at each hook point.
        read: the positions of the logits that matter.
    """
    if not touched:
        return {}
    changed = torch.stack(list(touched.values()))  # [hook, cell, position]
    if not begins_within(model):
        return {cell: (0, 0) for cell in _indices(changed.any(dim=2).any(dim=0))}
    is_causal = looks_back(model)
    # Of what moves between positions, a change is read if anything that it can reach is.
    later = read.flip(0).cummax(dim=0).values.flip(0)
    reached = later if is_causal else read.any().expand_as(read)
    matters = torch.stack([read if stays(model, hook) else reached for hook in touched])
    alive = (changed & matters[:, None]).any(dim=2).any(dim=0)
    layers = torch.tensor([layer_of(model, hook) for hook in touched])[:, None]
    layer = layers.where(changed.any(dim=2), model.cfg.n_layers).amin(dim=0).tolist()
    position = (changed.any(dim=0).int().argmax(dim=1) * is_causal).tolist()
    return {cell: (layer[cell], position[cell]) for cell in _indices(alive)}


def _indices(mask: Bool[Tensor, "cell"]) -> list[int]:
    return mask.nonzero()[:, 0].tolist()


class Limits(NamedTuple):
    """What `plan` goes by."""

    n_examples: int
    most: int
    """Cells in a batch, if there is room for one."""
    spare: int
    """Positions, of all examples, that cost no more than another batch."""


def limits(model: Network, tokens: Int64[Tensor, "example position"]) -> Limits:
    """The limits of a network on its device."""
    kind = "cpu" if tokens.device.type == "cpu" else "cuda"
    widest = max(p.numel() // p.shape[-2] for p in model.parameters() if p.dim() > 1)
    most = BATCH_BYTES[kind] // (4 * tokens.numel() * max(widest, tokens.shape[1]))
    if not begins_within(model):
        return Limits(len(tokens), most, spare=0)
    n_weights = sum(p.numel() for p in model.blocks.parameters()) / model.cfg.n_layers
    return Limits(len(tokens), most, int(CALL_COST[kind] / n_weights))


def plan(starts: Mapping[int, Start], limits: Limits) -> list[list[int]]:
    """Batches of cells, each to run from the layer and position at which its first cell begins.

    Cells that begin later in the same layer join while the tokens that they compute in vain are
    within what is spare.
    """
    batches: list[list[int]] = []
    in_vain = 0
    for cell in sorted(starts, key=lambda cell: starts[cell]):
        layer, position = starts[cell]
        if batches and starts[batches[-1][0]][0] == layer:
            first = starts[batches[-1][0]][1]
            in_vain += limits.n_examples * (position - first)
            if in_vain <= limits.spare and len(batches[-1]) < limits.most:
                batches[-1].append(cell)
                continue
        batches.append([cell])
        in_vain = 0
    return batches
