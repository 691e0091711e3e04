"""Many instances of one architecture at once, computing only what the loss looks at.

`stacked_logits` is what training differentiates. For the networks of this package it does the
same mathematics as their hooked forward with less work:

- What depends on a token (and its position) alone is computed once per token and then looked up,
  not once per example: the MLP's embeddings go through the first layer before the lookup, the
  transformer's through the first block's queries, keys and values.
- A transformer's last block has queries, MLP and logits at the scored positions only.

Biases that are frozen at zero are left out. Any other module runs as it is, instance by instance.
"""

import math
from collections.abc import Mapping
from functools import singledispatch

import torch
from jaxtyping import Float, Int64
from torch import Tensor
from torch.func import functional_call
from torch.nn import Module
from torch.nn.functional import embedding, gelu

from interp.models.mlp import HookedBilinear, HookedMLP
from interp.models.transformer import BareTransformer

Parameters = Mapping[str, Float[Tensor, "instance *shape"]]


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
    d_embed = model.config.d_embed
    W_in = parameters["W_in"]
    pre_a = parameters["W_E_a"] @ W_in[:, :d_embed]  # [instance, token, d_mlp]
    pre_b = parameters["W_E_b"] @ W_in[:, d_embed:]
    if "b_in" in parameters:
        pre_a = pre_a + parameters["b_in"][:, None]
    pre = _look_up(pre_a, tokens[..., 0]) + _look_up(pre_b, tokens[..., 1])
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
    config = model.config
    n_positions = tokens.shape[2]
    W_E = parameters["embed.W_E"]
    # The residual stream before the first block, for every token at every position.
    table = W_E[:, :, None] + parameters["pos_embed.W_pos"][:, None, :n_positions]
    rows = tokens * n_positions + torch.arange(n_positions, device=tokens.device)

    def at(values: Tensor, start: int) -> Tensor:
        """Look up values[instance, token, position, ...] from position `start` on."""
        return _look_up(values.flatten(1, 2), rows[:, :, start:])

    residual: Tensor | None = None  # [instance, example, position, d_model], once it needs examples
    for layer in range(config.n_layers):
        block = {
            name.removeprefix(f"blocks.{layer}."): weight for name, weight in parameters.items()
        }
        start = first_scored if layer == config.n_layers - 1 else 0
        if residual is None:
            q, k, v = (_project(table, block[f"attn.W_{x}"]) for x in "QKV")
            q, k, v = at(q, start), at(k, 0), at(v, 0)
            residual = at(table, start)
        else:
            queried = residual[:, :, start:]
            q = _project(queried, block["attn.W_Q"])
            k, v = _project(residual, block["attn.W_K"]), _project(residual, block["attn.W_V"])
            residual = queried
        z = _attend(q, k, v, config.n_heads, causal=config.attention_dir == "causal")
        residual = residual + _multiply(z, block["attn.W_O"].flatten(1, 2))
        pre = _multiply(residual, block["mlp.W_in"])
        post = pre.relu() if config.act_fn == "relu" else gelu(pre)
        residual = residual + _multiply(post, block["mlp.W_out"])
    assert residual is not None
    return _multiply(residual, parameters["unembed.W_U"])


def _look_up(table: Tensor, index: Tensor) -> Tensor:
    """table[instance, index] by one embedding lookup: [instance, *index, width]."""
    instances, rows = table.shape[:2]
    offsets = torch.arange(instances, device=index.device) * rows
    flat = index + offsets.view(-1, *[1] * (index.dim() - 1))
    return embedding(flat, table.flatten(0, 1))


def _multiply(values: Tensor, matrix: Tensor) -> Tensor:
    """values[instance, ..., input] @ matrix[instance, input, output]."""
    return (values.flatten(1, -2) @ matrix).unflatten(1, values.shape[1:-1])


def _project(values: Tensor, weight: Tensor) -> Tensor:
    """By weight[instance, head, d_model, d_head], heads side by side in the last dimension."""
    return _multiply(values, weight.transpose(1, 2).flatten(2))


def _attend(q: Tensor, k: Tensor, v: Tensor, n_heads: int, *, causal: bool) -> Tensor:
    """Scaled dot-product attention; the queries are those of the last positions."""
    q, k, v = (x.unflatten(-1, (n_heads, -1)) for x in (q, k, v))
    scale = math.sqrt(q.shape[-1])
    if q.shape[2] == 1:  # one query sees every key, and products this thin are no matrix products
        pattern = ((q * k).sum(-1) / scale).softmax(dim=2)  # [instance, example, key, head]
        return (pattern[..., None] * v).sum(dim=2, keepdim=True).flatten(3)
    q, k, v = (x.transpose(2, 3) for x in (q, k, v))
    scores = q @ k.transpose(-1, -2) / scale  # [instance, example, head, query, key]
    if causal:
        n_queries, n_keys = scores.shape[-2:]
        seen = torch.ones(n_queries, n_keys, dtype=torch.bool, device=q.device)
        scores = scores.masked_fill(~seen.tril(n_keys - n_queries), -math.inf)
    return (scores.softmax(dim=-1) @ v).transpose(2, 3).flatten(3)
