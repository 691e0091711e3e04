"""Many instances of one architecture at once, computing only what the loss looks at.

`stacked_logits` is what training differentiates. For the networks of this package it does the
same mathematics as their hooked forward with less work:

- What depends on a token (and its position) alone is computed once per token and then looked up,
  not once per example, unless there are more tokens than examples: the MLP's embeddings go through
  the first layer before the lookup, the transformer's through the first block's W_Q, W_K, W_V.
- A transformer's last block has queries, MLP and logits at the scored positions only.
- Biases that are frozen at zero are left out.

Any other module runs as it is, instance by instance.
"""

import math
from functools import singledispatch

import torch
from jaxtyping import Float, Int64
from torch import Tensor
from torch.func import functional_call
from torch.nn import Module
from torch.nn.functional import gelu

from interp.models.decoder import Decoder
from interp.models.mlp import HookedBilinear, HookedMLP
from interp.models.stacked_decoder import decoder_logits
from interp.models.stacked_layers import Parameters, attend, look_up, multiply
from interp.models.transformer import BareTransformer, TaskTransformer


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
    embed_a = look_up(parameters["W_E_a"], tokens[..., 0])
    embed_b = look_up(parameters["W_E_b"], tokens[..., 1])
    return (embed_a * embed_b @ parameters["W_U"])[:, :, None]


stacked_logits.register(Decoder, decoder_logits)


@stacked_logits.register(TaskTransformer)
def _transformer(
    model: TaskTransformer,
    parameters: Parameters,
    tokens: Int64[Tensor, "instance example position"],
    first_scored: int,
) -> Float[Tensor, "instance example scored output"]:
    if not _is_plain(model):
        return stacked_logits.dispatch(object)(model, parameters, tokens, first_scored)
    hidden, skip = last_mlp(model, parameters, tokens, first_scored)
    mlp = f"blocks.{model.cfg.n_layers - 1}.mlp."
    written = _add_bias(
        model, parameters, f"{mlp}b_out", multiply(hidden, parameters[f"{mlp}W_out"])
    )
    logits = multiply(skip + written, parameters["unembed.W_U"])
    return _add_bias(model, parameters, "unembed.b_U", logits)


def _is_plain(model: TaskTransformer) -> bool:
    """Whether `last_mlp` computes it."""
    return model.cfg.normalization_type is None and not model.cfg.attn_only


def _add_bias(model: Module, parameters: Parameters, name: str, values: Tensor) -> Tensor:
    """Where biases are not frozen at zero."""
    if isinstance(model, BareTransformer):
        return values
    return values + parameters[name].flatten(1)[:, None, None]


def last_mlp(
    model: TaskTransformer,
    parameters: Parameters,
    tokens: Int64[Tensor, "instance example position"],
    first_scored: int,
) -> tuple[
    Float[Tensor, "instance example scored d_mlp"], Float[Tensor, "instance example scored d_model"]
]:
    """The last block's neurons, and the residual stream before them, at the scored positions."""
    cfg = model.cfg
    n_positions = tokens.shape[2]
    # The residual stream before the first block, for every token at every position: row
    # token * n_positions + position of the table.
    W_pos = parameters["pos_embed.W_pos"][:, None, :n_positions]
    table = (parameters["embed.W_E"][:, :, None] + W_pos).flatten(1, 2)
    rows = tokens * n_positions + torch.arange(n_positions, device=tokens.device)
    hide_pads = None  # [instance, example, head, query, key], to be added to the scores
    if model.pad_token is not None:
        pads = (tokens == model.pad_token)[:, :, None, None]
        hide_pads = torch.zeros(pads.shape, device=pads.device).masked_fill(pads, -math.inf)
    residual = table[:, :0]  # [instance, example, position, d_model], after the first block
    for layer in range(cfg.n_layers):
        block = f"blocks.{layer}."
        start = first_scored if layer == cfg.n_layers - 1 else 0
        W_Q, W_K, W_V = (  # [instance, d_model, head and d_head]
            parameters[f"{block}attn.W_{x}"].transpose(1, 2).flatten(2) for x in "QKV"
        )
        if layer == 0:
            k, v = _embed(table, rows, W_K), _embed(table, rows, W_V)
            q = _embed(table, rows[:, :, start:], W_Q)
            residual = look_up(table, rows[:, :, start:])
        else:
            k, v = multiply(residual, W_K), multiply(residual, W_V)
            residual = residual[:, :, start:]
            q = multiply(residual, W_Q)
        q, k, v = (
            _add_bias(model, parameters, f"{block}attn.b_{x}", values)
            for x, values in zip("QKV", (q, k, v), strict=True)
        )
        causal = cfg.attention_dir == "causal"
        z = attend(q, k, v, cfg.n_heads, hide_pads, causal=causal)
        written = multiply(z, parameters[f"{block}attn.W_O"].flatten(1, 2))
        residual = residual + _add_bias(model, parameters, f"{block}attn.b_O", written)
        pre = multiply(residual, parameters[f"{block}mlp.W_in"])
        pre = _add_bias(model, parameters, f"{block}mlp.b_in", pre)
        post = pre.relu() if cfg.act_fn == "relu" else gelu(pre)
        if layer == cfg.n_layers - 1:
            return post, residual
        written = multiply(post, parameters[f"{block}mlp.W_out"])
        residual = residual + _add_bias(model, parameters, f"{block}mlp.b_out", written)
    raise AssertionError("a transformer has at least one block")


def _embed(table: Tensor, index: Tensor, matrix: Tensor) -> Tensor:
    """table[instance, index] @ matrix[instance], multiplied where there are fewer rows."""
    if table.shape[1] <= index[0].numel():
        return look_up(table @ matrix, index)
    return multiply(look_up(table, index), matrix)


def is_ours(model: Module) -> bool:
    """Whether `stacked_logits` has a way of its own for `model`, one free of synchronisation."""
    way = stacked_logits.dispatch(type(model))
    if way is _transformer and isinstance(model, TaskTransformer):
        return _is_plain(model)
    return way is not stacked_logits.dispatch(object)
