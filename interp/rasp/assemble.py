"""Blocks as the weights of a `HookedTransformer`.

The residual stream has a direction for every value of every variable that somebody reads, and one
for BOS. At a token, a variable is one-hot (or a number). At BOS it is zero, but for the defaults
that heads write there too; whatever reads a variable cancels those, so that BOS never counts as a
token and no neuron fires on it.

Attention: a query scores a key with one gap for each term of the selector that holds. BOS lies as
high as a selected key, between selected and others, or as low as the others (`Head.bos`).

Shapes are those of TransformerLens: W_Q, W_K, W_V [head, d_model, d_head], W_O [head, d_head,
d_model], W_in [d_model, d_mlp], W_out [d_mlp, d_model]; in this file without the head.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import compress
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float64
from torch import Tensor

from interp.models.transformer import TaskTransformer
from interp.rasp.blocks import BOS, NUMBER, Block, Direction, Head, seen_by_attention
from interp.rasp.domains import Domains
from interp.rasp.expressions import Indices, SOp, Tokens, Value
from interp.rasp.units import Unit, units
from tasks.sequences.encoding import SequenceEncoding

CONSTANT = Direction(None, 1)
"""Where a weight on it is a bias."""


class Gaps(NamedTuple):
    """Differences of attention scores (natural logarithms of attention)."""

    lower: float
    """Between BOS as the default and a key that is not selected."""
    upper: float
    """Between a selected key and BOS as the default."""


def gaps(max_length: int, leakage: float) -> Gaps:
    """The smallest gaps at which no entry of an attention row is off by more than `leakage`.

    Where nothing is selected, BOS loses exp(-lower) to each of max_length keys; where one key is
    selected, it loses exp(-upper) to BOS and next to nothing to the others.
    """
    # Half of it: the rest is for rounding in float32, which is not the same on every CPU.
    odds = leakage / (2 - leakage)
    lower = math.log(max_length / odds)
    return Gaps(lower, math.log((1 + max_length * math.exp(-lower)) / odds))


Neuron = tuple[SOp, Unit]
"""A unit with the variable that it helps to write."""


@dataclass(frozen=True, eq=False)
class Circuitry:
    """A program's heads and neurons by layer. What nobody reads is left out."""

    output: SOp
    domains: Domains
    heads: tuple[tuple[Head, ...], ...]
    neurons: tuple[tuple[Neuron, ...], ...]
    exact: frozenset[SOp]
    """The variables that some attention pattern depends on."""

    @cached_property
    def read(self) -> frozenset[Direction]:
        """The directions that somebody reads, the unembedding among them."""
        found = set(directions(self.output, self.domains))
        for heads, neurons in zip(self.heads, self.neurons, strict=True):
            found.update(*(_read_by_head(head, self.domains) for head in heads))
            found.update(*(unit.inputs for _, unit in neurons))
        return frozenset(found)

    @cached_property
    def basis(self) -> tuple[Direction, ...]:
        """The directions of the residual stream, in its order."""
        written = dict.fromkeys(sop for layer in self.neurons for sop, _ in layer)
        sops = [Tokens(), Indices(), *(h.output for layer in self.heads for h in layer), *written]
        all_directions = [d for sop in sops for d in directions(sop, self.domains)]
        return (BOS, *(d for d in all_directions if d in self.read))

    def pruned(self) -> "Circuitry":
        """Without the neurons that write only what nobody reads."""

        def is_read(neuron: Neuron) -> bool:
            sop, unit = neuron
            return any(Direction(sop, value) in self.read for value in unit.outputs)

        neurons = tuple(tuple(filter(is_read, layer)) for layer in self.neurons)
        fewer = replace(self, neurons=neurons)
        shrank = sum(map(len, neurons)) < sum(map(len, self.neurons))
        return fewer.pruned() if shrank else self


