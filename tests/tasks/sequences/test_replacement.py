"""Pairs of sequences in which one token differs, and what that does to the answers."""

import pytest
import torch

from interp.rasp import ProgramTask
from tasks import sequences
from tasks.sequences import Fraction, Palindrome, Peak, Reverse, Sort

KINDS = [
    getattr(sequences, name)
    for name in sequences.__all__
    if name[0].isupper() and name not in ("SequenceEncoding", "SequenceTask")
]
TASKS = {
    **{cls.__name__: cls(n_sequences=1500) for cls in KINDS},
    "program": ProgramTask(program="peak", vocab="0..4", n_sequences=500),
    "numerical program": ProgramTask(program="fraction", vocab="x,a..c", n_sequences=500),
}
VARIABLES = [(name, variable) for name, task in TASKS.items() for variable in task.variables[:-1]]


def about(variable: str, i: int, n: int) -> set[int]:
    """The positions, from 1 on, that t_i of n tokens is to matter for."""
    return {
        "token": set(range(1, n + 1)),
        "own": {i},
        "mirror": {n + 1 - i} - {i},
        "neighbour": {i - 1, i + 1} & set(range(1, n + 1)),
    }[variable]


@pytest.mark.parametrize(("name", "variable"), VARIABLES)
def test_one_token_differs_and_an_answer_that_it_is_to_change(name, variable):
    task = TASKS[name]
    pairs = task.pairs(variable, 60)
    old, new = (task.encoding.sequences(part.tokens) for part in (pairs.clean, pairs.corrupted))
    for row, (before, after) in enumerate(zip(old, new, strict=True)):
        n = len(before)
        (i,) = (i for i in range(1, n + 1) if before[i - 1] != after[i - 1])
        assert len(after) == n
        clean, answers = task.answers(before), task.answers(after)
        targets = pairs.corrupted.targets[row, 1 : n + 1].tolist()
        if task.loss == "cross_entropy":
            targets = [task.output_values[target] for target in targets]
        else:
            clean, answers = list(map(float, clean)), list(map(float, answers))
        assert targets == answers
        where = about(variable, i, n)
        assert set(pairs.where[row].nonzero()[:, 0].tolist()) == where
        differ = {j for j in range(1, n + 1) if clean[j - 1] != answers[j - 1]}
        assert set(pairs.changed[row].nonzero()[:, 0].tolist()) == where & differ != set()


def test_any_token_is_replaced_by_any_other():
    """By each as often; the first of several, or the last, no less than others."""
    task = Sort(vocab="a..c", min_length=4, max_length=4)
    pairs = task.pairs("token", 3000, "all")  # another token always changes what is sorted
    differs = pairs.clean.tokens != pairs.corrupted.tokens
    assert differs.sum(dim=0).tolist() == [0, *[pytest.approx(750, abs=120)] * 4]  # 5 sd
    codes = 3 * pairs.clean.tokens[differs] + pairs.corrupted.tokens[differs]
    counts = codes.bincount(minlength=9).reshape(3, 3)
    assert counts.diagonal().tolist() == [0] * 3
    off_diagonal = counts[~torch.eye(3, dtype=torch.bool)].tolist()
    assert off_diagonal == [pytest.approx(500, abs=110)] * 6


def test_the_middle_of_a_reversed_sequence_is_its_own_mirror_image():
    task = Reverse(min_length=3, max_length=3)
    own = task.pairs("own", 30)
    assert (own.clean.tokens != own.corrupted.tokens).nonzero()[:, 1].unique().tolist() == [2]
    mirror = task.pairs("mirror", 30)
    differs = (mirror.clean.tokens != mirror.corrupted.tokens).nonzero()[:, 1]
    assert differs.unique().tolist() == [1, 3]
    assert torch.equal(mirror.changed.nonzero()[:, 1], 4 - differs)


def test_a_numerical_answer_changes_from_the_token_on():
    pairs = Fraction(n_sequences=500).pairs("token", 50)
    first = pairs.changed.int().argmax(dim=1)
    differs = (pairs.clean.tokens != pairs.corrupted.tokens).int().argmax(dim=1)
    assert torch.equal(first, differs)
    assert pairs.corrupted.targets[:, 0].isnan().all()


def test_the_training_split_of_a_subclass_may_be_asked_for():
    class Valley(Peak):
        def answers(self, sequence):
            return super().answers([-token for token in sequence])

    pairs = Valley(n_sequences=400).pairs("neighbour", 20, "train")
    assert pairs.changed.any(dim=1).all()
    assert Palindrome(n_sequences=400).pairs(n=1).changed.any()
