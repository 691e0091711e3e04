"""Greedy generation: a network reads its own output."""

import torch
from jaxtyping import Int64
from torch import Tensor
from transformer_lens.cache.key_value_cache import TransformerLensKeyValueCache

from interp.models.transformer import TaskTransformer


@torch.no_grad()
def generate(
    model: TaskTransformer, prompt: Int64[Tensor, "example prompt"], n_tokens: int
) -> Int64[Tensor, "example n_tokens"]:
    """What `model` says after each prompt: always the token with the largest logit.

    Every step computes the newest position alone, with the keys and values of those before. The
    model's outputs are its input tokens.

    Raises `ValueError` when prompt and output are longer than the model's context.
    """
    length = prompt.shape[1] + n_tokens - 1  # the last token is said and not read
    if length > model.cfg.n_ctx:
        raise ValueError(
            f"{n_tokens} tokens after a prompt of {prompt.shape[1]} need {length} positions: the "
            f"network has {model.cfg.n_ctx}"
        )
    cache = TransformerLensKeyValueCache.init_cache(model.cfg, prompt.device, len(prompt))
    tokens = new = prompt
    for _ in range(n_tokens):
        mask = torch.ones_like(new)
        logits = model(new, tokens=tokens, past_kv_cache=cache, attention_mask=mask)
        new = logits[:, -1:].argmax(dim=-1)
        tokens = torch.cat([tokens, new], dim=1)
    return tokens[:, prompt.shape[1] :]
