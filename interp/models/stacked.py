"""Many instances of one architecture at once, computing only what the loss looks at.

`stacked_logits` is what training differentiates. For the networks of this package it does the
same mathematics as their hooked forward with less work:

- What depends on a token (and its position) alone is computed once per token and then looked up,
  not once per example, unless there are more tokens than examples: the MLP's embeddings go through
  the first layer before the lookup, the transformer's through the first block's W_Q, W_K, W_V.
- A transformer's last block has queries, MLP and logits at the scored positions only.

Biases that are frozen at zero are left out. Any other module runs as it is, instance by instance.
"""

import math
from collections.abc import Mapping
from functools import singledispatch
from typing import Any

import torch
from jaxtyping import Float, Int64, Shaped
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable
from torch.func import functional_call
from torch.nn import Module
from torch.nn.functional import embedding, gelu

from interp.models.mlp import HookedBilinear, HookedMLP
from interp.models.transformer import BareTransformer

Parameters = Mapping[str, Shaped[Tensor, "instance *shape"]]


@singledispatch
def stacked_logits(
    model: Module,
    parameters: Parameters,
    tokens: Int64[Tensor, "instance example position"],
    first_scored: int,
) -> Float[Tensor, "instance example scored output"]:
    """Logits of every instance at the positions from `first_scored` on.

    `model` says which function to compute; its own parameters are not used, those of instance i
    are `parameters[name][i]`.
    """
    n_scored = tokens.shape[2] - first_scored
    logits = []
    for i, instance_tokens in enumerate(tokens):
        weights = {name: stack[i] for name, stack in parameters.items()}
        logits.append(functional_call(model, weights, instance_tokens)[:, -n_scored:])
    return torch.stack(logits)


@stacked_logits.register(HookedMLP)
def _mlp(
    model: HookedMLP,
    parameters: Parameters,
    tokens: Int64[Tensor, "instance example position"],
    first_scored: int,
) -> Float[Tensor, "instance example 1 output"]:
    to_a, to_b = parameters["W_in"].split(model.config.d_embed, dim=1)
    pre = _embed(parameters["W_E_a"], tokens[..., 0], to_a)
    pre = pre + _embed(parameters["W_E_b"], tokens[..., 1], to_b)
    if "b_in" in parameters:
        pre = pre + parameters["b_in"][:, None]
    return (pre.relu() @ parameters["W_U"])[:, :, None]


@stacked_logits.register(HookedBilinear)
def _bilinear(
    model: HookedBilinear,
    parameters: Parameters,
    tokens: Int64[Tensor, "instance example position"],
    first_scored: int,
) -> Float[Tensor, "instance example 1 output"]:
    embed_a = _look_up(parameters["W_E_a"], tokens[..., 0])
    embed_b = _look_up(parameters["W_E_b"], tokens[..., 1])
    return (embed_a * embed_b @ parameters["W_U"])[:, :, None]


@stacked_logits.register(BareTransformer)
def _transformer(
    model: BareTransformer,
    parameters: Parameters,
    tokens: Int64[Tensor, "instance example position"],
    first_scored: int,
) -> Float[Tensor, "instance example scored output"]:
    hidden, skip = last_mlp(model, parameters, tokens, first_scored)
    W_out = parameters[f"blocks.{model.config.n_layers - 1}.mlp.W_out"]
    return _multiply(skip + _multiply(hidden, W_out), parameters["unembed.W_U"])


def last_mlp(
    model: BareTransformer,
    parameters: Parameters,
    tokens: Int64[Tensor, "instance example position"],
    first_scored: int,
) -> tuple[
    Float[Tensor, "instance example scored d_mlp"], Float[Tensor, "instance example scored d_model"]
]:
    """The last block's neurons, and the residual stream before them, at the scored positions."""
    config = model.config
    n_positions = tokens.shape[2]
    # The residual stream before the first block, for every token at every position: row
    # token * n_positions + position of the table.
    W_pos = parameters["pos_embed.W_pos"][:, None, :n_positions]
    table = (parameters["embed.W_E"][:, :, None] + W_pos).flatten(1, 2)
    rows = tokens * n_positions + torch.arange(n_positions, device=tokens.device)
    pads = None if model.pad_token is None else tokens == model.pad_token
    residual = table[:, :0]  # [instance, example, position, d_model], after the first block
    for layer in range(config.n_layers):
        block = f"blocks.{layer}."
        start = first_scored if layer == config.n_layers - 1 else 0
        W_Q, W_K, W_V = (  # [instance, d_model, head and d_head]
            parameters[f"{block}attn.W_{x}"].transpose(1, 2).flatten(2) for x in "QKV"
        )
        if layer == 0:
            k, v = _embed(table, rows, W_K), _embed(table, rows, W_V)
            q = _embed(table, rows[:, :, start:], W_Q)
            residual = _look_up(table, rows[:, :, start:])
        else:
            k, v = _multiply(residual, W_K), _multiply(residual, W_V)
            residual = residual[:, :, start:]
            q = _multiply(residual, W_Q)
        causal = config.attention_dir == "causal"
        z = _attend(q, k, v, config.n_heads, pads, causal=causal)
        residual = residual + _multiply(z, parameters[f"{block}attn.W_O"].flatten(1, 2))
        pre = _multiply(residual, parameters[f"{block}mlp.W_in"])
        post = pre.relu() if config.act_fn == "relu" else gelu(pre)
        if layer == config.n_layers - 1:
            return post, residual
        residual = residual + _multiply(post, parameters[f"{block}mlp.W_out"])
    raise AssertionError("a transformer has at least one block")