def circuitry(
    blocks: Mapping[SOp, Block], layers: Mapping[SOp, int], output: SOp, domains: Domains
) -> Circuitry:
    """The heads and neurons of a program's blocks, in their layers."""
    n_layers = max(layers.values(), default=-1) + 1
    heads: list[list[Head]] = [[] for _ in range(n_layers)]
    neurons: list[list[Neuron]] = [[] for _ in range(n_layers)]
    exact = seen_by_attention(blocks)
    for sop, block in blocks.items():
        if isinstance(block, Head):
            heads[layers[sop]].append(block)
        else:
            made = units(block, domains, exact=sop in exact)
            neurons[layers[sop]].extend((sop, unit) for unit in made)
    layered = tuple(map(tuple, heads)), tuple(map(tuple, neurons))
    return Circuitry(output, domains, *layered, frozenset(exact)).pruned()


def directions(sop: SOp, domains: Domains) -> list[Direction]:
    """The directions of a variable."""
    if sop.is_numerical:
        return [Direction(sop, NUMBER)]
    return [Direction(sop, value) for value in domains.of(sop).values]


def _read_by_head(head: Head, domains: Domains) -> set[Direction]:
    read = {move.source for move in head.moves}
    for term in head.terms:
        for variable, axis in ((term.keys, 0), (term.queries, 1)):
            if variable is not None:
                asked = np.asarray(term.table.any(axis=axis)).tolist()
                read.update(compress(directions(variable, domains), asked))
    return read - {BOS}


@dataclass(frozen=True, eq=False)
class HeadWeights:
    """One head's matrices, at its own width. Queries are in units of attention scores."""

    W_Q: Float64[Tensor, "d_model d_score"]
    b_Q: Float64[Tensor, "d_score"]
    W_K: Float64[Tensor, "d_model d_score"]
    b_K: Float64[Tensor, "d_score"]
    W_V: Float64[Tensor, "d_model d_value"]
    W_O: Float64[Tensor, "d_value d_model"]


