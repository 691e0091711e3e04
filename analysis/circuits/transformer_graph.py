"""The graph of a `HookedTransformer`."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from jaxtyping import Float, Int64
from torch import Tensor
from torch.nn import Module

from analysis.circuits.graph import ModelGraph, Recorded, Writes
from interp.models.graph import EMBED, POS_EMBED, UNEMBED, edges, head_name, mlp_name
from interp.models.stream import stream_norms

SPLIT = ("use_split_qkv_input", "use_attn_result", "use_hook_mlp_in")
"""What TransformerLens must be told, so that heads have inputs and outputs of their own."""
Hook = tuple[str, Callable[..., Any]]


class TransformerGraph(ModelGraph):
    """A transformer whose residual stream is the sum of what embeddings, heads and MLPs write.

    Where the stream itself is normalised (`DecoderConfig.norm` published and post), a message
    passes the norms on its way, and they are computed anew for every receiver.

    Raises `ValueError` for other architectures.
    """

    def __init__(self, model: Module) -> None:
        cfg = getattr(model, "cfg", None)
        if cfg is None or not hasattr(model, "blocks"):
            raise ValueError(
                f"{type(model).__name__} has no graph: known are HookedTransformer, HookedMLP and "
                "HookedBilinear"
            )
        for refused in ("parallel_attn_mlp", "use_normalization_before_and_after"):
            if getattr(cfg, refused, False):
                raise ValueError(f"networks with {refused} have no graph of sums: none is built")
        if cfg.n_key_value_heads is not None:
            raise ValueError("heads that share keys and values have no edges of their own")
        super().__init__(model, edges(cfg.n_layers, cfg.n_heads, has_mlp=not cfg.attn_only))
        self.cfg = cfg
        self.norms = stream_norms(model)

    def heads(self, layer: int) -> list[str]:
        """The names of a block's heads."""
        return [head_name(layer, head) for head in range(self.cfg.n_heads)]

    @property
    def stages(self) -> tuple[tuple[str, ...], ...]:
        """The embeddings, then the heads of every block and its MLP."""
        mlps = not self.cfg.attn_only
        found: list[tuple[str, ...]] = [(EMBED, POS_EMBED)]
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
        return Recorded(tokens, forward.current, tuple(forward.stream), logits)

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
        table = self._table(weights.expand(-1, len(run.tokens), -1).flatten(0, 1))
        sent = {name: message.flatten(0, 1) for name, message in (sent or {}).items()}
        forward = _Forward(self, table, other, difference, sent)
        tokens = run.tokens.to(weights.device).repeat(n_cells, 1)
        stream = None
        if start:
            stream = run.stream[start].repeat(n_cells, 1, 1)
            for name in self.senders:
                if name in (EMBED, POS_EMBED) or self.block(name) < start:
                    forward.send(run.writes[name].repeat(n_cells, 1, 1), name=name)
        return forward(tokens, stream, start).unflatten(0, (n_cells, -1))


