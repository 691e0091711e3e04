"""A token that is replaced by another one, and whose answers that is to change."""

from collections.abc import Callable
from typing import NamedTuple

import torch
from jaxtyping import Bool, Int64
from torch import Tensor

from tasks.pairs import another
from tasks.sequences.encoding import SequenceEncoding


class Replacement(NamedTuple):
    """Sequences in each of which one token was replaced. t_i is at position i, after BOS."""

    tokens: Int64[Tensor, "example position"]
    replaced: Int64[Tensor, "example 1"]
    """The position of the token that was replaced."""
    lengths: Int64[Tensor, "example 1"]

    @property
    def positions(self) -> Int64[Tensor, "position"]:
        """0, 1, ..."""
        return torch.arange(self.tokens.shape[1])


def replace_token(
    encoding: SequenceEncoding,
    tokens: Int64[Tensor, "example position"],
    generator: torch.Generator,
) -> Replacement:
    """In each sequence any token becomes any other one, if the vocabulary has another."""
    lengths = (tokens < encoding.bos).sum(dim=1, keepdim=True)
    replaced = 1 + (torch.rand(lengths.shape, generator=generator) * lengths).long()
    others = another(tokens.gather(1, replaced), len(encoding.tokens), generator)
    return Replacement(tokens.scatter(1, replaced, others), replaced, lengths)


Place = Callable[[Replacement], Bool[Tensor, "example position"]]
"""The positions whose answers a variable is about."""


def anywhere(made: Replacement) -> Bool[Tensor, "example position"]:
    """All tokens."""
    return (made.positions > 0) & (made.positions <= made.lengths)


def own(made: Replacement) -> Bool[Tensor, "example position"]:
    """The token that was replaced."""
    return made.positions == made.replaced


def mirrored(made: Replacement) -> Bool[Tensor, "example position"]:
    """Its mirror image, unless that is itself."""
    return (made.positions == made.lengths + 1 - made.replaced) & ~own(made)


def neighbours(made: Replacement) -> Bool[Tensor, "example position"]:
    """The token before it and the one after it."""
    return ((made.positions - made.replaced).abs() == 1) & anywhere(made)
