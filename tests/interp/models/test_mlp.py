"""The MLP and the bilinear net: drawn and computed as published."""

import csv
import math
from pathlib import Path

import pytest
import torch

from interp.models.config import BilinearConfig, MLPConfig
from interp.models.mlp import HookedBilinear, HookedMLP
from interp.runs.recipe import Recipe
from tasks.composition import GroupComposition
from training.data import stack_examples
from training.state import State
from training.step import make_step

C7 = GroupComposition(group="C7")


def test_initial_weights_are_the_published_recipe_bit_by_bit() -> None:
    model = MLPConfig(d_embed=6, d_mlp=5).build(C7, seed=3)
    with torch.random.fork_rng():
        torch.manual_seed(3)
        expected = {
            "W_E_a": torch.randn(7, 6) / math.sqrt(6),
            "W_E_b": torch.randn(7, 6) / math.sqrt(6),
            "W_in": torch.randn(12, 5) / math.sqrt(12),
            "W_U": torch.randn(5, 7) / math.sqrt(5),
        }
    parameters = dict(model.named_parameters())
    assert parameters.keys() == expected.keys()
    assert all(torch.equal(parameters[name], expected[name]) for name in expected)


@pytest.mark.parametrize("config", [MLPConfig(), BilinearConfig()])
def test_building_leaves_the_global_generator_alone(config: MLPConfig | BilinearConfig) -> None:
    before = torch.get_rng_state()
    config.build(C7, seed=1)
    assert torch.equal(torch.get_rng_state(), before)


def test_the_published_losses_of_the_first_steps(published: Path) -> None:
    # The file's row `epoch` was computed from that epoch's checkpoint, saved after its step: it is
    # about the network after epoch + 1 updates, on both splits.
    task = GroupComposition(group="S5@published", split_seed=2, train_fraction=0.4)
    recipe = Recipe(task, MLPConfig(), init_seed=2)
    with (published / "S5_MLP_seed2" / "metrics.csv").open() as file:
        rows = {int(row["epoch"]): row for row in csv.DictReader(file)}
    cpu = torch.device("cpu")
    state = State([recipe], cpu)
    train, test = (stack_examples([recipe], split, cpu) for split in ("train", "test"))
    step = make_step(state, train, [recipe])
    for epoch in range(3):
        step()
        assert state.evaluate(train)[0].item() == pytest.approx(
            float(rows[epoch]["train_loss"]), abs=1e-8
        )
        assert state.evaluate(test)[0].item() == pytest.approx(
            float(rows[epoch]["test_loss"]), abs=1e-8
        )


@torch.no_grad()
def test_the_mlp_computes_its_formula() -> None:
    model = HookedMLP(MLPConfig(d_embed=3, d_mlp=4, bias=True), C7, seed=0).double()
    assert model.b_in is not None
    model.b_in.data.normal_(generator=torch.Generator().manual_seed(1))
    logits = model(torch.tensor([[2, 5]]))[0, 0]
    hidden = [
        max(
            0.0,
            sum(float(model.W_E_a[2, i] * model.W_in[i, j]) for i in range(3))
            + sum(float(model.W_E_b[5, i] * model.W_in[3 + i, j]) for i in range(3))
            + float(model.b_in[j]),
        )
        for j in range(4)
    ]
    by_hand = [sum(hidden[j] * float(model.W_U[j, c]) for j in range(4)) for c in range(7)]
    assert logits.tolist() == pytest.approx(by_hand)


@torch.no_grad()
def test_the_bilinear_net_computes_its_formula() -> None:
    model = HookedBilinear(BilinearConfig(d_embed=3), C7, seed=0).double()
    logits = model(torch.tensor([[2, 5]]))[0, 0]
    by_hand = torch.einsum("e,e,ec->c", model.W_E_a[2], model.W_E_b[5], model.W_U)
    torch.testing.assert_close(logits, by_hand)


def test_hooks_see_and_change_what_they_name() -> None:
    model = HookedMLP(MLPConfig(d_embed=3, d_mlp=4), C7, seed=0)
    tokens = torch.tensor([[1, 2], [3, 4]])
    logits, cache = model.run_with_cache(tokens)
    assert set(cache) == {"hook_embed_a", "hook_embed_b", "mlp.hook_pre", "mlp.hook_post"}
    assert torch.equal(cache["mlp.hook_post"], cache["mlp.hook_pre"].relu())
    silenced = model.run_with_hooks(
        tokens, fwd_hooks=[("mlp.hook_post", lambda value, hook: torch.zeros_like(value))]
    )
    assert logits.abs().sum() > 0 and silenced.abs().sum() == 0


def test_a_third_token_is_not_read() -> None:
    model = HookedMLP(MLPConfig(), GroupComposition(group="C7", equals_token=True), seed=0)
    assert torch.equal(model(torch.tensor([[1, 2, 7]])), model(torch.tensor([[1, 2]])))