class Assembly:
    """The tensors of a network, in float64."""

    def __init__(
        self, made: Circuitry, encoding: SequenceEncoding, gaps: Gaps, exact_gaps: Gaps
    ) -> None:
        """`exact_gaps` are those of heads whose output other attention patterns depend on."""
        self.made = made
        self.encoding = encoding
        self.gaps = gaps
        self.exact_gaps = exact_gaps
        self.place = {direction: i for i, direction in enumerate(made.basis)}
        # What the residual stream at BOS holds. Where a width counts every token that is some
        # share of 1; counting it as 0 is safe, since the neurons that read it fire less on more.
        self.bos_content = self._vector({BOS: 1.0})
        self.heads = [[self._head(head) for head in heads] for heads in made.heads]
        self.n_layers = len(self.heads)
        self.n_heads = max([1, *map(len, self.heads)])
        every_head = [head for heads in self.heads for head in heads]
        self.d_head = max([1, *(max(h.W_Q.shape[1], h.W_V.shape[1]) for h in every_head)])
        self.d_mlp = max([0, *map(len, made.neurons)])

    def model(self, outputs: Sequence[Value], *, causal: bool) -> TaskTransformer:
        """The network, whose logits are in the order of `outputs`."""
        model = TaskTransformer(
            n_layers=self.n_layers,
            n_heads=self.n_heads,
            d_model=len(self.place),
            d_head=self.d_head,
            d_mlp=self.d_mlp,
            attn_only=not self.d_mlp,
            n_ctx=self.encoding.context_length,
            d_vocab=len(self.encoding.vocabulary),
            d_vocab_out=len(outputs),
            attention_dir="causal" if causal else "bidirectional",
            pad_token=self.encoding.pad,
        ).double()
        parameters = dict(model.named_parameters())
        with torch.no_grad():
            for name, tensor in self._tensors(outputs).items():
                parameters.pop(name).copy_(tensor)
        assert not parameters, f"nothing was written to {list(parameters)}"
        return model

    def _tensors(self, outputs: Sequence[Value]) -> dict[str, Tensor]:
        """The parameters under TransformerLens' names."""
        tensors = {
            "embed.W_E": self._embedding(),
            "pos_embed.W_pos": self._positions(),
            "unembed.W_U": self._unembedding(outputs),
            "unembed.b_U": torch.zeros(len(outputs), dtype=torch.float64),
        }
        for layer in range(self.n_layers):
            for name, tensor in {**self._attention(layer), **self._mlp(layer)}.items():
                tensors[f"blocks.{layer}.{name}"] = tensor
        return tensors

    def _embedding(self) -> Float64[Tensor, "d_vocab d_model"]:
        rows = [{Direction(Tokens(), token): 1.0} for token in self.encoding.tokens]
        return torch.stack([self._vector(row) for row in (*rows, {BOS: 1.0}, {})])

    def _positions(self) -> Float64[Tensor, "n_ctx d_model"]:
        rows = [{Direction(Indices(), i): 1.0} for i in range(self.encoding.max_length)]
        return torch.stack([self._vector(row) for row in ({}, *rows)])

    def _unembedding(self, outputs: Sequence[Value]) -> Float64[Tensor, "d_model d_vocab_out"]:
        output = self.made.output
        values = [NUMBER] if output.is_numerical else outputs
        return torch.stack([self._vector({Direction(output, v): 1.0}) for v in values], dim=1)

    def _vector(self, entries: Mapping[Direction, float]) -> Float64[Tensor, "d_model"]:
        """Entries in the residual stream's order; directions that nobody reads have no place."""
        vector = torch.zeros(len(self.place), dtype=torch.float64)
        for direction, weight in entries.items():
            if direction in self.place:
                vector[self.place[direction]] += weight
        return vector

    def _columns(self, entries: Sequence[Mapping[Direction, float]]) -> Tensor:
        """[d_model, column]"""
        vectors = [self._vector(column) for column in entries]
        return torch.stack(vectors, dim=1) if vectors else torch.zeros(len(self.place), 0).double()

    def _set_bos(self, weight: Tensor, bias: Tensor, target: Tensor) -> None:
        """Make BOS arrive as `target`, whatever else is in the residual stream there."""
        weight[self.place[BOS]] = 0
        weight[self.place[BOS]] = target - bias - self.bos_content @ weight

    def _head(self, head: Head) -> HeadWeights:
        gaps = self.exact_gaps if head.output in self.made.exact else self.gaps
        gap = sum(gaps) if head.bos == "default" else gaps.lower
        keys: list[dict[Direction, float]] = []
        queries: list[dict[Direction, float]] = []
        for term in head.terms:
            for key_values, query_values in rectangles(term.table):
                keys.append(self._values(term.keys, key_values, 1.0))
                queries.append(self._values(term.queries, query_values, gap))
        level = {
            "selected": gap * len(head.terms),
            "default": gap * (len(head.terms) - 1) + gaps.lower,
            "excluded": 0.0 if head.terms else -gap,
        }[head.bos]
        needs_bos = bool(head.terms) or head.bos != "selected"
        W_K, b_K = self._with_bias(keys + [{}] * needs_bos)
        W_Q, b_Q = self._with_bias(queries + [{CONSTANT: level}] * needs_bos)
        if needs_bos:
            # BOS is the only key of this last column, and as a query attends to itself.
            only_last = torch.zeros_like(b_K)
            only_last[-1] = 1
            self._set_bos(W_K, b_K, only_last)
            self._set_bos(W_Q, b_Q, only_last * max(level, gap))
        return HeadWeights(W_Q, b_Q, W_K, b_K, *self._values_and_outputs(head))

    def _values(
        self, variable: SOp | None, members: Sequence[int], weight: float
    ) -> dict[Direction, float]:
        if variable is None:
            return {CONSTANT: weight}
        places = directions(variable, self.made.domains)
        return {places[i]: weight for i in members}

    def _with_bias(self, columns: Sequence[Mapping[Direction, float]]) -> tuple[Tensor, Tensor]:
        bias = [column.get(CONSTANT, 0.0) for column in columns]
        return self._columns(columns), torch.tensor(bias, dtype=torch.float64)

    def _values_and_outputs(self, head: Head) -> tuple[Tensor, Tensor]:
        """W_V and W_O, one inner dimension for each value that is written and read."""
        written = dict.fromkeys(move.value for move in head.moves)
        values = [v for v in written if Direction(head.output, v) in self.place]
        moved = [{m.source: 0.0 for m in head.moves if m.value == v} for v in values]
        for column, value in zip(moved, values, strict=True):
            for move in head.moves:
                if move.value == value:
                    column[move.source] += move.weight
        W_V = self._columns(moved)
        at_bos = torch.tensor([column.get(BOS, 0.0) for column in moved], dtype=torch.float64)
        self._set_bos(W_V, torch.zeros_like(at_bos), at_bos)
        W_O = self._columns([{Direction(head.output, value): 1.0} for value in values]).T
        written_at_bos = {Direction(head.output, v): w for v, w in head.at_bos.items()}
        self.bos_content = self.bos_content + self._vector(written_at_bos)
        return W_V, W_O

    def _attention(self, layer: int) -> dict[str, Tensor]:
        shape = (self.n_heads, len(self.place), self.d_head)
        whole = {f"attn.W_{x}": torch.zeros(shape, dtype=torch.float64) for x in "QKV"}
        whole["attn.W_O"] = torch.zeros(shape, dtype=torch.float64).transpose(1, 2).contiguous()
        biases = torch.zeros(self.n_heads, self.d_head, dtype=torch.float64)
        whole |= {f"attn.b_{x}": biases.clone() for x in "QKV"}
        whole["attn.b_O"] = torch.zeros(len(self.place), dtype=torch.float64)
        scale = math.sqrt(self.d_head)  # TransformerLens divides scores by it
        for i, head in enumerate(self.heads[layer]):
            n_scores, n_values = head.W_Q.shape[1], head.W_V.shape[1]
            whole["attn.W_Q"][i, :, :n_scores] = head.W_Q * scale
            whole["attn.b_Q"][i, :n_scores] = head.b_Q * scale
            whole["attn.W_K"][i, :, :n_scores] = head.W_K
            whole["attn.b_K"][i, :n_scores] = head.b_K
            whole["attn.W_V"][i, :, :n_values] = head.W_V
            whole["attn.W_O"][i, :n_values] = head.W_O
        return whole

    def _mlp(self, layer: int) -> dict[str, Tensor]:
        if not self.d_mlp:
            return {}
        neurons = self.made.neurons[layer]
        W_in, b_in = self._with_bias([{**unit.inputs, CONSTANT: unit.bias} for _, unit in neurons])
        on_bos = self.bos_content @ W_in + b_in
        self._set_bos(W_in, b_in, on_bos.clamp(max=0))
        written = [{Direction(sop, v): w for v, w in unit.outputs.items()} for sop, unit in neurons]
        W_out = self._columns(written).T
        missing = self.d_mlp - len(neurons)
        return {
            "mlp.W_in": torch.nn.functional.pad(W_in, (0, missing)),
            "mlp.b_in": torch.nn.functional.pad(b_in, (0, missing)),
            "mlp.W_out": torch.nn.functional.pad(W_out, (0, 0, 0, missing)),
            "mlp.b_out": torch.zeros(len(self.place), dtype=torch.float64),
        }


def rectangles(table: Bool[np.ndarray, "q k"]) -> list[tuple[list[int], list[int]]]:
    """Sets of keys and of queries; the table is true where a key is in one with its query.

    Values that the table does not tell apart share a set, on the side where there are fewer.
    """
    by_key = [(keys, column.nonzero()[0].tolist()) for column, keys in _classes(table.T)]
    by_query = [(row.nonzero()[0].tolist(), queries) for row, queries in _classes(table)]
    return min(by_key, by_query, key=len)


def _classes(rows: Bool[np.ndarray, "row column"]) -> list[tuple[np.ndarray, list[int]]]:
    """The different rows that are not all false, each with the places where it is."""
    different, where = np.unique(rows, axis=0, return_inverse=True)
    members = [np.asarray(where == i).nonzero()[0].tolist() for i in range(len(different))]
    return [(row, places) for row, places in zip(different, members, strict=True) if np.any(row)]
