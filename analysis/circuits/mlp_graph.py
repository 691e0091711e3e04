"""The graph of the networks with two embeddings and one hidden layer."""

from functools import partial

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from analysis.circuits.graph import ModelGraph, Recorded, Writes
from interp.models.graph import UNEMBED, Edge, mlp_name
from interp.models.mlp import HookedBilinear, HookedMLP

POINTS = {"embed_a": "hook_embed_a", "embed_b": "hook_embed_b", mlp_name(0): "mlp.hook_post"}
"""Where what each sender writes can be seen and changed. Every sender has one receiver."""


class MLPGraph(ModelGraph):
    """embed_a->MLP0, embed_b->MLP0 and MLP0->unembed; MLP0 are the neurons after the ReLU, or the
    product of the bilinear network."""

    def __init__(self, model: HookedMLP | HookedBilinear) -> None:
        readers = {name: mlp_name(0) if "embed" in name else UNEMBED for name in POINTS}
        super().__init__(model, [Edge(*ends) for ends in readers.items()])

    @property
    def stages(self) -> tuple[tuple[str, ...], ...]:
        """The embeddings, then the hidden layer."""
        return ("embed_a", "embed_b"), (mlp_name(0),)

    def block(self, receiver: str) -> int:
        """0: there is one block."""
        return 0

    @torch.no_grad()
    def record(self, tokens: Int64[Tensor, "example position"]) -> Recorded:
        """Run the network undisturbed."""
        device = next(self.model.parameters()).device
        logits, cache = self.model.run_with_cache(tokens.to(device))
        return Recorded(tokens, {name: cache[at] for name, at in POINTS.items()}, (), logits)

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

        def deliver(message: Tensor, hook: object, *, name: str) -> Tensor:
            by_cell = message.unflatten(0, (len(weights), -1))
            if sent and name in sent:
                by_cell = sent[name]
            change = difference[name] if difference else other[name] - by_cell
            weight = weights[..., self.senders.index(name), None]  # an edge a sender
            return (by_cell + weight * change).flatten(0, 1)

        hooks = [(at, partial(deliver, name=name)) for name, at in POINTS.items()]
        tokens = run.tokens.to(weights.device).repeat(len(weights), 1)
        logits = self.model.run_with_hooks(tokens, fwd_hooks=hooks)
        return logits.unflatten(0, (len(weights), -1))
