"""Many `Decoder`s at once, as their hooked forward computes one, and in training with draws."""

import torch
from jaxtyping import Float, Int64
from torch import Tensor
from torch.nn.functional import gelu, layer_norm, pad

from interp.models.decoder import DROPOUT, ROWS, Decoder
from interp.models.positions import rotate
from interp.models.stacked_layers import Parameters, attend, look_up, multiply


def decoder_logits(
    model: Decoder,
    parameters: Parameters,
    tokens: Int64[Tensor, "instance example position"],
    first_scored: int,
) -> Float[Tensor, "instance example scored output"]:
    """As `interp.models.stacked.stacked_logits`.

    Among the parameters may be what `Decoder.draw` drew, stacked: then it is used.
    """
    rows = parameters.get(ROWS, model.rows(tokens))
    stream = _embed(model, parameters, tokens, rows)
    n_layers = model.config.n_layers
    for layer in range(n_layers):
        start = first_scored if layer == n_layers - 1 else 0
        stream = _block(model, parameters, f"blocks.{layer}.", stream, rows, start)
    return multiply(_norm(parameters, "ln_final", stream), parameters["unembed.W_U"])


def _embed(model: Decoder, parameters: Parameters, tokens: Tensor, rows: Tensor) -> Tensor:
    embedded = look_up(parameters["embed.W_E"], tokens)
    embedded = pad(embedded, (0, model.config.d_model - embedded.shape[-1]))
    if model.config.position_width:
        fixed = model.pos_embed.W_pos.expand(len(tokens), -1, -1)
        codes = look_up(parameters.get("pos_embed.W_pos", fixed), rows.expand(len(tokens), -1, -1))
        embedded = embedded + model.pos_embed.lay_out(codes)
    return embedded * parameters[DROPOUT] if DROPOUT in parameters else embedded


def _block(
    model: Decoder, parameters: Parameters, block: str, stream: Tensor, rows: Tensor, start: int
) -> Tensor:
    """The residual stream after a block, at the positions from `start` on."""
    place = model.config.norm
    if place == "published":
        stream = _norm(parameters, f"{block}ln1", stream)
    read = _norm(parameters, f"{block}ln1", stream) if place == "pre" else stream
    attended = _attention(model, parameters, f"{block}attn.", read, rows, start)
    if place == "post":
        attended = _norm(parameters, f"{block}ln1", attended)
    stream = stream[:, :, start:] + attended
    read = stream if place == "post" else _norm(parameters, f"{block}ln2", stream)
    hidden = gelu(multiply(read, parameters[f"{block}mlp.W_in"]))
    written = multiply(hidden, parameters[f"{block}mlp.W_out"])
    return stream + (_norm(parameters, f"{block}ln2", written) if place == "post" else written)


def _attention(
    model: Decoder, parameters: Parameters, attn: str, read: Tensor, rows: Tensor, start: int
) -> Tensor:
    W_Q, W_K, W_V = (  # [instance, d_model, head and d_head]
        parameters[f"{attn}W_{x}"].transpose(1, 2).flatten(2) for x in "QKV"
    )
    q, k = multiply(read[:, :, start:], W_Q), multiply(read, W_K)
    n_heads, bias = model.config.n_heads, None
    if model.config.positions == "rotary":
        q, k = (
            rotate(x.unflatten(-1, (n_heads, -1)), rows[..., -x.shape[2] :]).flatten(3)
            for x in (q, k)
        )
    elif model.config.positions in ("t5", "alibi"):
        bias = _bias(model, parameters, rows, start)
    z = attend(q, k, multiply(read, W_V), n_heads, bias, causal=True)
    return multiply(z, parameters[f"{attn}W_O"].flatten(1, 2))


def _bias(model: Decoder, parameters: Parameters, rows: Tensor, start: int) -> Tensor:
    """[instance, example, head, query, key]; of size 1 where it is one for all."""
    if model.config.positions == "alibi":
        return model.attention_bias(rows[..., start:], rows)
    tables = parameters["relative_bias"]
    of_instance = rows.expand(len(tables), -1, -1)
    biases = [
        model.attention_bias(r[..., start:], r, table)
        for r, table in zip(of_instance, tables, strict=True)
    ]
    return torch.stack(biases)


def _norm(parameters: Parameters, name: str, stream: Tensor) -> Tensor:
    gain = parameters[f"{name}.w"]
    return layer_norm(stream, stream.shape[-1:]) * gain[:, None, None]
