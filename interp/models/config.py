"""Frozen configurations of the networks. Plain data: importing this module imports no torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol, runtime_checkable

if TYPE_CHECKING:
    from torch.nn import Module

    from tasks.task import Task


@runtime_checkable
class ModelConfig(Protocol):
    """What a recipe asks of a model's configuration: a frozen dataclass that can be built."""

    __dataclass_fields__: ClassVar[dict[str, Any]]

    def build(self, task: Task, seed: int) -> Module:
        """The initial network for `task`, on the CPU, with weights drawn from `seed`."""
        ...


class _Sizes:
    """Checks that every number in a configuration is at least 1."""

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if isinstance(value, int) and not isinstance(value, bool) and value < 1:
                raise ValueError(f"{name} is {value}: it must be at least 1")


@dataclass(frozen=True)
class TransformerConfig(_Sizes):
    """A decoder of transformer blocks without normalisation, biases frozen at zero.

    The defaults are the one-layer network of Chughtai, Chan and Nanda (2023). Its weights are
    drawn from a normal of standard deviation 0.8 / sqrt(d_model), as TransformerLens does.
    """

    n_layers: int = 1
    """Blocks."""
    n_heads: int = 4
    """Attention heads a block."""
    d_model: int = 128
    """Width of the residual stream."""
    d_head: int = 32
    """Width of a head's queries, keys and values."""
    d_mlp: int = 512
    """Neurons of a block's MLP."""
    act_fn: Literal["relu", "gelu"] = "relu"
    """Activation of the MLP."""
    attention_dir: Literal["causal", "bidirectional"] = "causal"
    """Which positions a position attends to."""

    def build(self, task: Task, seed: int) -> Module:
        """A `HookedTransformer` with a logit for every output of `task` at every position."""
        from interp.models.transformer import build_transformer

        return build_transformer(self, task, seed)


PRESETS = {
    "small": TransformerConfig(n_layers=2, n_heads=2, d_model=16, d_head=8, d_mlp=64),
    "medium": TransformerConfig(n_layers=2, n_heads=2, d_model=24, d_head=12, d_mlp=76),
    "large": TransformerConfig(n_layers=6, n_heads=4, d_model=128, d_head=32, d_mlp=240),
}
"""Sizes for the sequence tasks: 7, 13 and 770 thousand parameters on peak in the digits 0 to 9."""


@dataclass(frozen=True)
class CompiledConfig:
    """The transformer whose weights are compiled from the RASP program that solves the task."""

    hardness: float | None = None
    """Gap between the attention scores of selected and other keys. Not given: the smallest that
    keeps every attention row within 1e-6 of what the program says."""

    def __post_init__(self) -> None:
        if not isinstance(self.hardness, int | float | None):
            raise ValueError(f"hardness is {self.hardness!r}: it must be a number")

    def build(self, task: Task, seed: int) -> Module:
        """A `TaskTransformer` in float64; nothing is drawn, so `seed` does not matter."""
        from interp.rasp import compile_task

        return compile_task(task, hardness=self.hardness, dtype="float64").model


@dataclass(frozen=True)
class MLPConfig(_Sizes):
    """One hidden layer on two embeddings: ReLU([E_a[a]; E_b[b]] W_in) W_U.

    No bias, unless asked for, and no tie between the embeddings. Each matrix starts as standard
    normals over the square root of its input width, as published.
    """

    d_embed: int = 256
    """Width of each operand's embedding."""
    d_mlp: int = 128
    """Hidden neurons."""
    bias: bool = False
    """Add a trained bias before the ReLU, starting at zero."""

    def build(self, task: Task, seed: int) -> Module:
        """A `HookedMLP` with a logit for every output of `task` at the last position."""
        from interp.models.mlp import HookedMLP

        return HookedMLP(self, task, seed)


@dataclass(frozen=True)
class BilinearConfig(_Sizes):
    """The elementwise product of two embeddings, unembedded: (E_a[a] * E_b[b]) W_U."""

    d_embed: int = 256
    """Width of each operand's embedding and of their product."""

    def build(self, task: Task, seed: int) -> Module:
        """A `HookedBilinear` with a logit for every output of `task` at the last position."""
        from interp.models.mlp import HookedBilinear

        return HookedBilinear(self, task, seed)
