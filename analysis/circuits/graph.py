"""A network as a graph, and its output when edges carry other messages.

What a sender writes reaches every receiver along an edge of its own. An edge of weight w delivers
`current + w (other - current)`, where `current` is what the sender writes in this very run, so that
changes spread as they would; the rest is the network's own forward pass. One forward pass can so
patch any set of edges, and its gradient by the weights is edge attribution.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int64
from torch import Tensor
from torch.nn import Module

from interp.arguments import nearest
from interp.models.graph import Edge

BATCH_BYTES = 2**28
"""Bound on the messages that are computed at a time."""

Writes = Mapping[str, Float[Tensor, "..."]]
"""What every sender writes: [example, position, d_model]; [example, width] in the networks without
positions."""


@dataclass(frozen=True, eq=False)
class Recorded:
    """An undisturbed run."""

    tokens: Int64[Tensor, "example position"]
    writes: Writes
    stream: tuple[Float[Tensor, "example position d_model"], ...]
    """The residual stream before every block, and after the last; empty where there is none."""
    logits: Float[Tensor, "example answered output"]
    """At all positions, or at the one where the network answers."""


class ModelGraph(ABC):
    """The senders, receivers and edges of a network, by the names of `interp.models.graph`."""

    def __init__(self, model: Module, every_edge: Sequence[Edge]) -> None:
        self.model: Any = model
        self.edges = tuple(every_edge)
        self.senders = tuple(dict.fromkeys(edge.sender for edge in every_edge))
        self.receivers = tuple(dict.fromkeys(edge.receiver for edge in every_edge))
        sender = {name: i for i, name in enumerate(self.senders)}
        receiver = {name: i for i, name in enumerate(self.receivers)}
        self._flat = torch.tensor(
            [sender[s] * len(self.receivers) + receiver[r] for s, r in self.edges]
        )
        self._index = {str(edge): i for i, edge in enumerate(self.edges)}

    @property
    @abstractmethod
    def stages(self) -> tuple[tuple[str, ...], ...]:
        """The senders, those together that cannot reach each other, the embeddings first."""

    def index(self, edge: Edge | str) -> int:
        """An edge's place in `edges`. Raises `ValueError` when there is no such edge."""
        if str(edge) not in self._index:
            raise ValueError(
                f"there is no edge {str(edge)!r}: edges are named like {self.edges[0]} and "
                f"{self.edges[-1]}{nearest(str(edge), self._index)}"
            )
        return self._index[str(edge)]

    def weights(self, edges: Sequence[Edge | str]) -> Float[Tensor, "edge"]:
        """1 at these edges, and 0 at others. Raises `ValueError` for one that does not exist."""
        weights = torch.zeros(len(self.edges))
        weights[[self.index(edge) for edge in edges]] = 1
        return weights.to(next(self.model.parameters()))

    @abstractmethod
    def record(self, tokens: Int64[Tensor, "example position"]) -> Recorded:
        """Run the network undisturbed."""

    @abstractmethod
    def logits(
        self,
        run: Recorded,
        weights: Float[Tensor, "cell example_or_1 edge"],
        other: Writes,
        *,
        difference: Writes | None = None,
        sent: Writes | None = None,
        start: int = 0,
    ) -> Float[Tensor, "cell example answered output"]:
        """The output for a run's tokens, in every cell with other weights of the edges.

        Differentiable in weights, `difference` and `sent`.

        Args:
            run: the undisturbed run.
            weights: of every edge; 0 delivers what the sender writes, 1 what is in `other`.
            other: what senders write elsewhere.
            difference: in place of `other` less what senders write in this run.
            sent: in place of what these senders write in this run, [cell, example, ...].
            start: the block to begin at, where no edge into an earlier one has any weight.
        """

    @abstractmethod
    def block(self, receiver: str) -> int:
        """The block of a receiver: the latest `start` at which its input can be changed."""

    def cells_at_once(self, run: Recorded) -> int:
        """How many cells may be computed together."""
        messages = sum(message.nbytes for message in run.writes.values())
        table = len(run.tokens) * len(self.senders) * len(self.receivers) * run.logits.itemsize
        return max(1, BATCH_BYTES // (4 * messages + table))

    def _table(
        self, weights: Float[Tensor, "cell example_or_1 edge"]
    ) -> Float[Tensor, "cell example_or_1 sender receiver"]:
        """The weights, and 0 where there is no edge."""
        shape = len(self.senders), len(self.receivers)
        table = weights.new_zeros(*weights.shape[:2], shape[0] * shape[1])
        return table.index_copy(2, self._flat.to(weights.device), weights).unflatten(2, shape)


def model_graph(model: Module) -> ModelGraph:
    """The graph of a `HookedTransformer`, or of the hooked MLPs.

    Raises `ValueError` for an architecture whose residual stream is not the sum of what heads and
    MLPs write.
    """
    from analysis.circuits.mlp_graph import MLPGraph
    from analysis.circuits.transformer_graph import TransformerGraph
    from interp.models.mlp import HookedBilinear, HookedMLP

    if isinstance(model, HookedMLP | HookedBilinear):
        return MLPGraph(model)
    return TransformerGraph(model)
