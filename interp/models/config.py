"""Frozen configurations of the networks. Plain data: importing this module imports no torch."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol, get_args, runtime_checkable

from interp.arguments import nearest

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


@dataclass(frozen=True)
class _Sizes:
    """Checks that every integer in a configuration is at least 1."""

    def __post_init__(self) -> None:
        for field in fields(self):
            name, value = field.name, getattr(self, field.name)
            if "int" in str(field.type) and value is not None and value < 1:
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


Norm = Literal["published", "pre", "post"]
Positions = Literal["learned", "frozen", "sinusoidal", "none", "rotary", "t5", "alibi", "blocks"]
TABLES = ("learned", "frozen", "sinusoidal", "blocks")
"""Those that add a row of a table to the embeddings."""
Index = Literal["absolute", "shared"]
TrainIndex = Literal["plain", "shifted"]


@dataclass(frozen=True)
class DecoderConfig(_Sizes):
    """A causal transformer with LayerNorm gains, exact GELU and no biases.

    The defaults are the network of Cabannes et al. (2024), arXiv 2406.02128, and so are the
    initial weights: see `interp.models.decoder.build_decoder`. A head's width is d_model / n_heads.

    Raises `ValueError` for sizes that do not fit together, and choices that do not exist.
    """

    n_layers: int = 2
    """Blocks."""
    n_heads: int = 1
    """Attention heads a block."""
    d_model: int = 128
    """Width of the residual stream."""
    d_mlp: int | None = None
    """Neurons of a block's MLP. Not given: 4 d_model."""
    norm: Norm = "published"
    """Where a block normalises. published: its input, of which the normalised is then the stream,
    and what the MLP reads. pre: what attention and MLP read. post: what they write."""
    positions: Positions = "learned"
    """How the network is told where tokens stand. frozen: as learned, but never trained. t5,
    alibi: by biases of the attention scores. blocks: token, position and previous position are
    embedded in coordinates of their own."""
    d_positions: int | None = None
    """Coordinates, the first ones, that the table of learned and frozen positions is added to, and
    those of each of the two blocks of positions. Not given: d_model, and d_model // 4 in blocks."""
    index: Index = "absolute"
    """How positions count. shared: anew from 1 at EoI, so that without slack x_t and s_(t-1) have
    one index."""
    train_index: TrainIndex = "plain"
    """shifted: in training, move all indices of an example by one random number, as far as there
    are positions for longer sequences."""
    dropout: float = 0.1
    """Share of the embeddings' coordinates that training sets to zero, at random."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, allowed in _CHOICES.items():
            value = getattr(self, name)
            if value not in get_args(allowed):
                raise ValueError(
                    f"{name} is {value!r}: it must be one of {', '.join(get_args(allowed))}"
                    f"{nearest(str(value), get_args(allowed))}"
                )
        if self.d_model % self.n_heads:
            raise ValueError(f"d_model is {self.d_model}: {self.n_heads} heads do not divide it")
        if self.positions == "rotary" and self.d_head % 2:
            raise ValueError(f"heads have width {self.d_head}: rotary positions need an even one")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout is {self.dropout}: it must be at least 0 and below 1")
        if self.positions not in TABLES and self.train_index == "shifted":
            raise ValueError(
                f"train_index is 'shifted', and positions {self.positions!r}: that changes nothing "
                f"without a table of positions, as {', '.join(TABLES)} have"
            )
        if self.positions == "none" and self.index == "shared":
            raise ValueError("index is 'shared', and positions 'none': there are none to share")
        self._check_d_positions()

    def _check_d_positions(self) -> None:
        if self.positions == "blocks" and self.position_width == 0:
            raise ValueError(f"d_model is {self.d_model}: blocks of positions need at least 4")
        if self.d_positions is None:
            return
        if self.positions not in ("learned", "frozen", "blocks"):
            raise ValueError(
                f"d_positions is {self.d_positions}, and positions {self.positions!r}: only "
                "learned, frozen and blocks have a width of their own"
            )
        most = (self.d_model - 1) // 2 if self.positions == "blocks" else self.d_model
        if self.d_positions > most:
            raise ValueError(
                f"d_positions is {self.d_positions}: with {self.positions!r} and d_model "
                f"{self.d_model} it must be at most {most}"
            )

    @property
    def d_head(self) -> int:
        """Width of a head's queries, keys and values."""
        return self.d_model // self.n_heads

    @property
    def mlp_width(self) -> int:
        """Neurons of a block's MLP."""
        return 4 * self.d_model if self.d_mlp is None else self.d_mlp

    @property
    def position_width(self) -> int:
        """Width of the table of positions; 0 if there is none."""
        if self.d_positions is not None or self.positions not in TABLES:
            return self.d_positions or 0
        return self.d_model // 4 if self.positions == "blocks" else self.d_model

    def build(self, task: Task, seed: int) -> Module:
        """A `HookedTransformer` with a logit for every output of `task` at every position."""
        from interp.models.decoder import build_decoder

        return build_decoder(self, task, seed)


_CHOICES: dict[str, Any] = {
    "norm": Norm,
    "positions": Positions,
    "index": Index,
    "train_index": TrainIndex,
}


@dataclass(frozen=True)
class IterationHeadConfig:
    """The transformer whose weights, set by hand, are an iteration head and a table of F."""

    def build(self, task: Task, seed: int) -> Module:
        """A `TaskTransformer`; nothing is drawn, so `seed` does not matter."""
        from interp.models.iteration_head import iteration_head
        from tasks.iteration import IterationTask

        if not isinstance(task, IterationTask):
            raise ValueError(f"{task.name} is no iterative problem, and has no iteration head")
        return iteration_head(task)


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
