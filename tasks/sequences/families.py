"""Families of sequences that uniformly random ones would hardly ever belong to.

A family is a function that makes its members from uniformly random sequences, many at once. It
speaks of ranks: the place of a token among all tokens in ascending order. What it says behind a
sequence's length is not used.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from tasks.sequences.encoding import Token


@dataclass(frozen=True, eq=False)
class Draw:
    """Uniformly random sequences, and a generator for more."""

    tokens: tuple[Token, ...]
    """All tokens in ascending order."""
    ranks: Int64[Tensor, "example position"]
    lengths: Int64[Tensor, "example 1"]
    generator: torch.Generator

    @property
    def positions(self) -> Int64[Tensor, "position"]:
        """0, 1, ..."""
        return torch.arange(self.ranks.shape[1])

    def integers(self, below: int, columns: int) -> Int64[Tensor, "example column"]:
        """Uniform on 0, 1, ..., below - 1."""
        return torch.randint(below, (len(self.ranks), columns), generator=self.generator)

    def fractions(self, columns: int) -> Float[Tensor, "example column"]:
        """Uniform on [0, 1)."""
        return torch.rand(len(self.ranks), columns, generator=self.generator)

    def coins(self) -> Bool[Tensor, "example 1"]:
        """One fair coin for each sequence."""
        return self.integers(2, 1).bool()


Family = Callable[[Draw], Int64[Tensor, "example position"]]


def uniform(draw: Draw) -> Int64[Tensor, "example position"]:
    """Every token at every position alike."""
    return draw.ranks


def constant(draw: Draw) -> Int64[Tensor, "example position"]:
    """One token all along."""
    return draw.ranks[:, :1].expand_as(draw.ranks)


def ascending(draw: Draw) -> Int64[Tensor, "example position"]:
    """No token smaller than the one before."""
    behind = draw.positions >= draw.lengths
    return draw.ranks.masked_fill(behind, len(draw.tokens)).sort(dim=1).values


def descending(draw: Draw) -> Int64[Tensor, "example position"]:
    """No token larger than the one before."""
    return len(draw.tokens) - 1 - ascending(draw)


def monotone(draw: Draw) -> Int64[Tensor, "example position"]:
    """Ascending or descending."""
    return torch.where(draw.coins(), ascending(draw), descending(draw))


def alternating(draw: Draw) -> Int64[Tensor, "example position"]:
    """A token of the lower half and one of the upper half in turns."""
    low = draw.ranks // 2
    is_high = (draw.positions + draw.integers(2, 1)) % 2 == 1
    return torch.where(is_high, len(draw.tokens) - 1 - low, low)


def spiked(draw: Draw) -> Int64[Tensor, "example position"]:
    """One token of the lower half all along, but for a token of any size here and there."""
    is_spike = draw.fractions(draw.ranks.shape[1]) < 0.2
    return torch.where(is_spike, draw.ranks, draw.ranks[:, :1] // 2)


def palindromic(draw: Draw) -> Int64[Tensor, "example position"]:
    """The same backwards."""
    mirrored = (draw.lengths - 1 - draw.positions).clamp(min=0)
    return draw.ranks.gather(1, torch.minimum(draw.positions, mirrored))


def nearly_palindromic(draw: Draw) -> Int64[Tensor, "example position"]:
    """A palindrome with another token at one position."""
    n_tokens = len(draw.tokens)
    is_changed = draw.positions == (draw.fractions(1) * draw.lengths).long()
    shift = 1 + draw.integers(max(1, n_tokens - 1), 1)
    return (palindromic(draw) + shift * is_changed) % n_tokens


def two_letters(draw: Draw) -> Int64[Tensor, "example position"]:
    """Two tokens in any order."""
    return _few_letters(draw, 2)


def three_letters(draw: Draw) -> Int64[Tensor, "example position"]:
    """Three tokens in any order."""
    return _few_letters(draw, 3)


def distinct(draw: Draw) -> Int64[Tensor, "example position"]:
    """No token a second time before each was there once."""
    order = draw.fractions(len(draw.tokens)).argsort(dim=1)
    rounds = -(-draw.ranks.shape[1] // len(draw.tokens))
    return order.repeat(1, rounds)[:, : draw.ranks.shape[1]]


def _few_letters(draw: Draw, n_letters: int) -> Int64[Tensor, "example position"]:
    letters = draw.integers(len(draw.tokens), n_letters)
    return letters.gather(1, draw.integers(n_letters, draw.ranks.shape[1]))
