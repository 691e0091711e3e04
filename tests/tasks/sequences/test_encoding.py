"""Tokens to tensors and back, and what is refused."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tasks.sequences import SequenceEncoding, parse_vocabulary

DIGITS = SequenceEncoding((0, 1, 2, 3, 4), max_length=3)


def test_ids_are_in_order_then_bos_then_pad():
    encoding = SequenceEncoding((3, 1, 2), max_length=3)
    assert encoding.vocabulary == ("3", "1", "2", "BOS", "PAD")
    assert (encoding.bos, encoding.pad, encoding.context_length) == (3, 4, 4)
    tokens = encoding.encode([(3, 1), (2,)])
    assert tokens.tolist() == [[3, 0, 1], [3, 2, 4]] and tokens.dtype == torch.int64


def test_padded_to_the_longest_or_as_asked():
    assert DIGITS.encode([(0,), (1, 2)]).shape == (2, 3)
    assert DIGITS.encode([(0,), (1, 2)], 4).shape == (2, 4)
    assert DIGITS.encode([(0,), (1, 2)], length=9)[:, 3:].eq(DIGITS.pad).all()
    assert DIGITS.encode([]).shape == (0, 1) and DIGITS.encode([], 4).shape == (0, 4)


@given(st.lists(st.lists(st.sampled_from("abc"), min_size=1, max_size=6), max_size=5))
def test_sequences_come_back(sequences):
    encoding = SequenceEncoding(("c", "a", "b"), max_length=6)
    expected = [tuple(sequence) for sequence in sequences]
    assert encoding.sequences(encoding.encode(sequences)) == expected
    assert encoding.sequences(encoding.encode(sequences, 7)) == expected


@pytest.mark.parametrize(
    ("sequence", "message"),
    [
        ((0, 9), r"token 9 at position 1 is not in the vocabulary \(0, 1, 2, 3, 4\); .* is 4"),
        ((-3,), r"token -3 at position 0 .* nearest is 0"),
        (("3",), r"token '3' at position 0 .* nearest is 3"),
        ((), "a sequence is empty"),
        ((0, 1, 2, 3), "a sequence has 4 tokens: at most 3 are allowed"),
    ],
)
def test_a_wrong_sequence_is_refused(sequence, message):
    with pytest.raises(ValueError, match=message):
        DIGITS.encode([(1,), sequence])


def test_the_nearest_word_is_named():
    with pytest.raises(ValueError, match="nearest is space"):
        SequenceEncoding(parse_vocabulary("a..z,space"), 3).encode([["spcae"]])


def test_a_length_too_short_is_refused():
    with pytest.raises(ValueError, match="a sequence has 2 tokens: at most 1 are allowed"):
        DIGITS.encode([(0, 1)], 2)


@pytest.mark.parametrize(
    ("tokens", "message"),
    [
        ((), "the vocabulary is empty"),
        (("a", "b", "a"), "the token 'a' is twice in the vocabulary"),
        ((1, "1"), "the token '1' is twice"),
        (("a", "PAD"), "the token 'PAD' is twice"),
    ],
)
def test_a_wrong_vocabulary_is_refused(tokens, message):
    with pytest.raises(ValueError, match=message):
        SequenceEncoding(tokens, 3)


def test_a_maximal_length_of_nothing_is_refused():
    with pytest.raises(ValueError, match="max_length is 0: it must be at least 1"):
        SequenceEncoding(("a",), 0)


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("0..4", (0, 1, 2, 3, 4)),
        ("3,1,2", (3, 1, 2)),
        ("-1..1,9", (-1, 0, 1, 9)),
        ("a..c", ("a", "b", "c")),
        ("A..C, z", ("A", "B", "C", "z")),
        ("x,a..c", ("x", "a", "b", "c")),
        ("a..b,space", ("a", "b", "space")),
        ("0..1,x", ("0", "1", "x")),
        ("7", (7,)),
    ],
)
def test_vocabularies_are_read(text, tokens):
    assert parse_vocabulary(text) == tokens


@pytest.mark.parametrize("text", ["", "a,,b", "4..0", "e..a", "0..x", "a..Z", "a..", "..", "ab..c"])
def test_nonsense_is_no_vocabulary(text):
    with pytest.raises(ValueError, match="is no token and no range: write it as"):
        parse_vocabulary(text)
