"""The data of the sequence tasks: which sequences there are, how they are split and scored."""

from dataclasses import dataclass
from typing import ClassVar

import pytest
import torch

from tasks import sequences
from tasks.sequences import DominantPeak, Fraction, Histogram, Peak, Sort
from tasks.sequences import families as kinds
from tasks.sequences.counting import any_share_counted
from tasks.sequences.families import Draw
from tasks.sequences.sequence import SequenceTask
from tasks.task import IGNORE

TASKS = [getattr(sequences, name) for name in sequences.__all__ if name[0].isupper()]
TASKS = [cls for cls in TASKS if cls not in (sequences.SequenceEncoding, SequenceTask)]


def rows(task: SequenceTask, split="all") -> list[tuple]:
    return task.encoding.sequences(task.examples(split).tokens)


@pytest.mark.parametrize("cls", TASKS)
def test_exactly_as_many_distinct_sequences_as_asked_none_in_both_splits(cls):
    task = cls(n_sequences=3000, train_fraction=0.7, split_seed=3)
    train, test, both = (rows(task, split) for split in ("train", "test", "all"))
    assert (len(train), len(test), len(set(both))) == (2100, 900, 3000)
    assert train + test == both
    assert {len(sequence) for sequence in both} == set(range(1, 11))
    assert {token for sequence in both for token in sequence} == set(task.tokens)
    assert task.examples().tokens.shape == (3000, 11) == task.examples().targets.shape


@pytest.mark.parametrize("cls", TASKS)
def test_targets_are_the_answers_and_nothing_else_is_scored(cls):
    task = cls(n_sequences=400)
    examples = task.examples()
    is_regression = task.loss == "mean_squared_error"
    assert examples.first_scored == 1
    assert examples.targets.dtype == (torch.float64 if is_regression else torch.int64)
    for sequence, targets in zip(rows(task), examples.targets.tolist(), strict=True):
        n = len(sequence)
        if is_regression:
            assert targets[1 : n + 1] == task.answers(sequence)
            assert all(target != target for target in targets[:1] + targets[n + 1 :])
        else:
            said = [task.output_values[target] for target in targets[1 : n + 1]]
            assert said == task.answers(sequence)
            assert set(targets[:1] + targets[n + 1 :]) == {IGNORE}


def test_all_sequences_where_these_are_few():
    task = Sort(vocab="a..c", min_length=2, max_length=4, n_sequences=117)
    assert len(set(rows(task))) == len(rows(task)) == 9 + 27 + 81 == 117
    assert len(rows(task, "train")) == int(0.8 * 117)
    drawn = Sort(vocab="a..c", min_length=2, max_length=4, n_sequences=116)
    assert set(rows(drawn)) < set(rows(task)) and len(set(rows(drawn))) == 116


def test_equal_tasks_give_equal_data_and_seeds_other_data():
    one, again, other = (Peak(n_sequences=999, split_seed=seed) for seed in (0, 0, 1))
    assert one == again and torch.equal(one.examples().tokens, again.examples().tokens)
    assert torch.equal(one.examples().targets, again.examples().targets)
    assert set(rows(one)) != set(rows(other))
    few = [Peak(max_length=3, split_seed=seed) for seed in (0, 1)]
    assert set(rows(few[0])) == set(rows(few[1]))
    assert set(rows(few[0], "train")) != set(rows(few[1], "train"))


def test_no_global_generator_is_touched():
    before = torch.get_rng_state()
    Peak(n_sequences=100).examples()
    assert torch.equal(torch.get_rng_state(), before)


def test_data_do_not_depend_on_where_a_token_stands_in_the_vocabulary():
    assert rows(Sort("a..e", n_sequences=99)) == rows(Sort("c,e,a,d,b", n_sequences=99))


def test_each_family_has_its_share():
    """Of long sequences, which no family runs out of but the constant ones."""
    task = Histogram(vocab="a..z", min_length=10, max_length=10, n_sequences=5000)
    kinds_of = [len(set(sequence)) for sequence in rows(task)]
    assert kinds_of.count(1) == 26  # all the constant ones there are
    assert sum(n <= 3 for n in kinds_of) == pytest.approx(1000, abs=150)
    assert kinds_of.count(10) >= 1500  # the distinct ones, and some of the uniform


# Families


def draw(n_tokens=6, n=2000) -> Draw:
    generator = torch.Generator().manual_seed(1)
    ranks = torch.randint(n_tokens, (n, 8), generator=generator)
    lengths = torch.randint(1, 9, (n, 1), generator=generator)
    return Draw(tuple("abcdex"[-n_tokens:]), ranks, lengths, generator)


