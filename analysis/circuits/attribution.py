"""Estimates of what cutting an edge does, from gradients.

All are gradients of the metric by the weights of the edges, since a cut is a weight of 1.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from analysis.circuits.graph import Writes
from analysis.circuits.setting import Setting
from interp.models.graph import node_of

STEPS = 32
"""Points of the integral, each in the middle of its share of the way."""


def attribution(on: Setting) -> Float[Tensor, "example edge"]:
    """Edge attribution patching (Syed, Rager and Conmy 2023, arXiv 2310.10348).

    The first-order estimate at the clean run: what cutting would change in the message, times the
    gradient of the metric by what the receiver reads.
    """
    return _gradient(on, _difference(on), {}, 1)


def integrated_inputs(on: Setting, *, steps: int = STEPS) -> Float[Tensor, "example edge"]:
    """EAP with integrated gradients, inputs (Hanna, Pezzelle and Belinkov 2024, arXiv 2403.17806).

    The gradient is the mean over runs whose embeddings lie between the clean and the other ones.
    The scores of the edges that leave the embeddings add up to the effect of cutting all of them.
    """
    return _integrated(on, on.graph.stages[0], steps)


def integrated_activations(on: Setting, *, steps: int = STEPS) -> Float[Tensor, "example edge"]:
    """EAP with integrated gradients, activations: as the library of Hanna et al. has it.

    For the edges that leave the heads of a block, or an MLP, or the embeddings, the gradient is the
    mean over runs in which what these write lies between the clean and the other messages. The
    scores of these edges add up to the effect of cutting all of them.
    """
    found = torch.zeros(len(on.reference.pairs), len(on.graph.edges)).to(on.run.logits)
    for stage in on.graph.stages:
        leaves = torch.tensor([edge.sender in stage for edge in on.graph.edges])
        found[:, leaves] = _integrated(on, stage, steps)[:, leaves]
    return found


def node_attribution(on: Setting) -> Float[Tensor, "example edge"]:
    """Attribution patching of nodes (Nanda 2023): an edge counts as its lesser end does.

    A node's score is the sum of the attribution of the edges that leave it; unembed has none, and
    is never the lesser end.
    """
    by_edge = attribution(on)
    nodes: dict[str, Tensor] = {}
    for i, edge in enumerate(on.graph.edges):
        nodes[edge.sender] = nodes.get(edge.sender, 0) + by_edge[:, i]
    columns = []
    for edge in on.graph.edges:
        ends = torch.stack([nodes[node] for node in map(node_of, edge) if node in nodes])
        lesser = ends.abs().argmin(dim=0, keepdim=True)
        columns.append(ends.gather(0, lesser)[0])
    return torch.stack(columns, dim=1)


def _integrated(on: Setting, senders: tuple[str, ...], steps: int) -> Tensor:
    """The mean gradient while what some senders write goes from the clean to the other."""
    difference = _difference(on)
    total = torch.zeros(len(on.reference.pairs), len(on.graph.edges)).to(on.run.logits)
    shares = (torch.arange(steps).to(on.run.logits) + 0.5) / steps
    for some in shares.split(on.graph.cells_at_once(on.run)):
        sent = {
            name: on.run.writes[name]
            + some.view(-1, *[1] * difference[name].ndim) * difference[name]
            for name in senders
        }
        total += _gradient(on, difference, sent, len(some))
    return total / steps


def _difference(on: Setting) -> Writes:
    """What cutting changes in every message."""
    return {name: on.other[name] - message for name, message in on.run.writes.items()}


def _gradient(
    on: Setting, difference: Writes, sent: Writes, n_cells: int
) -> Float[Tensor, "example edge"]:
    """The gradient of the metric by the weights of the edges at 0, summed over cells."""
    shape = n_cells, len(on.reference.pairs), len(on.graph.edges)
    weights = torch.zeros(shape).to(on.run.logits).requires_grad_()
    logits = on.graph.logits(on.run, weights, on.other, difference=difference, sent=sent)
    (gradient,) = torch.autograd.grad(on.measured(logits).sum(), weights)
    return gradient.sum(dim=0)
