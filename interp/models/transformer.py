"""The `HookedTransformer` of a task."""

import math
from dataclasses import asdict
from typing import Any, Literal

import torch
from torch import Tensor, nn
from transformer_lens import HookedTransformer, HookedTransformerConfig

from interp.models.config import TransformerConfig
from tasks.iteration import IterationTask
from tasks.task import Task


class TaskTransformer(HookedTransformer):
    """A `HookedTransformer` of given sizes that never attends to pads.

    Every attention row is a softmax over the keys whose token is not `pad_token`, whatever the
    direction of attention; with `start_at_layer` the tokens are those given as `tokens=`, and
    without them no key is hidden. The weights are uninitialised memory.
    """

    def __init__(
        self,
        *,
        n_layers: int,
        n_heads: int,
        d_model: int,
        d_head: int,
        d_mlp: int,
        n_ctx: int,
        d_vocab: int,
        d_vocab_out: int,
        act_fn: Literal["relu", "gelu"] = "relu",
        attention_dir: Literal["causal", "bidirectional"] = "causal",
        attn_only: bool = False,
        normalization_type: Literal["LN"] | None = None,
        pad_token: int | None = None,
    ) -> None:
        # `seed` and `init_weights` would touch the global generators.
        super().__init__(
            HookedTransformerConfig(
                n_layers=n_layers,
                n_heads=n_heads,
                d_model=d_model,
                d_head=d_head,
                d_mlp=d_mlp,
                act_fn=act_fn,
                attention_dir=attention_dir,
                attn_only=attn_only,
                normalization_type=normalization_type,
                n_ctx=n_ctx,
                d_vocab=d_vocab,
                d_vocab_out=d_vocab_out,
                device="cpu",
                dtype=torch.float32,
                init_weights=False,
            )
        )
        self.pad_token = pad_token
        self._pads: Tensor | None = None  # [example, position], while a forward pass lasts
        if pad_token is not None:
            for block in self.blocks:
                # A hook of torch and not of TransformerLens, whose `reset_hooks` would remove it.
                block.attn.hook_attn_scores.register_forward_hook(self._hide_pads)

    def forward(self, input: Tensor, *args: Any, **kwargs: Any) -> Any:
        """As `HookedTransformer.forward`: logits [example, position, output] by default."""
        tokens = kwargs.get("tokens") if input.is_floating_point() else input
        if self.pad_token is not None and tokens is not None:
            self._pads = tokens == self.pad_token
        try:
            return super().forward(input, *args, **kwargs)
        finally:
            self._pads = None

    def to(self, *args: Any, print_details: bool = False, **kwargs: Any) -> "TaskTransformer":
        """Move or convert, as any module does; TransformerLens' own way prints, if asked to."""
        nn.Module.to(self, *args, **kwargs)
        self.cfg.device, self.cfg.dtype = str(self.W_E.device), self.W_E.dtype
        return self

    def double(self) -> "TaskTransformer":
        """To float64, norms and all."""
        return self.to(torch.float64)

    def _hide_pads(self, _module: nn.Module, _inputs: object, scores: Tensor) -> Tensor:
        if self._pads is None:
            return scores
        return scores.masked_fill(self._pads[..., None, None, :].to(scores.device), -math.inf)


class BareTransformer(TaskTransformer):
    """The network of a `TransformerConfig`, its biases frozen at zero."""

    def __init__(self, config: TransformerConfig, task: Task) -> None:
        super().__init__(
            **asdict(config),
            n_ctx=task.context_length,
            d_vocab=len(task.vocabulary),
            d_vocab_out=len(task.outputs),
            pad_token=task.pad_token,
        )
        self.config = config


def build_transformer(config: TransformerConfig, task: Task, seed: int) -> BareTransformer:
    """The initial network for `task`, with a logit for each of its outputs at every position.

    Weights are normal with standard deviation 0.8 / sqrt(d_model), drawn from one generator
    seeded with `seed` in the order of `named_parameters`.

    Raises `ValueError` for attention in both directions on a chain of thought, whose next tokens
    are to be predicted.
    """
    if config.attention_dir == "bidirectional" and isinstance(task, IterationTask):
        raise ValueError(
            f"attention_dir is 'bidirectional': on {task.name} the network would read what it is "
            "to say; use 'causal'"
        )
    model = BareTransformer(config, task)
    generator = torch.Generator().manual_seed(seed)
    for name, parameter in model.named_parameters():
        if name.rpartition(".")[2].startswith("b_"):
            parameter.requires_grad_(False).zero_()
        else:
            nn.init.normal_(parameter, std=0.8 / math.sqrt(config.d_model), generator=generator)
    return model
