"""Pads are never attended to: shorter sequences give the same numbers in any company."""

import copy
from dataclasses import replace

import pytest
import torch
from torch.func import functional_call
from transformer_lens import HookedTransformer

from interp.models.config import TransformerConfig
from interp.models.transformer import TaskTransformer
from tasks.composition import GroupComposition
from tasks.sequences import Reverse

TASK = Reverse(vocab="a..c", max_length=6)
CAUSAL = TransformerConfig(n_layers=3, n_heads=2, d_model=8, d_head=4, d_mlp=16)
CONFIGS = [CAUSAL, replace(CAUSAL, attention_dir="bidirectional")]
SEQUENCES = [("a", "b"), ("c",), ("b", "c", "a", "a")]
both_directions = pytest.mark.parametrize("config", CONFIGS, ids=["causal", "bidirectional"])


def build(config: TransformerConfig) -> TaskTransformer:
    return config.build(TASK, 0).to(torch.float64)


@both_directions
def test_padding_further_changes_no_output(config: TransformerConfig) -> None:
    model = build(config)
    together = model(TASK.encoding.encode(SEQUENCES))
    assert together.shape[1] == 5
    further = model(TASK.encoding.encode(SEQUENCES, 7))
    for row, sequence in enumerate(SEQUENCES):
        alone = model(TASK.encoding.encode([sequence]))[0]
        for padded in (together, further):
            torch.testing.assert_close(padded[row, : len(alone)], alone, rtol=0, atol=1e-14)


@both_directions
def test_what_a_pad_holds_reaches_no_real_position_by_a_single_bit(
    config: TransformerConfig,
) -> None:
    model, tokens = build(config), TASK.encoding.encode(SEQUENCES)
    is_real = tokens != TASK.pad_token
    before = model(tokens)
    with torch.no_grad():
        model.embed.W_E[TASK.pad_token] += 100.0
    after = model(tokens)
    assert torch.equal(after[is_real], before[is_real])
    assert not torch.isclose(after[~is_real], before[~is_real]).any(dim=-1).any()


@both_directions
def test_attention_is_a_softmax_over_the_other_keys(config: TransformerConfig) -> None:
    model, tokens = build(config), TASK.encoding.encode(SEQUENCES)
    _, cache = model.run_with_cache(tokens)
    for layer in range(config.n_layers):
        scores = cache[f"blocks.{layer}.attn.hook_attn_scores"]
        pattern = cache[f"blocks.{layer}.attn.hook_pattern"]
        hidden = (tokens == TASK.pad_token)[:, None, None, :].expand_as(pattern)
        assert (pattern[hidden] == 0).all() and (scores[hidden] == -torch.inf).all()
        torch.testing.assert_close(pattern.sum(dim=-1), torch.ones_like(pattern[..., 0]))
        # The scores at the other keys are the products of queries and keys, as ever.
        q, k = (cache[f"blocks.{layer}.attn.hook_{x}"] for x in "qk")
        products = torch.einsum("eqhd,ekhd->ehqk", q, k) / config.d_head**0.5
        seen = scores > -torch.inf
        torch.testing.assert_close(scores[seen], products[seen])
        assert (pattern[seen] > 0).all()


def test_without_a_pad_token_it_is_the_plain_hooked_transformer() -> None:
    task = GroupComposition("C5", equals_token=True)
    model = CAUSAL.build(task, 0)
    plain = HookedTransformer(model.cfg)
    plain.load_state_dict(model.state_dict())
    tokens = task.examples().tokens
    assert model.pad_token is None and torch.equal(model(tokens), plain(tokens))


def test_copies_hide_pads_by_their_own_tokens() -> None:
    model, tokens = build(CONFIGS[1]), TASK.encoding.encode(SEQUENCES)
    expected, twin = model(tokens), copy.deepcopy(model)
    del model  # a hook that still belonged to it would see no tokens
    assert torch.equal(twin(tokens), expected)
    twin.reset_hooks(including_permanent=True)
    assert torch.equal(twin(tokens), expected)
    doubled = {name: 2 * p for name, p in twin.named_parameters()}
    with torch.no_grad():
        by_call = functional_call(twin, doubled, tokens)
        for parameter in twin.parameters():
            parameter *= 2
    assert torch.equal(twin(tokens), by_call) and not torch.equal(by_call, expected)


def test_hooks_come_after_the_pads_are_hidden() -> None:
    model, tokens = build(CONFIGS[1]), TASK.encoding.encode(SEQUENCES)
    seen = []
    hook = ("blocks.1.attn.hook_attn_scores", lambda scores, hook: seen.append(scores))
    model.run_with_hooks(tokens, fwd_hooks=[hook])
    assert ((seen[0] == -torch.inf).all(dim=(1, 2)) == (tokens == TASK.pad_token)).all()


@both_directions
def test_a_forward_pass_in_two_parts(config: TransformerConfig) -> None:
    model, tokens = build(config), TASK.encoding.encode(SEQUENCES)
    is_real = tokens != TASK.pad_token
    residual = model(tokens, stop_at_layer=1)
    assert torch.equal(model(residual, start_at_layer=1, tokens=tokens), model(tokens))
    # Nothing says where the pads are, not even the pass before.
    unmasked = model(residual, start_at_layer=1)
    hides_itself = config.attention_dir == "causal"  # pads come last
    assert torch.allclose(unmasked[is_real], model(tokens)[is_real]) == hides_itself
    whole = TASK.encoding.encode([("a", "b", "c")])
    assert torch.equal(model(model(whole, stop_at_layer=2), start_at_layer=2), model(whole))


def test_attention_alone_and_any_sizes() -> None:
    model = TaskTransformer(
        n_layers=2, n_heads=3, d_model=6, d_head=5, d_mlp=1, n_ctx=7, d_vocab=5, d_vocab_out=2,
        attention_dir="bidirectional", attn_only=True, pad_token=4,
    )  # fmt: skip
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, generator=torch.Generator().manual_seed(1))
    model.to(torch.float64)
    short, long = (TASK.encoding.encode([("a", "b")], length) for length in (None, 7))
    assert "blocks.0.mlp.W_in" not in dict(model.named_parameters())
    torch.testing.assert_close(model(long)[:, :3], model(short), rtol=0, atol=1e-12)
