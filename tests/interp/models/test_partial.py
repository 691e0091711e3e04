"""A forward pass that begins in the middle of another gives its logits."""

import pytest
import torch
from transformer_lens import HookedTransformer, HookedTransformerConfig

from interp.models.config import DecoderConfig, MLPConfig, TransformerConfig
from interp.models.partial import begins_within, forward_from, looks_back, prefix_hooks, stays
from tasks.composition import GroupComposition
from tasks.iteration import Parity
from tasks.sequences import Peak

PARITY, PEAK = Parity(max_length=4), Peak(vocab="0..3", max_length=4)
SMALL = DecoderConfig(n_layers=2, n_heads=2, d_model=8)
SIZES = TransformerConfig(2, 2, 8, 4, 16)


def plain(**options: object) -> HookedTransformer:
    cfg = {"n_layers": 2, "d_model": 8, "d_head": 4, "n_ctx": 9, "d_vocab": 8, "seed": 0}
    return HookedTransformer(HookedTransformerConfig(**(cfg | {"act_fn": "relu"} | options)))


@pytest.mark.parametrize("layer", [-1, 0, 1, 2])
@pytest.mark.parametrize("position", [0, 1, 4])
@pytest.mark.parametrize("task", [PARITY, PEAK])
def test_the_logits_of_every_copy(task: Parity | Peak, position: int, layer: int) -> None:
    model = (SMALL if task is PARITY else SIZES).build(task, 0)
    tokens = task.examples().tokens[:6]
    hooks = ["hook_embed", "blocks.0.hook_mlp_out", "blocks.1.attn.hook_z", "ln_final.hook_scale"]
    with torch.no_grad():
        logits, cache = model.run_with_cache(
            tokens, names_filter=prefix_hooks(model, [hooks[layer + 1]])
        )
        found = forward_from(model, tokens, cache.cache_dict, layer, position, 3)
    expected = logits[:, position:].repeat(3, 1, 1)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)


def test_only_what_is_needed_is_kept() -> None:
    model = SMALL.build(PARITY, 0)
    assert prefix_hooks(model, ["blocks.1.attn.hook_z"]) == [
        "blocks.0.hook_resid_post",
        "blocks.1.attn.hook_k",
        "blocks.1.attn.hook_v",
    ]
    assert len(prefix_hooks(model, ["hook_embed"])) == 4
    both = SIZES.build(PEAK, 0)
    both.cfg.attention_dir = "bidirectional"
    assert prefix_hooks(both, ["blocks.0.attn.hook_z"]) == []


def test_which_networks_can_begin_where() -> None:
    assert begins_within(plain()) and looks_back(plain())
    assert not looks_back(plain(attention_dir="bidirectional"))
    assert not looks_back(plain(use_qk_norm=True))  # hook_k is before the norm
    assert not looks_back(plain(clip_qkv=0.1))
    assert not begins_within(plain(positional_embedding_type="shortformer"))
    assert not begins_within(MLPConfig(8, 16).build(GroupComposition("C5"), 0))


def test_what_moves_nothing_between_positions() -> None:
    model = plain(normalization_type="LN")
    names = [name for name in model.hook_dict if stays(model, name)]
    for name in names:
        tokens, seen = torch.tensor([[1, 2, 3, 4]]), []

        def disturb(
            activation: torch.Tensor, hook: object, name: str = name, seen: list[str] = seen
        ) -> torch.Tensor:
            seen.append(name)
            where = (
                (slice(None), slice(None), 1) if "pattern" in name or "scores" in name else (0, 1)
            )
            activation = activation.clone()
            activation[where] += torch.arange(activation[where].shape[-1])
            return activation

        model.set_use_attn_result("result" in name)
        with torch.no_grad():
            change = model.run_with_hooks(tokens, fwd_hooks=[(name, disturb)]) - model(tokens)
        changed = change.abs().amax(dim=-1)[0] > 1e-5
        if seen and "scale" not in name:
            assert changed.tolist() == [False, True, False, False], name
    assert {name.removeprefix("blocks.1.") for name in names} >= {
        "attn.hook_q", "attn.hook_pattern", "attn.hook_z", "hook_resid_mid", "hook_resid_post",
        "mlp.hook_post", "ln2.hook_scale", "ln_final.hook_scale",
    }  # fmt: skip
    others = ["attn.hook_k", "attn.hook_v", "hook_resid_pre", "ln1.hook_normalized"]
    assert not any(stays(model, f"blocks.1.{other}") for other in others)
    assert not any(stays(model, name) for name in model.hook_dict if name.startswith("blocks.0."))
