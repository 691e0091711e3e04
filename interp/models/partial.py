"""Forward passes that begin in the middle of another one: at a layer, and at a position.

What a change cannot reach is taken from an undisturbed run: the layers before it and, where
attention is causal, the keys and values of earlier positions.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeGuard

import torch
from jaxtyping import Float, Int64
from torch import Tensor
from transformer_lens import HookedRootModule, HookedTransformer
from transformer_lens.cache.key_value_cache_entry import TransformerLensKeyValueCacheEntry

Network = HookedRootModule
"""Whatever has hook points."""

STAYS = re.compile(
    r"blocks\.\d+\.(attn\.hook_(q|rot_q|attn_scores|pattern|z|result)|hook_q_input|hook_attn_out"
    r"|hook_resid_mid|hook_mlp_in|ln2\..*|mlp\..*|hook_mlp_out|hook_resid_post)"
)
"""Hook points whose change, in the last block, has an effect on the same position's logits alone.
That of attention scores and pattern is a query's."""


def begins_within(model: Network) -> TypeGuard[HookedTransformer]:
    """Whether `forward_from` works for this network."""
    return isinstance(model, HookedTransformer) and (
        model.cfg.positional_embedding_type != "shortformer"  # positions enter in every block
    )


def looks_back(model: HookedTransformer) -> bool:
    """Whether no position is changed by a later one, and `hook_k` and `hook_v` are what is kept
    of earlier ones."""
    cfg, attentions = model.cfg, (block.attn for block in model.blocks)
    changed_after_hook = cfg.clip_qkv is not None or any(a.q_norm is not None for a in attentions)
    return cfg.attention_dir == "causal" and not changed_after_hook


def layer_of(model: HookedTransformer, hook: str) -> int:
    """The block of a hook point: -1 for the embeddings, n_layers for what follows the blocks."""
    if block := re.match(r"blocks\.(\d+)\.", hook):
        return int(block[1])
    return model.cfg.n_layers if hook.startswith(("ln_final.", "unembed.")) else -1


def stays(model: HookedTransformer, hook: str) -> bool:
    """Whether a change at a position of this hook point reaches that position's logits alone."""
    last = model.cfg.n_layers - 1
    layer = layer_of(model, hook)
    return layer > last or (layer == last and STAYS.fullmatch(hook) is not None)


def prefix_hooks(model: HookedTransformer, hooks: Iterable[str]) -> list[str]:
    """The activations that `forward_from` takes to begin in the layers of `hooks`."""
    layers = {layer_of(model, hook) for hook in hooks}
    found = [f"blocks.{layer - 1}.hook_resid_post" for layer in sorted(layers) if layer > 0]
    if looks_back(model):
        after = range(max(min(layers, default=0), 0), model.cfg.n_layers)
        found += [f"blocks.{layer}.attn.hook_{x}" for layer in after for x in "kv"]
    return found


def last_answers(
    model: HookedTransformer, n: int, kept: Iterable[str] = ()
) -> list[tuple[str, Callable[..., Tensor]]]:
    """Hooks, to come after all others, by which a run only computes the answers at n positions.

    When attention was paid for the last time, each position is by itself, and those before the n
    last are dropped. There is no such hook where it would cut off activations to be `kept`.
    """
    block = f"blocks.{model.cfg.n_layers - 1}"
    late = re.compile(rf"{block}\.(hook_resid_mid|ln2|mlp|hook_mlp|hook_resid_post)|ln_f|unembed")
    if not model.blocks or model.cfg.parallel_attn_mlp or any(map(late.match, kept)):
        return []
    point = "hook_resid_post" if model.cfg.attn_only else "hook_resid_mid"
    return [(f"{block}.{point}", lambda stream, hook: stream[:, -n:].contiguous())]


def forward_from(
    model: HookedTransformer,
    tokens: Int64[Tensor, "example position"],
    activations: Mapping[str, Tensor],
    layer: int,
    position: int,
    n_copies: int,
) -> Float[Tensor, "copied_example new_position output"]:
    """The logits from `position` on, of copies of a run that are entered before `layer`.

    All examples come first for the first copy, then for the second. Layer -1 is the embedding,
    and n_layers the unembedding with its normalisation.

    Args:
        model: one that `begins_within`; if position is not 0, one that `looks_back`.
        tokens: of the run, at all positions.
        activations: of the run, at `prefix_hooks`.
    """
    copies = tokens.repeat(n_copies, 1)
    if layer < 0:  # once more for every copy, since hooks may disturb it
        residual = model(copies, stop_at_layer=0)[:, position:]
    else:
        whole = (
            activations[f"blocks.{layer - 1}.hook_resid_post"]
            if layer
            else model(tokens, stop_at_layer=0)
        )
        residual = whole[:, position:].repeat(n_copies, 1, 1)
    past: Any = None
    if position:
        past = {
            i: _Past(
                activations[f"blocks.{i}.attn.hook_k"][:, :position],
                activations[f"blocks.{i}.attn.hook_v"][:, :position],
            )
            for i in range(max(layer, 0), model.cfg.n_layers)
        }
    start = max(layer, 0)
    return model(residual, start_at_layer=start, tokens=copies, past_kv_cache=past)


class _Past(TransformerLensKeyValueCacheEntry):
    """Keys and values of earlier positions, the same for every copy of the examples."""

    def append(self, new_keys: Tensor, new_values: Tensor) -> tuple[Tensor, Tensor]:
        """All keys and values; nothing is kept."""
        return _joined(self.past_keys, new_keys), _joined(self.past_values, new_values)


def _joined(past: Tensor, new: Tensor) -> Tensor:
    new = new.unflatten(0, (-1, len(past)))
    return torch.cat([past.expand(len(new), *past.shape), new], dim=2).flatten(0, 1)
