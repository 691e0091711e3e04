"""The HookedTransformer of a task: its shape, its weights, its silence."""

import math

import pytest
import torch

from interp.models.config import TransformerConfig
from tasks.composition import GroupComposition

TASK = GroupComposition(group="C7", equals_token=True)
SMALL = TransformerConfig(n_layers=2, n_heads=2, d_model=8, d_head=4, d_mlp=16)


def test_logits_are_for_every_output_at_every_position() -> None:
    model = SMALL.build(TASK, seed=0)
    assert model(TASK.examples("train").tokens[:5]).shape == (5, 3, 7)
    assert model.W_E.shape == (8, 8)


def test_weights_are_normal_and_biases_zero_and_frozen() -> None:
    model = TransformerConfig().build(TASK, seed=0)
    for name, parameter in model.named_parameters():
        if ".b_" in name:
            assert not parameter.requires_grad and not parameter.any(), name
        else:
            assert parameter.requires_grad
            expected = 0.8 / math.sqrt(128)
            tolerance = 5 * expected / math.sqrt(2 * parameter.numel())  # 5 standard errors
            assert parameter.std().item() == pytest.approx(expected, abs=tolerance), name


def test_the_seed_says_it_all_and_no_global_generator_is_touched() -> None:
    before = torch.get_rng_state()
    first, again, other = (SMALL.build(TASK, seed=seed).state_dict() for seed in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["embed.W_E"], other["embed.W_E"])


def test_moving_prints_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    model = SMALL.build(TASK, seed=0).to(torch.float64)
    assert model.W_E.dtype == model.cfg.dtype == torch.float64
    assert capsys.readouterr() == ("", "")
