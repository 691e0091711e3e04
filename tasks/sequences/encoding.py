"""Sequences of tokens as tensors: ids, a BOS in front, pads behind."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cached_property

import torch
from jaxtyping import Int64
from torch import Tensor

Token = int | str


@dataclass(frozen=True)
class SequenceEncoding:
    """The tokens of a vocabulary have the ids 0, 1, ... in order; then come BOS and PAD.

    Raises `ValueError` when there is no token, a token is listed twice (also 1 and "1", whose
    names are equal) or is called BOS or PAD, or `max_length` is below 1.
    """

    tokens: tuple[Token, ...]
    max_length: int
    """Tokens in the longest sequence, without BOS."""

    def __post_init__(self) -> None:
        if not self.tokens:
            raise ValueError("the vocabulary is empty: it needs at least one token")
        for name in self.vocabulary:
            if self.vocabulary.count(name) > 1:
                raise ValueError(
                    f"the token {name!r} is twice in the vocabulary ({', '.join(self.vocabulary)})"
                )
        if self.max_length < 1:
            raise ValueError(f"max_length is {self.max_length}: it must be at least 1")

    @property
    def vocabulary(self) -> tuple[str, ...]:
        """The names of all ids."""
        return (*map(str, self.tokens), "BOS", "PAD")

    @property
    def bos(self) -> int:
        """The id of the token that begins every sequence."""
        return len(self.tokens)

    @property
    def pad(self) -> int:
        """The id of the token that fills shorter sequences up."""
        return len(self.tokens) + 1

    @property
    def context_length(self) -> int:
        """Positions of the longest sequence, with BOS."""
        return self.max_length + 1

    @cached_property
    def _ids(self) -> dict[Token, int]:
        return {token: i for i, token in enumerate(self.tokens)}

    def encode(
        self, sequences: Sequence[Sequence[Token]], length: int | None = None
    ) -> Int64[Tensor, "example position"]:
        """BOS, the sequence, and pads up to `length` positions, or else to the longest sequence.

        Raises `ValueError` for a sequence that is empty or too long, and for a token that is not
        in the vocabulary.
        """
        rows = [[self.bos, *self._ids_of(sequence)] for sequence in sequences]
        longest = max(map(len, rows), default=1)
        length = length or longest
        limit = min(length, self.context_length) - 1
        if longest - 1 > limit:
            raise ValueError(f"a sequence has {longest - 1} tokens: at most {limit} are allowed")
        padded = [row + [self.pad] * (length - len(row)) for row in rows]
        return torch.tensor(padded, dtype=torch.int64).reshape(len(rows), length)

    def _ids_of(self, sequence: Sequence[Token]) -> list[int]:
        if not sequence:
            raise ValueError("a sequence is empty: it needs at least one token")
        for position, token in enumerate(sequence):
            if token not in self._ids:
                raise ValueError(
                    f"token {token!r} at position {position} is not in the vocabulary "
                    f"({', '.join(map(str, self.tokens))}); the nearest is {self._nearest(token)}"
                )
        return [self._ids[token] for token in sequence]

    def _nearest(self, token: Token) -> Token:
        numbers = [known for known in self.tokens if isinstance(known, int)]
        if numbers and isinstance(token, int):
            return min(numbers, key=lambda number: abs(number - token))
        return get_close_matches(str(token), map(str, self.tokens), n=1, cutoff=0)[0]

    def sequences(self, tokens: Int64[Tensor, "example position"]) -> list[tuple[Token, ...]]:
        """The sequences that `encode` turns into `tokens`: no BOS, no pads."""
        return [tuple(self.tokens[i] for i in row if i < self.bos) for row in tokens.tolist()]


def parse_vocabulary(text: str) -> tuple[Token, ...]:
    """The tokens that `text` lists: "0..4", "a..e", "x,a..e", "3,1,2", "a..z,space".

    Commas join; `..` is a range of integers or of single letters, both ends included. If all are
    integers they are tokens of type int, otherwise all are strings.

    Raises `ValueError` for anything else.
    """
    tokens: list[Token] = []
    for part in text.split(","):
        tokens += _range(part.strip(), text)
    if all(isinstance(token, int) for token in tokens):
        return tuple(tokens)
    return tuple(map(str, tokens))


def _range(part: str, text: str) -> list[int] | list[str]:
    """The tokens of a part between commas."""
    if match := re.fullmatch(r"(-?\d+)(?:\.\.(-?\d+))?", part):
        tokens = list(range(int(match[1]), int(match[2] or match[1]) + 1))
    elif match := re.fullmatch(r"([a-z])\.\.([a-z])|([A-Z])\.\.([A-Z])", part):
        first, last = (ord(letter) for letter in match.groups() if letter)
        tokens = [chr(code) for code in range(first, last + 1)]
    else:
        tokens = [part] if part and ".." not in part else []
    if not tokens:
        raise ValueError(
            f"the vocabulary is {text!r}, where {part!r} is no token and no range: write it as "
            "0..4, a..e, 3,1,2 or x,a..e"
        )
    return tokens
