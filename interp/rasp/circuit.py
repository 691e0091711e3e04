"""The true circuit of a compiled model: which edges carry what, known before any patching.

An edge runs from what writes to the residual stream to what reads there. Its message is what the
sender writes on the directions that the receiver reads, as the program says it: no attention leaks
and no pad speaks. An edge is

- variable: over the given inputs its message takes at least two values at some position, and some
  input's message in the place of another's changes what the receiver does;
- constant: it is read, but nothing that these inputs could send would change anything: BOS, the
  indices, a length where all are equally long;
- absent: it is not read. The queries and keys of a selector that is always true are absent, since
  attention is uniform whatever they carry.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal

import torch
from jaxtyping import Bool, Float64
from torch import Tensor

from interp.models.graph import EMBED, POS_EMBED, UNEMBED, Edge, edges, head_name, mlp_name
from interp.rasp.blocks import BOS, NUMBER, Direction, Head
from interp.rasp.compiled import CompiledModel
from interp.rasp.domains import InverseWidth
from interp.rasp.expressions import SelectorWidth, SOp, Tokens
from interp.rasp.interpret import Evaluation
from tasks.sequences.encoding import Token

Kind = Literal["variable", "constant", "absent"]
Pair = tuple[Sequence[Token], Sequence[Token]]
"""A clean sequence and a corrupted one."""

HEAD_WEIGHTS = ("W_Q", "b_Q", "W_K", "b_K", "W_V", "b_V", "W_O")
CHANGED = 1e-5
"""A receiver's output has changed if an entry differs by more, relative to the largest entry.
Leakage is below."""

Residual = Float64[Tensor, "example position d_model"]


@dataclass(frozen=True)
class Circuit:
    """The edges of a compiled model, judged on a set of pairs."""

    kinds: Mapping[Edge, Kind]
    """Every edge of the network, heads and layers that do nothing included."""
    n_pairs: int

    def edges(self, kind: Kind) -> list[Edge]:
        """The edges of a kind."""
        return [edge for edge, found in self.kinds.items() if found == kind]

    @property
    def nodes(self) -> list[str]:
        """Senders and receivers of variable edges, a head once: the parts that matter."""
        ends = [end.partition(".")[0] for edge in self.edges("variable") for end in edge]
        return list(dict.fromkeys(ends))


def true_circuit(compiled: CompiledModel, pairs: Sequence[Pair]) -> Circuit:
    """Judge every edge by the inputs that occur in `pairs`, clean and corrupted.

    Raises `ValueError` for an input that the model does not take, or when there are no pairs.
    """
    if not pairs:
        raise ValueError("there are no pairs: give at least one (clean, corrupted)")
    sequences = list(dict.fromkeys(tuple(sequence) for pair in pairs for sequence in pair))
    judge = _Judge(compiled, sequences)
    cfg = compiled.model.cfg
    every_edge = edges(cfg.n_layers, cfg.n_heads, has_mlp=not cfg.attn_only)
    return Circuit({edge: judge.kind(edge) for edge in every_edge}, len(pairs))


class _Judge:
    """The messages of all senders on a set of inputs, and what receivers make of them."""

    def __init__(self, compiled: CompiledModel, sequences: Sequence[Sequence[Token]]) -> None:
        self.made = compiled.circuitry
        self.causal = compiled.causal
        self.tokens = compiled.encoding.encode(sequences)
        self.pads = self.tokens == compiled.encoding.pad
        parameters = compiled.model.named_parameters()
        self.weights = {name: weight.detach().double().cpu() for name, weight in parameters}
        self.place = {direction: i for i, direction in enumerate(self.made.basis)}
        self.sent = {EMBED: self._sent([Tokens()], sequences)}
        self.sent[EMBED][:, 0, self.place[BOS]] = 1
        self.sent[POS_EMBED] = self.weights["pos_embed.W_pos"][: self.tokens.shape[1]].expand(
            len(self.tokens), -1, -1
        )
        self.receivers: dict[str, Receiver] = {}
        for layer, heads in enumerate(self.made.heads):
            for i, head in enumerate(heads):
                self._add_head(layer, i, head, sequences)
            self._add_mlp(layer, sequences)
        W_U = self.weights["unembed.W_U"]
        self.receivers[UNEMBED] = Receiver(_reads(W_U), lambda x: x @ W_U)
        self.residual = torch.stack(list(self.sent.values())).sum(dim=0)

    def _sent(self, variables: Sequence[SOp], sequences: Sequence[Sequence[Token]]) -> Residual:
        """What a sender of `variables` writes, from the program."""
        written = torch.zeros(*self.tokens.shape, len(self.place), dtype=torch.float64)
        for example, sequence in enumerate(sequences):
            evaluation = Evaluation([sequence], self.causal)
            for variable in variables:
                for position, (direction, amount) in enumerate(_writes(evaluation, variable), 1):
                    if direction in self.place:
                        written[example, position, self.place[direction]] = amount
        return written

    def _add_head(
        self, layer: int, i: int, head: Head, sequences: Sequence[Sequence[Token]]
    ) -> None:
        name = head_name(layer, i)
        sent = self._sent([head.output], sequences)
        for value, amount in head.at_bos.items():
            if (direction := Direction(head.output, value)) in self.place:
                sent[:, 0, self.place[direction]] = amount
        for x in "qkv" if head.terms else "v":
            reads = _reads(self.weights[f"blocks.{layer}.attn.W_{x.upper()}"][i])
            self.receivers[f"{name}.{x}"] = Receiver(reads, partial(self._attend, layer, i, x))
        self.sent[name] = sent

    def _add_mlp(self, layer: int, sequences: Sequence[Sequence[Token]]) -> None:
        variables = list(dict.fromkeys(sop for sop, _ in self.made.neurons[layer]))
        if variables:
            reads = _reads(self.weights[f"blocks.{layer}.mlp.W_in"])
            self.receivers[mlp_name(layer)] = Receiver(reads, partial(self._mlp, layer))
            self.sent[mlp_name(layer)] = self._sent(variables, sequences)

    def kind(self, edge: Edge) -> Kind:
        """What `edge` is on these inputs."""
        if edge.sender not in self.sent or edge.receiver not in self.receivers:
            return "absent"
        receiver = self.receivers[edge.receiver]
        message = self.sent[edge.sender] * receiver.reads
        if not message.any():
            return "absent"
        return "variable" if self._matters(message, receiver) else "constant"

    def _matters(self, message: Residual, receiver: "Receiver") -> bool:
        """Whether another input's message changes what the receiver does at some token."""
        answers = receiver.respond(self.residual)
        smallest = CHANGED * answers.abs().max()
        is_token = ~self.pads
        is_token[:, 0] = False
        for shift in range(1, len(message)):
            # Where the other input has no token, it has no message either.
            silent = self.pads.roll(shift, dims=0)[..., None]
            other = torch.where(silent, message, message.roll(shift, dims=0))
            if torch.equal(other, message):
                continue
            change = (receiver.respond(self.residual - message + other) - answers).abs()
            if (change > smallest)[is_token].any():
                return True
        return False

    def _attend(self, layer: int, i: int, into: str, x: Residual) -> Residual:
        """A head's output when `x` enters its queries, keys or values alone."""
        weight = {name: self.weights[f"blocks.{layer}.attn.{name}"][i] for name in HEAD_WEIGHTS}
        q, k, v = (
            (x if into == part else self.residual) @ weight[f"W_{part.upper()}"]
            + weight[f"b_{part.upper()}"]
            for part in "qkv"
        )
        scores = q @ k.transpose(-1, -2) / math.sqrt(q.shape[-1])
        scores = scores.masked_fill(self.pads[:, None, :], -math.inf)
        if self.causal:
            future = torch.ones(scores.shape[-2:], dtype=torch.bool).triu(1)
            scores = scores.masked_fill(future, -math.inf)
        return scores.softmax(dim=-1) @ v @ weight["W_O"]

    def _mlp(self, layer: int, x: Residual) -> Residual:
        weight = {n: self.weights[f"blocks.{layer}.mlp.{n}"] for n in ("W_in", "b_in", "W_out")}
        return (x @ weight["W_in"] + weight["b_in"]).relu() @ weight["W_out"]


@dataclass(frozen=True, eq=False)
class Receiver:
    """What reads from the residual stream."""

    reads: Bool[Tensor, "d_model"]
    """The directions that it reads."""
    respond: Callable[[Residual], Tensor]
    """What it does with a residual stream: [example, position, any]."""


def _reads(weight: Float64[Tensor, "d_model width"]) -> Bool[Tensor, "d_model"]:
    return (weight != 0).any(dim=1)


def _writes(evaluation: Evaluation, variable: SOp) -> list[tuple[Direction, float]]:
    """A variable's direction at each token of the one sequence, and how much is written there."""
    if isinstance(variable, InverseWidth):
        widths = evaluation.column(SelectorWidth(variable.selector)).rows()[0]
        return [(Direction(variable, NUMBER), 1 / (1 + width)) for width in widths]
    values = evaluation.column(variable).rows()[0]
    if variable.is_numerical:
        return [(Direction(variable, NUMBER), float(value)) for value in values]
    return [(Direction(variable, value), 1.0) for value in values]
