import pytest
import torch

from tasks.composition import GroupComposition
from tasks.task import IGNORE


def test_targets_are_the_products_and_only_the_last_position_is_scored():
    task = GroupComposition("S3", equals_token=True)
    examples = task.examples("all")
    a, b, equals = examples.tokens.T
    table = task.finite_group.table
    assert (equals == 6).all() and task.vocabulary[6] == "=" and len(task.outputs) == 6
    assert (examples.targets[:, :2] == IGNORE).all() and examples.first_scored == 2
    assert (examples.targets[:, 2] == table[a, b]).all()


def test_the_split_is_the_published_one():
    task = GroupComposition("S5@published", train_fraction=0.4, split_seed=2)
    torch.manual_seed(2)
    permutation = torch.randperm(14400)  # as the published code drew it
    assert (task.indices("train") == permutation[:5760]).all()
    assert (task.indices("test") == permutation[5760:]).all()
    tokens = task.examples("train").tokens
    assert (tokens[:, 0] * 120 + tokens[:, 1] == permutation[:5760]).all()


def test_splits_share_nothing_and_leave_nothing_out():
    task = GroupComposition("C7", train_fraction=0.3, split_seed=5)
    both = torch.cat([task.indices("train"), task.indices("test")])
    assert (both.sort().values == task.indices("all")).all()
    assert len(task.examples("train")) == int(0.3 * 49)


def test_equal_tasks_are_equal_and_give_equal_data():
    one, other = GroupComposition("S4"), GroupComposition("S4@canonical")
    assert one == other and hash(one) == hash(other)
    assert (one.examples("train").tokens == other.examples("train").tokens).all()
    assert one != GroupComposition("S4", split_seed=1)


@pytest.mark.parametrize("fraction", [0.0, -1.0, 1.5])
def test_a_fraction_outside_its_range_is_refused(fraction):
    with pytest.raises(ValueError, match=f"train_fraction is {fraction}: it must be above 0"):
        GroupComposition("C5", train_fraction=fraction)


def test_an_unknown_group_is_refused_with_the_nearest():
    with pytest.raises(ValueError, match="S55"):
        GroupComposition("S55")