def members(family, n_tokens=6) -> list[list[int]]:
    drawn = draw(n_tokens)
    made = family(drawn)
    return [row[:n] for row, n in zip(made.tolist(), drawn.lengths.flatten().tolist(), strict=True)]


def alternates(row: list[int]) -> bool:
    return all((x >= 3) == (i % 2 == (row[0] < 3)) for i, x in enumerate(row))


@pytest.mark.parametrize(
    ("family", "belongs"),
    [
        (kinds.constant, lambda row: len(set(row)) == 1),
        (kinds.ascending, lambda row: row == sorted(row)),
        (kinds.descending, lambda row: row[::-1] == sorted(row)),
        (kinds.monotone, lambda row: row == sorted(row) or row[::-1] == sorted(row)),
        (kinds.alternating, alternates),
        (kinds.palindromic, lambda row: row == row[::-1]),
        (
            kinds.nearly_palindromic,
            lambda row: (
                sum(a != b for a, b in zip(row, row[::-1], strict=True))
                == (2 if row != row[::-1] else 0)
            ),
        ),
        (kinds.two_letters, lambda row: len(set(row)) <= 2),
        (kinds.three_letters, lambda row: len(set(row)) <= 3),
        (kinds.distinct, lambda row: len(set(row)) == min(len(row), 6)),
    ],
)
def test_members_belong_to_their_family_and_are_many(family, belongs):
    rows_ = members(family)
    assert all(map(belongs, rows_))
    assert not all(map(belongs, members(kinds.uniform)))
    assert len(set(map(tuple, rows_))) > 40 and {x for row in rows_ for x in row} == set(range(6))


def test_a_changed_palindrome_is_one_no_more_but_for_its_middle():
    changed = members(kinds.nearly_palindromic)
    assert all(row != row[::-1] for row in changed if len(row) == 2)
    odd = [row == row[::-1] for row in changed if len(row) == 3]
    assert sum(odd) / len(odd) == pytest.approx(1 / 3, abs=0.1)


def test_spikes_stand_on_a_low_plain():
    longest = [row for row in members(kinds.spiked) if len(row) == 8]
    plains = [max(set(row), key=row.count) for row in longest]
    assert sum(plain < 3 for plain in plains) / len(plains) > 0.95
    assert 0.6 < sum(len(set(row)) > 1 for row in longest) / len(longest) < 0.9


def test_the_counted_token_is_rare_in_some_sequences_and_frequent_in_others():
    counts = [row.count(5) for row in members(any_share_counted) if len(row) == 8]
    # The chance of it at a position is uniform on [1/6, 1]: 0 of 8 has 2.6%, 8 of 8 has 13%.
    assert 200 < len(counts) < 300
    assert 2 <= counts.count(0) <= 15 and 20 <= counts.count(8) <= 50


@pytest.mark.parametrize("family", [*DominantPeak.families, *Histogram.families, *Sort.families])
def test_families_of_a_single_token_are_constant(family):
    assert {x for row in members(family, n_tokens=1) for x in row} == {0}


def test_a_family_of_ones_own():
    @dataclass(frozen=True)
    class Rare(Sort):
        families: ClassVar = {kinds.uniform: 1, lambda draw: 0 * draw.ranks + 2: 1}

    task = Rare(n_sequences=2000)
    assert sum(set(sequence) == {"c"} for sequence in rows(task)) == 10


# Errors


@pytest.mark.parametrize(
    ("cls", "fields", "message"),
    [
        (Peak, {"min_length": 0}, "lengths are 0 to 10: min_length must be at least 1"),
        (Peak, {"min_length": 5, "max_length": 4}, "lengths are 5 to 4"),
        (Peak, {"n_sequences": 0}, "n_sequences is 0: it must be at least 1"),
        (Peak, {"train_fraction": 0.0}, "train_fraction is 0.0: it must be above 0"),
        (Peak, {"train_fraction": 1.5}, "train_fraction is 1.5"),
        (Peak, {"vocab": "4..0"}, "'4..0' is no token and no range"),
        (Peak, {"vocab": "a,b,a"}, "the token 'a' is twice"),
        (DominantPeak, {"vocab": "a..e"}, "dominant_peak needs integers, such as 0..6"),
        (Fraction, {"vocab": "a..e"}, "fraction counts the token 'x', so write x,a..e"),
    ],
)
def test_a_wrong_field_is_refused(cls, fields, message):
    with pytest.raises(ValueError, match=message):
        cls(**fields)
