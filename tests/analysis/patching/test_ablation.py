"""Ablations, against hooks that put in what was computed by hand."""

import jaxtyping
import pytest
import torch
from torch import Tensor

from analysis.patching import ABLATIONS, Site, ablate, patch
from analysis.patching.metrics import margin, reference
from analysis.patching.replacement import _others
from interp.models.config import MLPConfig, TransformerConfig
from interp.models.transformer import BareTransformer
from tasks.composition import GroupComposition
from tasks.pairs import Pairs
from tasks.sequences import Peak
from tasks.task import Examples

TASK = Peak(vocab="0..3", max_length=4)
EXAMPLES = Examples(*(x[:12] for x in (TASK.examples().tokens, TASK.examples().targets)))
Z = "blocks.0.attn.hook_z"


def network() -> BareTransformer:
    config = TransformerConfig(2, 2, 8, 4, 16, attention_dir="bidirectional")
    return config.build(TASK, 0).double()


def by_hand(how: str, activation: Tensor) -> Tensor:
    """Of z, one vector at a time."""
    is_token, replaced = EXAMPLES.tokens != TASK.pad_token, activation.clone()
    n_examples, n_positions = is_token.shape
    for e in range(n_examples):
        for p in range(n_positions):
            rows = [
                activation[i, j]
                for i in range(n_examples)
                for j in range(n_positions)
                if is_token[i, j] and (how == "mean" or j == p)
            ]
            if how == "zero" or not rows:
                replaced[e, p] = 0
            elif how == "resample":
                replaced[e, p] = activation[_others(n_examples, 5)[e], p]
            else:
                replaced[e, p] = torch.stack(rows).mean(dim=0)
    return replaced


@pytest.mark.parametrize("how", ABLATIONS)
def test_every_ablation_by_hand(how: str) -> None:
    model = network()
    assert (EXAMPLES.tokens == TASK.pad_token).any()
    cells = {"head": [Site(Z, heads=1)], "position": [Site(Z, positions=2)]}
    found = ablate(model, EXAMPLES, cells, how=how, seed=5)
    replaced = by_hand(how, model.run_with_cache(EXAMPLES.tokens)[1][Z])
    ref = reference(model, Pairs(EXAMPLES, EXAMPLES))
    for cell, index in (("head", (slice(None), slice(None), 1)), ("position", (slice(None), 2))):

        def put(z: Tensor, hook: object, index: tuple[object, ...] = index) -> Tensor:
            z[index] = replaced[index]
            return z

        expected = margin(model.run_with_hooks(EXAMPLES.tokens, fwd_hooks=[(Z, put)]), ref)
        assert not torch.allclose(expected, torch.as_tensor(found.clean.values))
        value = torch.as_tensor(found.values.sel(cell=cell).values)
        torch.testing.assert_close(value, expected, rtol=1e-9, atol=1e-12)
    assert (found.source, found.direction, found.metric) == (how, "noise", "margin")
    assert found.seed == (5 if how == "resample" else None)
    assert found.normalised.isnull().all()  # there is no other run


def test_pairs_say_what_the_effect_is_compared_with() -> None:
    model, other = network(), Examples(EXAMPLES.tokens.flip(0), EXAMPLES.targets.flip(0))
    pairs = Pairs(EXAMPLES, other, "order")
    cells = {"all": [Site("resid_post", layer=1)]}
    found = ablate(model, pairs, cells, "kl", "zero")
    patched = patch(model, pairs, cells, "kl")
    assert found.variable == "order" and (found.corrupted == patched.corrupted).all()
    expected = found.effect / (found.corrupted - found.clean).mean()
    assert abs(found.normalised - expected).max() < 1e-12


def test_the_others_are_others() -> None:
    for seed in range(20):
        others = _others(3, seed)
        assert (others != torch.arange(3)).all() and others.max() < 3
    assert _others(50, 0).tolist() == _others(50, 0).tolist() != _others(50, 1).tolist()
    assert len(set((_others(50, 0) - torch.arange(50)).tolist())) > 10


def test_what_has_no_position_has_its_mean_over_examples() -> None:
    task = GroupComposition("C5")
    model, examples = MLPConfig(8, 16).build(task, 0), task.examples()
    found = ablate(model, examples, {"all": [Site("post")]}, how="mean")
    post = model.run_with_cache(examples.tokens)[1]["mlp.hook_post"].mean(dim=0)
    logits = (post @ model.W_U).expand(25, 2, -1)  # what it says at the last position
    expected = margin(logits, reference(model, Pairs(examples, examples)))
    torch.testing.assert_close(torch.as_tensor(found.values.values[:, 0]), expected)


MISTAKES = {
    "there is no ablation 'means': there are zero, mean, .*did you mean 'mean'": {"how": "means"},
    "use margin or kl": {"metric": "logit_difference"},
    "there is no hook point 'y'": {"cells": {"a": [Site("y")]}},
}


@pytest.mark.parametrize("message", MISTAKES)
def test_a_mistake(message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)
    arguments = {"cells": {"a": [Site(Z)]}} | MISTAKES[message]
    with pytest.raises(ValueError, match=message):
        ablate(network(), EXAMPLES, **arguments)


def test_one_example_has_no_other() -> None:
    one = Examples(EXAMPLES.tokens[:1], EXAMPLES.targets[:1])
    with pytest.raises(ValueError, match="at least two"):
        ablate(network(), one, {"a": [Site(Z)]}, how="resample")
