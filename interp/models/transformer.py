"""The `HookedTransformer` of a task."""

import math
from typing import Any

import torch
from torch import nn
from transformer_lens import HookedTransformer, HookedTransformerConfig

from interp.models.config import TransformerConfig
from tasks.task import Task


class BareTransformer(HookedTransformer):
    """A `HookedTransformer` without normalisation, its biases frozen at zero."""

    def __init__(self, config: TransformerConfig, task: Task) -> None:
        # `seed` and `init_weights` would touch the global generators.
        super().__init__(
            HookedTransformerConfig(
                n_layers=config.n_layers,
                n_heads=config.n_heads,
                d_model=config.d_model,
                d_head=config.d_head,
                d_mlp=config.d_mlp,
                act_fn=config.act_fn,
                attention_dir=config.attention_dir,
                normalization_type=None,
                n_ctx=task.max_length,
                d_vocab=len(task.vocabulary),
                d_vocab_out=len(task.outputs),
                device="cpu",
                dtype=torch.float32,
                init_weights=False,
            )
        )
        self.config = config

    def to(self, *args: Any, **kwargs: Any) -> "BareTransformer":
        """Move or convert, as any module does; TransformerLens' own way prints."""
        nn.Module.to(self, *args, **kwargs)
        self.cfg.device, self.cfg.dtype = str(self.W_E.device), self.W_E.dtype
        return self


def build_transformer(config: TransformerConfig, task: Task, seed: int) -> BareTransformer:
    """The initial network for `task`, with a logit for each of its outputs at every position.

    Weights are normal with standard deviation 0.8 / sqrt(d_model), drawn from one generator
    seeded with `seed` in the order of `named_parameters`.
    """
    model = BareTransformer(config, task)
    generator = torch.Generator().manual_seed(seed)
    for name, parameter in model.named_parameters():
        if name.rpartition(".")[2].startswith("b_"):
            parameter.requires_grad_(False).zero_()
        else:
            nn.init.normal_(parameter, std=0.8 / math.sqrt(config.d_model), generator=generator)
    return model
