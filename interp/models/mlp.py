"""The two networks of the literature on group composition that are not transformers.

Both read the first two tokens and answer once, so their logits have one position. Hook points
carry TransformerLens' names, with one embedding hook for each operand.
"""

import math

import torch
from jaxtyping import Float, Int64
from torch import Tensor
from torch.nn import ModuleDict, Parameter
from transformer_lens import HookedRootModule
from transformer_lens.hook_points import HookPoint

from interp.models.config import BilinearConfig, MLPConfig
from tasks.task import Task


class HookedMLP(HookedRootModule):
    """ReLU([E_a[a]; E_b[b]] W_in + b_in) W_U (Chughtai, Chan and Nanda 2023, without the bias).

    The weights are drawn as published: standard normals from one generator seeded with `seed`,
    in the order W_E_a, W_E_b, W_in, W_U, over the square roots of d_embed, d_embed, 2 d_embed and
    d_mlp. Hook points: `hook_embed_a`, `hook_embed_b`, `mlp.hook_pre`, `mlp.hook_post`.

    Raises `ValueError` when the task's sequences have fewer than two tokens.
    """

    def __init__(self, config: MLPConfig, task: Task, seed: int) -> None:
        super().__init__()
        self.config = config
        n_tokens, n_outputs = _sizes(task)
        generator = torch.Generator().manual_seed(seed)
        self.W_E_a = _normal(generator, n_tokens, config.d_embed, width=config.d_embed)
        self.W_E_b = _normal(generator, n_tokens, config.d_embed, width=config.d_embed)
        self.W_in = _normal(generator, 2 * config.d_embed, config.d_mlp, width=2 * config.d_embed)
        self.W_U = _normal(generator, config.d_mlp, n_outputs, width=config.d_mlp)
        self.b_in = Parameter(torch.zeros(config.d_mlp)) if config.bias else None
        self.hook_embed_a, self.hook_embed_b = HookPoint(), HookPoint()
        self.mlp = ModuleDict({"hook_pre": HookPoint(), "hook_post": HookPoint()})
        self.setup()

    def forward(
        self, tokens: Int64[Tensor, "example position"]
    ) -> Float[Tensor, "example 1 output"]:
        """The logits at the last position."""
        embed_a = self.hook_embed_a(self.W_E_a[tokens[:, 0]])
        embed_b = self.hook_embed_b(self.W_E_b[tokens[:, 1]])
        pre = torch.cat([embed_a, embed_b], dim=-1) @ self.W_in
        pre = self.mlp["hook_pre"](pre if self.b_in is None else pre + self.b_in)
        post = self.mlp["hook_post"](pre.relu())
        return (post @ self.W_U)[:, None]


class HookedBilinear(HookedRootModule):
    """(E_a[a] * E_b[b]) W_U.

    The weights are standard normals over the square root of d_embed, in the order W_E_a, W_E_b,
    W_U. Hook points: `hook_embed_a`, `hook_embed_b`, and `mlp.hook_post` for the product.

    Raises `ValueError` when the task's sequences have fewer than two tokens.
    """

    def __init__(self, config: BilinearConfig, task: Task, seed: int) -> None:
        super().__init__()
        self.config = config
        n_tokens, n_outputs = _sizes(task)
        generator = torch.Generator().manual_seed(seed)
        self.W_E_a = _normal(generator, n_tokens, config.d_embed, width=config.d_embed)
        self.W_E_b = _normal(generator, n_tokens, config.d_embed, width=config.d_embed)
        self.W_U = _normal(generator, config.d_embed, n_outputs, width=config.d_embed)
        self.hook_embed_a, self.hook_embed_b = HookPoint(), HookPoint()
        self.mlp = ModuleDict({"hook_post": HookPoint()})
        self.setup()

    def forward(
        self, tokens: Int64[Tensor, "example position"]
    ) -> Float[Tensor, "example 1 output"]:
        """The logits at the last position."""
        embed_a = self.hook_embed_a(self.W_E_a[tokens[:, 0]])
        embed_b = self.hook_embed_b(self.W_E_b[tokens[:, 1]])
        return (self.mlp["hook_post"](embed_a * embed_b) @ self.W_U)[:, None]


def _sizes(task: Task) -> tuple[int, int]:
    if task.context_length < 2:
        raise ValueError(
            f"the sequences of {task.name} have {task.context_length} token: this network reads "
            "two; use a transformer"
        )
    return len(task.vocabulary), len(task.outputs)


def _normal(generator: torch.Generator, rows: int, columns: int, *, width: int) -> Parameter:
    # Float32 whatever the default dtype, so that a seed always means the same weights.
    draw = torch.randn(rows, columns, generator=generator, dtype=torch.float32)
    return Parameter(draw / math.sqrt(width))
