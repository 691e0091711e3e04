"""Causal scrubbing: does a network do what a hypothesis says?

A hypothesis says which edges matter, and which variable of the input each message is about. If it
is true, messages may come from any other inputs on which the variables are the same.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from analysis.circuits.graph import ModelGraph, Recorded
from analysis.circuits.mlp_graph import POINTS, MLPGraph
from analysis.circuits.setting import Setting
from interp.models.graph import UNEMBED, Edge, node_of

Rows = Int64[Tensor, "example"]
Hook = tuple[str, Callable[..., Any]]
Variable = Callable[[Int64[Tensor, "example position"]], Int64[Tensor, "example *labels"]]
"""From tokens to a label of every input, or several, all of which must agree."""


@dataclass(frozen=True, eq=False)
class Scrubbing:
    """The metric of every input, undisturbed, scrubbed, and of any other input in its place."""

    clean: Float[Tensor, "example"]
    scrubbed: Float[Tensor, "example"]
    random: Float[Tensor, "example"]

    @property
    def recovered(self) -> float:
        """(scrubbed - random) / (clean - random) of the means: 1 if the hypothesis holds.

        NaN where clean and random have the same mean.
        """
        clean, scrubbed, random = (
            part.double().mean().item() for part in (self.clean, self.scrubbed, self.random)
        )
        return (scrubbed - random) / ((clean - random) or float("nan"))


@torch.no_grad()
def scrub(on: Setting, hypothesis: Mapping[str, Variable], *, seed: int = 0) -> Scrubbing:
    """Causal scrubbing (Chan et al. 2022, Redwood Research) on the clean inputs of a setting.

    A part of the network is computed on an input, at first unembed on each of the inputs, while
    - along each of its edges in the hypothesis comes what the sender writes on another input,
      drawn at random from those that agree in the edge's variable, the sender scrubbed in turn;
    - all its other edges bring what is written on one input, drawn at random from all.
    A part into which no edge of the hypothesis leads is not scrubbed, unembed excepted: what it
    does with its input is left open. Edges from one sender into the queries, keys and values of one
    head bring the message of one input, which agrees in the variables of all of them.

    A message is drawn for all positions together, so inputs must agree in all labels of a variable
    at once. If variables tell all inputs apart there is no other to draw, and any hypothesis holds:
    measure the answer at one position (`Pairs.where`), and let variables be what it depends on.
    Inputs should be of one length, since pads are hidden where they are in the input that a part is
    computed on. It takes a forward pass for every way along the hypothesis from unembed to a part.

    Args:
        on: network, inputs and metric; what its cut edges carry has no part in this.
        hypothesis: a variable for each edge by name, such as `{"MLP1->unembed": answer}`.
        seed: of all draws.

    Raises:
        ValueError: there is no such edge, or a variable does not label every input.
    """
    scrubber = _Scrubber(on, hypothesis, torch.Generator().manual_seed(seed))
    n_examples = len(on.run.tokens)
    scrubbed = scrubber.logits(UNEMBED, torch.arange(n_examples))
    random = on.run.logits[scrubber.any_rows(n_examples)]
    return Scrubbing(*on.measured(torch.stack([on.run.logits, scrubbed, random])))


class _Scrubber:
    """What parts of a network do while they hear no more than a hypothesis says."""

    def __init__(
        self, on: Setting, hypothesis: Mapping[str, Variable], generator: torch.Generator
    ) -> None:
        self.graph, self.run, self.generator = on.graph, on.run, generator
        self.edges: list[Edge] = []
        self.labels: dict[str, dict[str, Tensor]] = {UNEMBED: {}}  # by node and sender
        for name, variable in hypothesis.items():
            edge = self.graph.edges[self.graph.index(name)]
            self.edges.append(edge)
            heard = self.labels.setdefault(node_of(edge.receiver), {})
            found = _labels(edge, variable, on.run.tokens.cpu())
            before = heard.get(edge.sender, found[:, :0])
            heard[edge.sender] = torch.cat([before, found], dim=1)

    def message(self, sender: str, rows: Rows) -> Float[Tensor, "example *rest"]:
        """What a sender writes on these inputs, scrubbed."""
        if sender not in self.labels:
            return self.run.writes[sender][rows]
        kept: list[Tensor] = []
        hook, head = _place(self.graph, sender)
        self.logits(sender, rows, [(hook, lambda x, hook: kept.append(x))])
        return kept[0] if head is None else kept[0][:, :, head]

    def logits(
        self, node: str, rows: Rows, hooks: Sequence[Hook] = ()
    ) -> Float[Tensor, "example position output"]:
        """The output on these inputs when a node's edges bring what they may.

        The senders that it listens to write so for all, and its other edges bring a random input's.
        """
        sent = {
            sender: self.message(sender, self.agreeing(labels, rows))[None]
            for sender, labels in self.labels[node].items()
        }
        random = self._at(self.any_rows(len(rows))).writes
        cut = [node_of(e.receiver) == node and e not in self.edges for e in self.graph.edges]
        weights = torch.tensor(cut).to(self.run.logits)[None, None]
        model: Any = self.graph.model
        with model.hooks(fwd_hooks=list(hooks)):
            return self.graph.logits(self._at(rows), weights, random, sent=sent)[0]

    def agreeing(self, labels: Int64[Tensor, "example label"], rows: Rows) -> Rows:
        """For each row a random one that has the same labels; it may be the row itself."""
        group = labels.unique(dim=0, return_inverse=True)[1]
        sizes = group.bincount()
        first, mine = sizes.cumsum(0) - sizes, group[rows]
        place = torch.rand(len(rows), generator=self.generator, dtype=torch.float64) * sizes[mine]
        return group.argsort()[first[mine] + place.long()]

    def any_rows(self, n: int) -> Rows:
        """Random rows."""
        return torch.randint(len(self.run.tokens), (n,), generator=self.generator)

    def _at(self, rows: Rows) -> Recorded:
        writes = {name: message[rows] for name, message in self.run.writes.items()}
        stream = tuple(part[rows] for part in self.run.stream)
        return Recorded(self.run.tokens[rows], writes, stream, self.run.logits[rows])


def _labels(edge: Edge, variable: Variable, tokens: Tensor) -> Int64[Tensor, "example label"]:
    found = variable(tokens)
    if found.shape[:1] != tokens.shape[:1]:
        raise ValueError(
            f"the variable of {edge} returned a tensor of shape {tuple(found.shape)} for "
            f"{len(tokens)} inputs: it must return a label, or a row of labels, for each"
        )
    return found.reshape(len(tokens), -1)


def _place(graph: ModelGraph, sender: str) -> tuple[str, int | None]:
    """The hook point where a sender's message can be seen, and which of its heads it is."""
    if isinstance(graph, MLPGraph):
        return POINTS[sender], None
    block, head = f"blocks.{graph.block(sender)}", sender.partition("H")[2]
    return (f"{block}.attn.hook_result", int(head)) if head else (f"{block}.hook_mlp_out", None)
