"""Stacked examples and the order of minibatches."""

import pytest
import torch

from interp.models.config import MLPConfig
from interp.runs.recipe import Recipe, Schedule
from tasks.composition import GroupComposition
from training.data import minibatch_rows, stack_examples

CPU = torch.device("cpu")
RECIPE = Recipe(
    GroupComposition(group="C5", equals_token=True), MLPConfig(), schedule=Schedule(batch_size=4)
)
SEEDS = [RECIPE.with_seed(0), RECIPE.with_seed(1)]


def test_targets_begin_at_the_first_scored_position() -> None:
    data = stack_examples(SEEDS, "train", CPU)
    assert data.tokens.shape == (2, 10, 3) and data.targets.shape == (2, 10, 1)
    assert data.first_scored == 2
    for i, recipe in enumerate(SEEDS):
        examples = recipe.task.examples("train")
        assert torch.equal(data.tokens[i], examples.tokens)
        assert torch.equal(data.targets[i], examples.targets[:, 2:])


def test_a_test_split_may_be_empty_and_a_training_split_not() -> None:
    everything = Recipe(GroupComposition(group="C5", train_fraction=1.0), MLPConfig())
    assert stack_examples([everything], "test", CPU).n_examples == 0
    nothing = Recipe(GroupComposition(group="C5", train_fraction=0.01), MLPConfig())
    with pytest.raises(ValueError, match="C5 has no training examples"):
        stack_examples([nothing], "train", CPU)


def test_an_epoch_takes_every_example_once_and_seeds_differ() -> None:
    steps = [minibatch_rows(SEEDS, 10, step) for step in range(3)]
    sizes = [rows.shape for rows in steps if rows is not None]
    assert sizes == [(2, 4), (2, 4), (2, 2)]
    epoch = torch.cat([rows for rows in steps if rows is not None], dim=1)
    assert torch.equal(epoch.sort(dim=1).values, torch.arange(10).expand(2, 10))
    assert not torch.equal(epoch[0], epoch[1])


def test_a_batch_is_a_function_of_seed_and_step() -> None:
    fourth, again = (minibatch_rows(SEEDS, 10, 3) for _ in range(2))
    first, alone = minibatch_rows(SEEDS, 10, 0), minibatch_rows(SEEDS[1:], 10, 3)
    assert fourth is not None and again is not None and first is not None and alone is not None
    assert torch.equal(fourth, again) and torch.equal(fourth[1:], alone)
    assert not torch.equal(first, fourth)  # another epoch, another order


def test_a_batch_of_all_is_no_minibatch() -> None:
    assert minibatch_rows(SEEDS, 4, 0) is None


def test_rows_are_picked_for_each_instance() -> None:
    data = stack_examples(SEEDS, "train", CPU)
    picked = data.pick(torch.tensor([[3, 1], [0, 0]]))
    assert torch.equal(picked.tokens[0, 1], data.tokens[0, 1])
    assert torch.equal(picked.targets[1, 1], data.targets[1, 0])
    assert [part.n_examples for part in data.chunks(4)] == [4, 4, 2]