def _embed(table: Tensor, index: Tensor, matrix: Tensor) -> Tensor:
    """table[instance, index] @ matrix[instance], multiplied where there are fewer rows."""
    if table.shape[1] <= index[0].numel():
        return _look_up(table @ matrix, index)
    return _multiply(_look_up(table, index), matrix)


def _look_up(table: Tensor, index: Tensor) -> Tensor:
    """table[instance, index] by one embedding lookup: [instance, *index, width]."""
    instances, rows = table.shape[:2]
    offsets = torch.arange(instances, device=index.device) * rows
    flat = index + offsets.view(-1, *[1] * (index.dim() - 1))
    return _Embedding.apply(table.flatten(0, 1), flat)


class _Embedding(Function):
    """`torch.nn.functional.embedding` whose gradient has the same bits every time.

    On cuda, PyTorch adds it up with atomics unless asked not to, and the global way to ask it
    would restrict everything else too.
    """

    @staticmethod
    def forward(ctx: Any, table: Tensor, index: Tensor) -> Tensor:
        ctx.save_for_backward(index)
        ctx.rows = len(table)
        return embedding(index, table)

    @staticmethod
    @once_differentiable
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx: Any, *grads: Tensor
    ) -> tuple[Tensor, None]:
        (index,) = ctx.saved_tensors
        asked = torch.are_deterministic_algorithms_enabled()
        warn_only = torch.is_deterministic_algorithms_warn_only_enabled()
        torch.use_deterministic_algorithms(asked or index.is_cuda, warn_only=warn_only)
        try:
            return torch.ops.aten.embedding_dense_backward(
                grads[0], index, ctx.rows, -1, False
            ), None
        finally:
            torch.use_deterministic_algorithms(asked, warn_only=warn_only)


def _multiply(values: Tensor, matrix: Tensor) -> Tensor:
    """values[instance, ..., input] @ matrix[instance, input, output]."""
    return (values.flatten(1, -2) @ matrix).unflatten(1, values.shape[1:-1])


def _attend(
    q: Tensor, k: Tensor, v: Tensor, n_heads: int, pads: Tensor | None, *, causal: bool
) -> Tensor:
    """Scaled dot-product attention; the queries are those of the last positions.

    No query sees a key where `pads`, [instance, example, key], is true.
    """
    q, k, v = (x.unflatten(-1, (n_heads, -1)) for x in (q, k, v))
    scale = math.sqrt(q.shape[-1])
    if q.shape[2] == 1:  # one query sees every key, and products this thin are no matrix products
        scores = (q * k).sum(-1) / scale  # [instance, example, key, head]
        if pads is not None:
            scores = scores.masked_fill(pads[..., None], -math.inf)
        return (scores.softmax(dim=2)[..., None] * v).sum(dim=2, keepdim=True).flatten(3)
    q, k, v = (x.transpose(2, 3) for x in (q, k, v))
    scores = q @ k.transpose(-1, -2) / scale  # [instance, example, head, query, key]
    if causal:
        n_queries, n_keys = scores.shape[-2:]
        seen = torch.ones(n_queries, n_keys, dtype=torch.bool, device=q.device)
        scores = scores.masked_fill(~seen.tril(n_keys - n_queries), -math.inf)
    if pads is not None:
        scores = scores.masked_fill(pads[:, :, None, None], -math.inf)
    return (scores.softmax(dim=-1) @ v).transpose(2, 3).flatten(3)


def is_ours(model: Module) -> bool:
    """Whether `stacked_logits` has a way of its own for `model`, one free of synchronisation."""
    return stacked_logits.dispatch(type(model)) is not stacked_logits.dispatch(object)
