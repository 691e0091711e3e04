"""The exact answers, against definitions written another way, and at the edges by hand."""

import itertools
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks import sequences
from tasks.sequences import (
    DominantPeak,
    FractionClasses,
    Histogram,
    Palindrome,
    Peak,
    Reverse,
    Sort,
    Triplets,
)

TASKS = [getattr(sequences, name) for name in sequences.__all__ if name[0].isupper()]
TASKS = [cls for cls in TASKS if cls not in (sequences.SequenceEncoding, sequences.SequenceTask)]
digits = st.lists(st.integers(0, 6), min_size=1, max_size=10)
letters = st.lists(st.sampled_from("abcdex"), min_size=1, max_size=10)


@pytest.mark.parametrize(
    ("sequence", "peaks", "dominant"),
    [
        ([3], "0", "0"),
        ([0, 1], "01", "00"),
        ([0, 2], "01", "01"),
        ([2, 0], "10", "10"),
        ([2, 0, 1], "101", "000"),  # the second neighbour is above the first
        ([2, 0, 0], "100", "100"),
        ([4, 4, 4], "000", "000"),
        ([0, 4, 3, 6], "0101", "0000"),
        ([1, 0, 6, 2, 2, 5], "101001", "000001"),
        ([0, 0, 6, 2, 2, 5, 5], "0010000", "0010000"),
        ([1, 2, 4, 2, 1], "00100", "00100"),
    ],
)
def test_peaks_by_hand(sequence, peaks, dominant):
    assert Peak().answers(sequence) == [digit == "1" for digit in peaks]
    assert DominantPeak().answers(sequence) == [digit == "1" for digit in dominant]


@given(digits)
def test_a_peak_is_where_both_differences_are_positive(sequence):
    n = len(sequence)
    for i, answer in enumerate(Peak().answers(sequence)):
        rises = i == 0 or sequence[i] - sequence[i - 1] > 0
        falls = i == n - 1 or sequence[i + 1] - sequence[i] < 0
        assert answer == (rises and falls and n > 1)


@given(digits)
def test_a_dominant_peak_is_one_and_looks_alike_from_both_sides(sequence):
    answers = DominantPeak().answers(sequence)
    assert answers[::-1] == DominantPeak().answers(sequence[::-1])
    for i in range(len(sequence)):
        window = sequence[max(0, i - 2) : i + 3]
        assert answers[i] == DominantPeak().answers(window)[min(i, 2)]
        if answers[i]:
            assert Peak().answers(sequence)[i]
            assert all(sequence[i] - n >= 2 for n in window if n != sequence[i])


@given(letters)
def test_the_others_by_their_definitions(sequence):
    n = len(sequence)
    assert Palindrome().answers(sequence) == [sequence[i] == sequence[n - 1 - i] for i in range(n)]
    assert all(Palindrome().answers(sequence)) == (sequence == sequence[::-1])
    assert Reverse().answers(sequence) == sequence[::-1]
    assert "".join(Sort().answers(sequence)) == "".join(c * sequence.count(c) for c in "abcdex")
    assert Histogram().answers(sequence) == [sum(a == b for b in sequence) for a in sequence]
    triples = itertools.product(range(n), repeat=3)
    before_and_smaller = [i for i, j, k in triples if j < i and sequence[k] < sequence[i]]
    assert Triplets().answers(sequence) == [before_and_smaller.count(i) for i in range(n)]
    x_before = [sum(c == "x" for c in sequence[: i + 1]) for i in range(n)]
    shares = FractionClasses().answers(sequence)
    assert [share * (i + 1) for i, share in enumerate(shares)] == x_before
    assert sequences.Fraction().answers(sequence) == [float(share) for share in shares]


@pytest.mark.parametrize(
    ("task", "answer"),
    [
        (Peak(), False),
        (DominantPeak(), False),
        (Palindrome(), True),
        (Reverse(), "b"),
        (Sort(), "b"),
        (Histogram(), 1),
        (Triplets(), 0),
        (sequences.Fraction(), 0.0),
        (FractionClasses(), Fraction(0)),
    ],
)
def test_a_single_token_has_an_answer(task, answer):
    assert task.answers([task.tokens[1] if task.vocab != "x,a..e" else "b"]) == [answer]


def test_strings_compare_by_the_alphabet_wherever_they_stand():
    assert Sort(vocab="c,a,b").answers("cab") == ["a", "b", "c"]
    assert Triplets(vocab="c,a,b").answers("abc") == [0, 1, 4]


@pytest.mark.parametrize("cls", TASKS)
def test_every_answer_is_an_output_and_every_output_an_answer(cls):
    vocab = {"Fraction": "x,a", "FractionClasses": "x,a"}.get(cls.__name__, "0..2")
    task = cls(vocab=vocab, max_length=5)
    every = [s for n in range(1, 6) for s in itertools.product(task.tokens, repeat=n)]
    answers = {answer for sequence in every for answer in task.answers(sequence)}
    if task.loss == "mean_squared_error":
        assert task.outputs == ("fraction",)
        assert answers == {k / i for i in range(1, 6) for k in range(i + 1)}
    else:
        assert answers == set(task.output_values)
        assert list(task.output_values) == sorted(task.output_values)
        assert task.outputs == tuple(map(str, task.output_values))


def test_names():
    assert [cls().name for cls in TASKS] == [
        "dominant_peak", "fraction", "fraction_classes", "histogram", "palindrome", "peak",
        "reverse", "sort", "triplets",
    ]  # fmt: skip
    assert FractionClasses(max_length=4).outputs == ("0", "1/4", "1/3", "1/2", "2/3", "3/4", "1")
