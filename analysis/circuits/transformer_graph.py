"""The graph of a `HookedTransformer`."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import torch
from jaxtyping import Float, Int64
from torch import Tensor
from torch.nn import Module

from analysis.circuits.graph import ModelGraph, Recorded, Writes
from interp.models.graph import EMBED, POS_EMBED, UNEMBED, edges, head_name, mlp_name
from interp.models.partial import Network, begins_within
from interp.models.stream import stream_norms

Hook = tuple[str, Callable[..., Any]]
Messages = Float[Tensor, "_ example position d_model"]
"""Of one sender, in all cells, or once for all of them."""


class TransformerGraph(ModelGraph):
    """A transformer whose residual stream is the sum of what embeddings, heads and MLPs write.

    Where the stream itself is normalised (`DecoderConfig.norm` published and post), a message
    passes the norms on its way, and they are computed anew for every receiver. Where positions are
    no part of the stream (rotary and ALiBi of TransformerLens), there is no sender `pos_embed`.

    Raises `ValueError` for other architectures.
    """

    def __init__(self, model: Module) -> None:
        if not (isinstance(model, Network) and begins_within(model)):
            raise ValueError(
                f"{type(model).__name__} has no graph: known are HookedTransformer (without "
                "positions in the manner of shortformer), HookedMLP and HookedBilinear"
            )
        cfg = model.cfg
        for refused in ("parallel_attn_mlp", "use_normalization_before_and_after"):
            if getattr(cfg, refused, False):
                raise ValueError(f"networks with {refused} have no graph of sums: none is built")
        if cfg.n_key_value_heads is not None:
            raise ValueError("heads that share keys and values have no edges of their own")
        adds_positions = cfg.positional_embedding_type == "standard"
        self.embeddings = (EMBED, POS_EMBED) if adds_positions else (EMBED,)
        every_edge = edges(cfg.n_layers, cfg.n_heads, has_mlp=not cfg.attn_only)
        super().__init__(model, [e for e in every_edge if adds_positions or e.sender != POS_EMBED])
        self.cfg = cfg
        self.norms = stream_norms(model)

    def heads(self, layer: int) -> list[str]:
        """The names of a block's heads."""
        return [head_name(layer, head) for head in range(self.cfg.n_heads)]

    @property
    def stages(self) -> tuple[tuple[str, ...], ...]:
        """The embeddings, then the heads of every block and its MLP."""
        mlps = not self.cfg.attn_only
        found: list[tuple[str, ...]] = [self.embeddings]
        for layer in range(self.cfg.n_layers):
            found += [tuple(self.heads(layer)), *[(mlp_name(layer),)] * mlps]
        return tuple(found)

    def block(self, receiver: str) -> int:
        """The block of a receiver; the number of blocks for the unembedding."""
        if receiver == UNEMBED:
            return self.cfg.n_layers
        return int(receiver.removeprefix("MLP").removeprefix("L").partition("H")[0])

    @torch.no_grad()
    def record(self, tokens: Int64[Tensor, "example position"]) -> Recorded:
        """Run the network undisturbed."""
        forward = _Forward(self)
        logits = forward(tokens.to(next(self.model.parameters()).device))
        writes = {name: message[0] for name, message in forward.current.items()}
        return Recorded(tokens, writes, tuple(forward.stream), logits)

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
        """As in `ModelGraph`."""
        n_cells = len(weights)
        forward = _Forward(self, self._table(weights), other, difference, sent)
        tokens = run.tokens.to(weights.device).repeat(n_cells, 1)
        stream = None
        if start:
            stream = run.stream[start].repeat(n_cells, 1, 1)
            for name in self.senders:
                if name in self.embeddings or self.block(name) < start:
                    forward.send(run.writes[name][None], name=name)
        return forward(tokens, stream, start).unflatten(0, (n_cells, -1))


