"""The `HookedTransformer` with normalisation, for chain of thought and tasks like it."""

import math
from typing import Any

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn
from torch.nn.functional import pad
from transformer_lens.components.layer_norm import LayerNorm

from interp.models.config import DecoderConfig
from interp.models.positions import (
    T5_BUCKETS,
    alibi_slopes,
    distances,
    rotate,
    sinusoids,
    t5_buckets,
    token_index,
)
from interp.models.stacked_layers import Embedding
from interp.models.transformer import TaskTransformer
from tasks.task import Task

Draws = dict[str, Float[Tensor, "..."] | Int64[Tensor, "..."]]
DROPOUT, ROWS = "draws.dropout", "draws.rows"


class Decoder(TaskTransformer):
    """The network of a `DecoderConfig`, its biases frozen at zero.

    Its forward is that of evaluation. Training also has what `draw` draws, see
    `interp.models.stacked_decoder`.

    Raises `ValueError` for a task that needs other attention, and for a shared index on one without
    the token EoI.
    """

    def __init__(self, config: DecoderConfig, task: Task) -> None:
        if task.attention != "causal" or task.pad_token is not None:
            raise ValueError(
                f"{task.name} needs bidirectional attention or hidden pads, which a decoder does "
                "not have: use a transformer"
            )
        super().__init__(
            n_layers=config.n_layers,
            n_heads=config.n_heads,
            d_model=config.d_model,
            d_head=config.d_head,
            d_mlp=config.mlp_width,
            n_ctx=task.context_length,
            d_vocab=len(task.vocabulary),
            d_vocab_out=len(task.outputs),
            act_fn="gelu",
            normalization_type="LN",
        )
        self.config = config
        self.restart = _end_of_input(task) if config.index == "shared" else None
        self.pos_embed = PositionTable(config, task.context_length)
        if config.positions == "blocks":
            d_token = config.d_model - 2 * config.position_width
            self.embed.W_E = nn.Parameter(torch.empty(len(task.vocabulary), d_token))
            self.embed.register_forward_hook(self._pad_embedding)
        if config.positions == "t5":
            self.relative_bias = nn.Parameter(torch.zeros(T5_BUCKETS, config.n_heads))
        for block in self.blocks:
            self._place_norms(block)
            # Hooks of torch and not of TransformerLens, whose `reset_hooks` would remove them.
            if config.positions == "rotary":
                block.attn.hook_q.register_forward_hook(self._rotate)
                block.attn.hook_k.register_forward_hook(self._rotate)
            if config.positions in ("t5", "alibi"):
                block.attn.hook_attn_scores.register_forward_hook(self._add_bias)
        self.setup()

    def forward(self, input: Tensor, *args: Any, **kwargs: Any) -> Any:
        """As `HookedTransformer.forward`: logits [example, position, output] by default.

        With `past_kv_cache`, and for a shared index with `start_at_layer`, the tokens of all
        positions are wanted as `tokens`.
        """
        tokens = kwargs.get("tokens", input)
        if tokens.is_floating_point():  # a residual stream
            if self.restart is not None:
                raise ValueError("a shared index depends on the tokens: give them too, as tokens=")
            tokens = torch.zeros_like(tokens[..., 0], dtype=torch.int64)  # how many is what matters
        self.pos_embed.rows = self.rows(tokens)
        try:
            return super().forward(input, *args, **kwargs)
        finally:
            self.pos_embed.rows = None

    def rows(
        self, tokens: Int64[Tensor, "*batch position"]
    ) -> Int64[Tensor, "*batch_or_1 position"]:
        """The row of the position table that each token has in evaluation."""
        return token_index(tokens, self.restart)

    @property
    def is_random(self) -> bool:
        """Whether anything is drawn anew at every step of training."""
        return self.config.dropout > 0 or self.config.train_index != "plain"

    def draw(self, tokens: Int64[Tensor, "example position"], generator: torch.Generator) -> Draws:
        """What one step of training has beside the weights.

        The factors of embedding dropout, [example, position, d_model], and the rows of the tokens
        where they are random, [example, position].

        Raises `ValueError` where there is no room to shift the indices.
        """
        found: Draws = {}
        if self.config.dropout:
            keep = 1 - self.config.dropout
            factors = torch.empty(*tokens.shape, self.config.d_model, device=generator.device)
            found[DROPOUT] = factors.bernoulli_(keep, generator=generator) / keep
        if self.config.train_index == "shifted":
            room = self.cfg.n_ctx - tokens.shape[1]
            if room == 0:
                raise ValueError(
                    f"train_index is 'shifted', and there are {self.cfg.n_ctx} positions for "
                    "sequences as long: give the task a larger `longest`"
                )
            first = torch.randint(
                room + 1, (len(tokens), 1), generator=generator, device=generator.device
            )
            found[ROWS] = first + self.rows(tokens)
        return found

    def _place_norms(self, block: nn.Module) -> None:
        """TransformerLens normalises what attention and MLP read; others have it elsewhere."""
        if self.config.norm == "published":
            block.ln1 = MovedLayerNorm(self.cfg)
            block.hook_resid_pre.register_forward_hook(block.ln1.normalize)
        elif self.config.norm == "post":
            block.ln1, block.ln2 = MovedLayerNorm(self.cfg), MovedLayerNorm(self.cfg)
            block.hook_attn_out.register_forward_hook(block.ln1.normalize)
            block.hook_mlp_out.register_forward_hook(block.ln2.normalize)

    def _pad_embedding(self, _module: nn.Module, _inputs: object, embedded: Tensor) -> Tensor:
        return pad(embedded, (0, self.cfg.d_model - embedded.shape[-1]))

    def _rotate(self, _module: nn.Module, _inputs: object, x: Tensor) -> Tensor:
        return rotate(x, self._all_rows(x)[..., -x.shape[1] :])

    def _add_bias(self, _module: nn.Module, _inputs: object, scores: Tensor) -> Tensor:
        rows = self._all_rows(scores)
        return scores + self.attention_bias(rows[..., -scores.shape[-2] :], rows)

    def _all_rows(self, like: Tensor) -> Tensor:
        assert self.pos_embed.rows is not None
        return self.pos_embed.rows.to(like.device)

    def attention_bias(
        self,
        queries: Int64[Tensor, "*batch query"],
        keys: Int64[Tensor, "*batch key"],
        relative_bias: Float[Tensor, "bucket head"] | None = None,
    ) -> Float[Tensor, "*batch head query key"]:
        """What T5's table (the model's own, unless given) or ALiBi adds to the scores."""
        distance = distances(queries, keys)
        if self.config.positions == "alibi":
            slopes = alibi_slopes(self.cfg.n_heads).to(queries.device, self.W_E.dtype)
            return -slopes[:, None, None] * distance.abs()[..., None, :, :]
        table = self.relative_bias if relative_bias is None else relative_bias
        # Its gradient has the same bits every time, which that of indexing has not.
        return Embedding.apply(table, t5_buckets(distance)).movedim(-1, -3)


