"""The true circuit of a network that was made and not trained: which edges carry what.

An edge runs from what writes to the residual stream to what reads there. Its message is what the
sender writes on the directions that the receiver reads, known exactly from how the network was
made. An edge is

- variable: over the given inputs its message takes at least two values at some position, and some
  input's message in the place of another's changes what the receiver does, at a position where
  that can matter to an answer;
- constant: it is read, but nothing that these inputs could send would change anything: the first
  token, positions, a length where all are equally long;
- absent: it is not read.
"""

import math
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Literal

import torch
from jaxtyping import Bool, Float64
from torch import Tensor

from interp.models.graph import UNEMBED, Edge, edges, head_name, mlp_name, node_of
from interp.models.transformer import TaskTransformer

Kind = Literal["variable", "constant", "absent"]

HEAD_WEIGHTS = ("W_Q", "b_Q", "W_K", "b_K", "W_V", "b_V", "W_O")
CHANGED = 1e-5
"""A receiver's output has changed if an entry differs by more, relative to the largest entry.
Leakage is below."""

Residual = Float64[Tensor, "example position d_model"]
Mask = Bool[Tensor, "example position"]


@dataclass(frozen=True)
class Circuit:
    """The edges of a network, judged on a set of pairs."""

    kinds: Mapping[Edge, Kind]
    """Every edge of the network, heads and layers that do nothing included."""
    n_pairs: int

    def edges(self, kind: Kind) -> list[Edge]:
        """The edges of a kind."""
        return [edge for edge, found in self.kinds.items() if found == kind]

    @property
    def nodes(self) -> list[str]:
        """Senders and receivers of variable edges, a head once: the parts that matter."""
        ends = [node_of(end) for edge in self.edges("variable") for end in edge]
        return list(dict.fromkeys(ends))


def judge_edges(
    model: TaskTransformer,
    sent: Mapping[str, Residual],
    judged: Mask,
    pads: Mask,
    unread: Collection[str] = (),
) -> dict[Edge, Kind]:
    """What every edge is, given what each sender writes for a set of inputs.

    Args:
        model: the network, without normalisation and with ReLU.
        sent: the messages by sender; a sender that is not there does nothing.
        judged: the positions at which what receivers do can matter to an answer.
        pads: the positions that are hidden from attention, and have no message.
        unread: receivers whose input cannot matter, though they have weights that read it.
    """
    judge = _Judge(model, sent, judged, pads)
    cfg = model.cfg
    every_edge = edges(cfg.n_layers, cfg.n_heads, has_mlp=not cfg.attn_only)
    return {e: "absent" if e.receiver in unread else judge.kind(e) for e in every_edge}


@dataclass(frozen=True, eq=False)
class Receiver:
    """What reads from the residual stream."""

    reads: Bool[Tensor, "d_model"]
    """The directions that it reads."""
    respond: Callable[[Residual], Tensor]
    """What it does with a residual stream: [example, position, any]."""


class _Judge:
    """What receivers make of the messages of all senders."""

    def __init__(
        self, model: TaskTransformer, sent: Mapping[str, Residual], judged: Mask, pads: Mask
    ) -> None:
        self.sent, self.judged, self.pads, self.cfg = sent, judged, pads, model.cfg
        parameters = model.named_parameters()
        self.weights = {name: weight.detach().double().cpu() for name, weight in parameters}
        self.residual = torch.stack(list(sent.values())).sum(dim=0)
        self.receivers = dict(self._receivers())

    def _receivers(self) -> Iterator[tuple[str, Receiver]]:
        for layer in range(self.cfg.n_layers):
            for head in range(self.cfg.n_heads):
                for x in "qkv":
                    reads = _reads(self.weights[f"blocks.{layer}.attn.W_{x.upper()}"][head])
                    attend = partial(self._attend, layer, head, x)
                    yield f"{head_name(layer, head)}.{x}", Receiver(reads, attend)
            if not self.cfg.attn_only:
                reads = _reads(self.weights[f"blocks.{layer}.mlp.W_in"])
                yield mlp_name(layer), Receiver(reads, partial(self._mlp, layer))
        W_U = self.weights["unembed.W_U"]
        yield UNEMBED, Receiver(_reads(W_U), lambda x: x @ W_U)

    def kind(self, edge: Edge) -> Kind:
        """What `edge` is on these inputs."""
        if edge.sender not in self.sent:
            return "absent"
        receiver = self.receivers[edge.receiver]
        message = self.sent[edge.sender] * receiver.reads
        if not message.any():
            return "absent"
        return "variable" if self._matters(message, receiver) else "constant"

    def _matters(self, message: Residual, receiver: Receiver) -> bool:
        """Whether another input's message changes what the receiver does where it is judged."""
        answers = receiver.respond(self.residual)
        smallest = CHANGED * answers.abs().max()
        for shift in range(1, len(message)):
            # Where the other input has no token, it has no message either.
            silent = self.pads.roll(shift, dims=0)[..., None]
            other = torch.where(silent, message, message.roll(shift, dims=0))
            if torch.equal(other, message):
                continue
            change = (receiver.respond(self.residual - message + other) - answers).abs()
            if (change > smallest)[self.judged].any():
                return True
        return False

    def _attend(self, layer: int, head: int, into: str, x: Residual) -> Residual:
        """A head's output when `x` enters its queries, keys or values alone."""
        weight = {name: self.weights[f"blocks.{layer}.attn.{name}"][head] for name in HEAD_WEIGHTS}
        q, k, v = (
            (x if into == part else self.residual) @ weight[f"W_{part.upper()}"]
            + weight[f"b_{part.upper()}"]
            for part in "qkv"
        )
        scores = q @ k.transpose(-1, -2) / math.sqrt(q.shape[-1])
        scores = scores.masked_fill(self.pads[:, None, :], -math.inf)
        if self.cfg.attention_dir == "causal":
            future = torch.ones(scores.shape[-2:], dtype=torch.bool).triu(1)
            scores = scores.masked_fill(future, -math.inf)
        return scores.softmax(dim=-1) @ v @ weight["W_O"]

    def _mlp(self, layer: int, x: Residual) -> Residual:
        weight = {n: self.weights[f"blocks.{layer}.mlp.{n}"] for n in ("W_in", "b_in", "W_out")}
        return (x @ weight["W_in"] + weight["b_in"]).relu() @ weight["W_out"]


def _reads(weight: Float64[Tensor, "d_model width"]) -> Bool[Tensor, "d_model"]:
    return (weight != 0).any(dim=1)