class _Forward:
    """One forward pass, whose rows are the examples of the first cell, of the second, ..."""

    def __init__(
        self,
        graph: TransformerGraph,
        table: Float[Tensor, "cell example_or_1 sender receiver"] | None = None,
        other: Writes | None = None,
        difference: Writes | None = None,
        sent: Writes | None = None,
    ) -> None:
        self.graph, self.table, self.sent = graph, table, sent or {}
        self.other, self.difference = other, difference
        self.n_cells = 1 if table is None else len(table)
        self.current: dict[str, Messages] = {}
        self.changes: list[Messages] = []  # of the senders so far
        self.stream: list[Tensor] = []  # before the blocks so far, [row, position, d_model]
        self.disturbed = _disturbed(table, graph.receivers)

    def __call__(
        self, tokens: Tensor, stream: Tensor | None = None, start: int = 0
    ) -> Float[Tensor, "row position output"]:
        """The logits, from the stream before block `start` if it is given."""
        model, n_layers = self.graph.model, self.graph.cfg.n_layers
        # Hooks of torch: TransformerLens has none that come before a decoder's own, which rotate
        # queries and keys.
        point = model.hook_dict
        handles = [point[at].register_forward_pre_hook(hook) for at, hook in self._reads(start)]
        handles += [point[at].register_forward_hook(hook) for at, hook in self._sends(start)]
        before, model.cfg.use_hook_mlp_in = model.cfg.use_hook_mlp_in, True
        try:
            if stream is None:
                stream = model(tokens, stop_at_layer=0)
            end = model(stream, tokens=tokens, start_at_layer=start, stop_at_layer=n_layers)
        finally:
            model.cfg.use_hook_mlp_in = before
            for handle in handles:
                handle.remove()
        self.stream.append(end)
        return model(self._read_alone(end, UNEMBED), tokens=tokens, start_at_layer=n_layers)

    def _reads(self, start: int) -> Iterator[Hook]:
        """The hooks that see what comes to a point."""
        for layer in range(start, self.graph.cfg.n_layers):
            block = f"blocks.{layer}"
            yield f"{block}.hook_resid_pre", self._keep_stream
            for x in "qkv":
                yield f"{block}.attn.hook_{x}", partial(self._read_heads, layer=layer, x=x)
            yield f"{block}.hook_attn_out", partial(self._add_heads, layer=layer)
            if mlp_name(layer) in self.disturbed:
                yield f"{block}.hook_mlp_in", partial(self._read_mlp, name=mlp_name(layer))

    def _sends(self, start: int) -> Iterator[Hook]:
        """The hooks that see what leaves a point."""
        if not start:
            for name in self.graph.embeddings:
                yield f"hook_{name}", partial(self._send, name=name)
        for layer in range(start, self._heard()):
            yield f"blocks.{layer}.attn.hook_z", partial(self._send_heads, layer=layer)
            if not self.graph.cfg.attn_only:
                yield f"blocks.{layer}.hook_mlp_out", partial(self._send, name=mlp_name(layer))

    def _heard(self) -> int:
        """The block from which on nobody's messages are changed, or of interest."""
        if self.table is None or self.sent:
            return self.graph.cfg.n_layers
        # An MLP hears the heads of its own block.
        return max((self.graph.block(r) + ("MLP" in r) for r in self.disturbed), default=0)

    def send(self, message: Messages, *, name: str) -> Messages:
        """Note what a sender writes, or is made to."""
        message = self.sent.get(name, message)
        self.current[name] = message
        if self.disturbed and self.difference is not None:
            self.changes.append(self.difference[name][None])
        elif self.disturbed and self.other is not None:
            self.changes.append(self.other[name] - message)
        return message

    def _send(self, point: object, inputs: object, written: Tensor, *, name: str) -> Tensor:
        return self.send(self._by_cell(written), name=name).flatten(0, 1)

    def _send_heads(self, point: object, inputs: object, z: Tensor, *, layer: int) -> None:
        """What every head writes; TransformerLens takes longer for it than for a whole block."""
        attention = self.graph.model.blocks[layer].attn
        results = attention.hook_result(torch.einsum("rphe,hed->rphd", z, attention.W_O))
        for name, result in zip(self.graph.heads(layer), results.unbind(dim=2), strict=True):
            self.send(self._by_cell(result), name=name)

    def _add_heads(self, point: object, inputs: tuple[Tensor], *, layer: int) -> Tensor | None:
        """What heads write together, where one is made to write something."""
        names = self.graph.heads(layer)
        if not self.sent.keys() & set(names):
            return None
        written = torch.stack([self.current[name] for name in names]).sum(dim=0)
        return written.flatten(0, 1) + self.graph.model.blocks[layer].attn.b_O

    def _keep_stream(self, point: object, inputs: tuple[Tensor]) -> None:
        self.stream.append(inputs[0])

    def _read_heads(
        self, point: object, inputs: tuple[Tensor], *, layer: int, x: str
    ) -> Float[Tensor, "row position head d_head"] | None:
        """Queries, keys or values, those of some heads from what these read."""
        names = [f"{head}.{x}" for head in self.graph.heads(layer)]
        some = [head for head, name in enumerate(names) if name in self.disturbed]
        if not some:
            return None
        block, place = self.graph.model.blocks[layer], torch.tensor(some, device=inputs[0].device)
        read = block.ln1(self._read(self.stream[-1], [names[head] for head in some], layer))
        weight, bias = (getattr(block.attn, f"{kind}_{x.upper()}")[place] for kind in "Wb")
        new = torch.einsum("rphd,hde->rphe", read, weight) + bias
        return inputs[0].index_copy(2, place, new)

    def _read_mlp(self, point: object, inputs: tuple[Tensor], *, name: str) -> Tensor:
        return self._read_alone(inputs[0], name)

    def _read_alone(
        self, stream: Float[Tensor, "row position d_model"], name: str
    ) -> Float[Tensor, "row position d_model"]:
        """What an MLP or the unembedding reads."""
        if name not in self.disturbed:
            return stream
        return self._read(stream, [name], self.graph.block(name))[:, :, 0]

    def _read(
        self, stream: Float[Tensor, "row position d_model"], names: list[str], layer: int
    ) -> Float[Tensor, "row position receiver d_model"]:
        """What receivers of one kind read in place of the stream."""
        assert self.table is not None
        places = [self.graph.receivers.index(name) for name in names]
        weights = self.table[:, :, : len(self.changes), places]
        if self.graph.norms is not None:
            read = self._rebuild(weights, layer, after_heads=names == [mlp_name(layer)])
        else:
            read = self._by_cell(stream)[..., None, :] + _mix(weights, self.changes)
        return read.flatten(0, 1)

    def _by_cell(self, rows: Float[Tensor, "row *rest"]) -> Float[Tensor, "cell example *rest"]:
        return rows.unflatten(0, (self.n_cells, -1))

    def _rebuild(
        self,
        weights: Float[Tensor, "cell example_or_1 sender receiver"],
        layer: int,
        *,
        after_heads: bool,
    ) -> Float[Tensor, "cell example position receiver d_model"]:
        """The stream that receivers of a block read, through the norms on the way."""
        norms = self.graph.norms
        assert norms is not None
        place = {name: i for i, name in enumerate(self.current)}

        def written(names: Sequence[str]) -> Tensor:
            """The sum of what these senders write and what their edges change."""
            some = [place[name] for name in names]
            changes = _mix(weights[:, :, some], [self.changes[i] for i in some])
            return sum((self.current[name][..., None, :] for name in names), changes)

        def heads(block: int) -> Tensor:
            bias = self.graph.model.blocks[block].attn.b_O
            return norms[block].attention(written(self.graph.heads(block)) + bias)

        stream = written(self.graph.embeddings)
        for block in range(layer):
            stream = norms[block].enter(stream) + heads(block)
            stream = stream + written([mlp_name(block)])
        if layer < self.graph.cfg.n_layers:
            stream = norms[layer].enter(stream)
        return stream + heads(layer) if after_heads else stream


def _disturbed(table: Tensor | None, receivers: Sequence[str]) -> set[str]:
    """The receivers with an edge of any weight, or whose edges' gradients are asked for."""
    if table is None:
        return set()
    if table.requires_grad:
        return set(receivers)
    some = table.flatten(0, 2).any(dim=0).tolist()
    return {name for name, is_some in zip(receivers, some, strict=True) if is_some}


def _mix(
    weights: Float[Tensor, "cell example_or_1 sender receiver"], changes: Sequence[Messages]
) -> Float[Tensor, "cell example position receiver d_model"]:
    """The sum over senders; those whose change is the same in all cells cost much less."""
    alike = [i for i, change in enumerate(changes) if len(change) == 1]
    others = [i for i, change in enumerate(changes) if len(change) > 1]
    parts = [
        torch.einsum(
            "cbsr,scbpd->cbprd", weights[:, :, some], torch.stack([changes[i] for i in some])
        )
        for some in (alike, others)
        if some
    ]
    return sum(parts[1:], parts[0])