class _Forward:
    """One forward pass, whose rows are the examples of the first cell, of the second, ..."""

    def __init__(
        self,
        graph: TransformerGraph,
        table: Float[Tensor, "row sender receiver"] | None = None,
        other: Writes | None = None,
        difference: Writes | None = None,
        sent: Writes | None = None,
    ) -> None:
        self.graph, self.table, self.sent = graph, table, sent or {}
        self.other, self.difference = other, difference
        self.current: dict[str, Tensor] = {}
        self.stream: list[Tensor] = []
        self.changes: list[Tensor] = []  # of the senders so far, [row, position, d_model]
        self.disturbed = _disturbed(table, graph.receivers)

    def __call__(
        self, tokens: Tensor, stream: Tensor | None = None, start: int = 0
    ) -> Float[Tensor, "row position output"]:
        """The logits, from the stream before block `start` if it is given."""
        model, n_layers = self.graph.model, self.graph.cfg.n_layers
        stop = self._first_undisturbed()
        with _split(self.graph.cfg), model.hooks(fwd_hooks=list(self._hooks(start))):
            if stream is None:
                end = model(tokens, stop_at_layer=stop)
            else:
                end = model(stream, tokens=tokens, start_at_layer=start, stop_at_layer=stop)
        if stop < n_layers:  # much faster where heads need no inputs and outputs of their own
            end = model(end, tokens=tokens, start_at_layer=stop, stop_at_layer=n_layers)
        end = self._read(end[:, :, None], [UNEMBED], n_layers)[:, :, 0]
        return model(end, tokens=tokens, start_at_layer=n_layers)

    def _first_undisturbed(self) -> int:
        """The block from which on nobody's messages are changed, or of interest."""
        if self.table is None or self.sent or UNEMBED in self.disturbed:
            return self.graph.cfg.n_layers
        return max((self.graph.block(name) + 1 for name in self.disturbed), default=0)

    def _hooks(self, start: int) -> Iterator[Hook]:
        if not start:
            yield "hook_embed", partial(self.send, name=EMBED)
            yield "hook_pos_embed", partial(self.send, name=POS_EMBED)
        for layer in range(start, self.graph.cfg.n_layers):
            block = f"blocks.{layer}"
            for x in "qkv":
                yield f"{block}.hook_{x}_input", partial(self._read_heads, layer=layer, x=x)
            yield f"{block}.attn.hook_result", partial(self._send_heads, layer=layer)
            if not self.graph.cfg.attn_only:
                yield f"{block}.hook_mlp_in", partial(self._read_mlp, layer=layer)
                yield f"{block}.hook_mlp_out", partial(self.send, name=mlp_name(layer))
            yield f"{block}.hook_resid_post", self._keep_stream

    def send(self, message: Tensor, hook: object = None, *, name: str) -> Tensor:
        """Note what a sender writes, or is made to."""
        message = self.sent.get(name, message)
        self.current[name] = message
        if not self.stream and name == POS_EMBED:
            self.stream.append(self.current[EMBED] + message)
        if self.disturbed and self.difference is not None:
            n_cells = len(message) // len(self.difference[name])
            self.changes.append(self.difference[name].repeat(n_cells, 1, 1))
        elif self.disturbed and self.other is not None:
            by_cell = message.unflatten(0, (-1, len(self.other[name])))
            self.changes.append((self.other[name] - by_cell).flatten(0, 1))
        return message

    def _send_heads(self, results: Tensor, hook: object, *, layer: int) -> Tensor | None:
        names = self.graph.heads(layer)
        sent = [
            self.send(result, name=name)
            for name, result in zip(names, results.unbind(dim=2), strict=True)
        ]
        return torch.stack(sent, dim=2) if self.sent.keys() & set(names) else None

    def _keep_stream(self, stream: Tensor, hook: object) -> None:
        self.stream.append(stream)

    def _read_heads(self, stream: Tensor, hook: object, *, layer: int, x: str) -> Tensor:
        receivers = [f"{head}.{x}" for head in self.graph.heads(layer)]
        return self._read(stream, receivers, layer)

    def _read_mlp(self, stream: Tensor, hook: object, *, layer: int) -> Tensor:
        return self._read(stream[:, :, None], [mlp_name(layer)], layer)[:, :, 0]

    def _read(
        self, stream: Float[Tensor, "row position receiver d_model"], names: list[str], layer: int
    ) -> Float[Tensor, "row position receiver d_model"]:
        """What receivers of one kind read in place of the stream."""
        if self.table is None or not self.disturbed.intersection(names):
            return stream
        places = [self.graph.receivers.index(name) for name in names]
        weights = self.table[:, : len(self.changes), places]
        if self.graph.norms is None:
            return stream + _mix(weights, self.changes)
        return self._rebuild(weights, layer, after_heads=names[0] == mlp_name(layer))

    def _rebuild(
        self, weights: Float[Tensor, "row sender receiver"], layer: int, *, after_heads: bool
    ) -> Float[Tensor, "row position receiver d_model"]:
        """The stream that receivers of a block read, through the norms on the way."""
        norms = self.graph.norms
        assert norms is not None
        place = {name: i for i, name in enumerate(self.current)}

        def written(names: list[str]) -> Tensor:
            """The sum of what these senders write and what their edges change."""
            some = [place[name] for name in names]
            changes = _mix(weights[:, some], [self.changes[i] for i in some])
            now = torch.stack([self.current[name] for name in names]).sum(dim=0)
            return now[:, :, None] + changes

        def heads(block: int) -> Tensor:
            bias = self.graph.model.blocks[block].attn.b_O
            return norms[block].attention(written(self.graph.heads(block)) + bias)

        stream = written([EMBED, POS_EMBED])
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
    some = table.flatten(0, 1).any(dim=0).tolist()
    return {name for name, is_some in zip(receivers, some, strict=True) if is_some}


def _mix(
    weights: Float[Tensor, "row sender receiver"], changes: list[Tensor]
) -> Float[Tensor, "row position receiver d_model"]:
    return torch.einsum("bsr,sbpd->bprd", weights, torch.stack(changes))


@contextmanager
def _split(cfg: Any) -> Iterator[None]:
    """Let every head have an input for its queries, keys and values, and an output, of its own."""
    before = {name: getattr(cfg, name) for name in SPLIT}
    for name in SPLIT:
        setattr(cfg, name, True)
    try:
        yield
    finally:
        for name, value in before.items():
            setattr(cfg, name, value)