class PositionTable(nn.Module):
    """Row by row what is added to the embeddings: learned, frozen or fixed; nothing if width 0."""

    def __init__(self, config: DecoderConfig, n_rows: int) -> None:
        super().__init__()
        self.config = config
        self.rows: Tensor | None = None  # of all tokens, [example, position], in a forward pass
        width = config.position_width
        if config.positions == "sinusoidal":
            self.register_buffer("W_pos", sinusoids(n_rows, width).float(), persistent=False)
        elif width == 0:
            self.register_buffer("W_pos", torch.empty(n_rows, 0), persistent=False)
        else:
            self.W_pos = nn.Parameter(torch.empty(n_rows, width))

    def forward(
        self, tokens: Int64[Tensor, "example position"], *_: object
    ) -> Float[Tensor, "example position d_model"]:
        """The vectors of the newest tokens, whose rows are the last of `rows`."""
        assert self.rows is not None
        vectors = self.lay_out(self.W_pos[self.rows.to(self.W_pos.device)])
        return vectors[:, -tokens.shape[1] :].expand(len(tokens), -1, -1)

    def lay_out(
        self, codes: Float[Tensor, "*batch position width"]
    ) -> Float[Tensor, "*batch position d_model"]:
        """Codes of the positions of a sequence in the coordinates of the residual stream.

        The first `width` of them; or, in blocks, the last ones, before the previous position's.
        """
        rest = self.config.d_model - codes.shape[-1]
        if self.config.positions != "blocks":
            return pad(codes, (0, rest))
        previous = pad(codes[..., :-1, :], (0, 0, 1, 0))
        return pad(torch.cat([codes, previous], dim=-1), (rest - codes.shape[-1], 0))


class MovedLayerNorm(LayerNorm):
    """A norm that does nothing where TransformerLens has it; `normalize` is a hook elsewhere."""

    def forward(self, x: Tensor) -> Tensor:
        """The input, as it is."""
        return x

    def normalize(self, _module: nn.Module, _inputs: object, x: Tensor) -> Tensor:
        """A hook of torch that normalises what passes a hook point."""
        return super().forward(x)


def build_decoder(config: DecoderConfig, task: Task, seed: int) -> Decoder:
    """The initial network for `task`, with a logit for each of its outputs at every position.

    As published: embeddings and positions are standard normals, other matrices uniform within
    1 / sqrt(their input width), all drawn from one generator seeded with `seed`, in the order of
    `named_parameters`. Gains are 1; T5's biases begin at zero.
    """
    model = Decoder(config, task)
    generator = torch.Generator().manual_seed(seed)
    for name, parameter in model.named_parameters():
        kind = name.rpartition(".")[2]
        if kind in ("W_E", "W_pos"):
            nn.init.normal_(parameter, generator=generator)
        elif kind.startswith("W_"):
            bound = 1 / math.sqrt(config.mlp_width if kind == "W_out" else config.d_model)
            nn.init.uniform_(parameter, -bound, bound, generator=generator)
        elif kind.startswith("b"):
            parameter.requires_grad_(False).zero_()
    if config.positions == "frozen":
        model.pos_embed.W_pos.requires_grad_(False)
    return model


def _end_of_input(task: Task) -> int:
    if "EoI" not in task.vocabulary:
        raise ValueError(
            f"index is 'shared', which begins anew at the token EoI: {task.name} has none; use "
            "'absolute'"
        )
    return task.vocabulary.index("EoI")
