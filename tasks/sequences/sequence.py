"""Tasks that answer at every token of a sequence: their data, from the answers alone."""

import itertools
import math
import re
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import torch

from tasks.pairs import Pairs
from tasks.sequences.encoding import SequenceEncoding, Token, parse_vocabulary
from tasks.sequences.families import Draw, Family, uniform
from tasks.sequences.replacement import Place, anywhere, own, replace_token
from tasks.task import IGNORE, Examples, Split, Task


@dataclass(frozen=True)
class SequenceTask(Task):
    """Tokens (BOS, t_1, ..., t_n, PAD, ...); a target at every t_i.

    The data are all sequences of the allowed lengths, if they are at most `n_sequences`. Otherwise
    they are exactly `n_sequences` distinct ones, drawn from `families` with lengths that are alike
    likely; where families have too few members, uniformly random ones follow. Either way they are
    permuted under `split_seed`, and the first `train_fraction` of them (rounded down) are the
    training set. No sequence is in both splits.

    Tokens compare as their values do, integers by size and letters by the alphabet, wherever they
    stand in `vocab`.

    Raises `ValueError` for a vocabulary that cannot be read, or a number out of range.
    """

    vocab: str = "a..e"
    """Tokens: 0..4, a..e, 3,1,2 or x,a..e."""
    min_length: int = 1
    """Tokens in the shortest sequence, without BOS."""
    max_length: int = 10
    """Tokens in the longest sequence, without BOS."""
    n_sequences: int = 10_000
    """Sequences to train and test on; all there are, if these are fewer."""
    train_fraction: float = 0.8
    """Share of the sequences that is trained on."""

    families: ClassVar[Mapping[Family, int]] = {uniform: 1}
    """Where sequences are drawn from, in these proportions; `uniform` never runs out of them."""
    places: ClassVar[Mapping[str, Place]] = {"token": anywhere, "own": own}
    """The variables, and whose answers must change when a token is replaced."""
    attention: ClassVar = "bidirectional"

    def __post_init__(self) -> None:
        if not 1 <= self.min_length <= self.max_length:
            raise ValueError(
                f"lengths are {self.min_length} to {self.max_length}: min_length must be at least "
                "1 and at most max_length"
            )
        if self.n_sequences < 1:
            raise ValueError(f"n_sequences is {self.n_sequences}: it must be at least 1")
        if not 0 < self.train_fraction <= 1:
            raise ValueError(
                f"train_fraction is {self.train_fraction}: it must be above 0 and at most 1"
            )
        self.encoding  # noqa: B018 (reads the vocabulary, or raises)

    @abstractmethod
    def answers(self, sequence: Sequence[Token]) -> list[Any]:
        """The exact answer at every token of a sequence."""

    def all_answers(self, sequences: Sequence[Sequence[Token]]) -> list[list[Any]]:
        """The answers for many sequences."""
        return [self.answers(sequence) for sequence in sequences]

    @property
    def output_values(self) -> tuple[Any, ...]:
        """The answers to choose from, in order; by default the tokens."""
        return self.tokens

    @property
    def outputs(self) -> tuple[str, ...]:
        """The names of `output_values`."""
        return tuple(map(str, self.output_values))

    @property
    def name(self) -> str:
        """The class's name in small letters: dominant_peak for DominantPeak."""
        return re.sub(r"(?<!^)(?=[A-Z])", "_", type(self).__name__).lower()

    @property
    def tokens(self) -> tuple[Token, ...]:
        """The tokens of a sequence, in the order of their ids."""
        return self.encoding.tokens

    @cached_property
    def encoding(self) -> SequenceEncoding:
        """From sequences to tensors."""
        return SequenceEncoding(parse_vocabulary(self.vocab), self.max_length)

    @property
    def vocabulary(self) -> tuple[str, ...]:
        """The tokens, BOS and PAD."""
        return self.encoding.vocabulary

    @property
    def pad_token(self) -> int | None:
        """The id of PAD."""
        return self.encoding.pad

    @property
    def context_length(self) -> int:
        """`max_length` and BOS."""
        return self.encoding.context_length

    def examples(self, split: Split = "all") -> Examples:
        """The sequences of a split, padded to `context_length`, with their targets."""
        n_train = int(self.train_fraction * len(self._examples))
        rows = {"all": slice(None), "train": slice(n_train), "test": slice(n_train, None)}[split]
        return self._examples.rows(rows)

    @property
    def variables(self) -> tuple[str, ...]:
        """The names of `places`, and all of the input."""
        return (*self.places, "example")

    def counterfactuals(self, variable: str, clean: Examples, generator: torch.Generator) -> Pairs:
        """A token becomes another one, at any position; pairs are about the variable's place."""
        made = replace_token(self.encoding, clean.tokens, generator)
        targets = self._targets(self.encoding.sequences(made.tokens))
        where = self.places[variable](made)
        return Pairs(clean, Examples(made.tokens, targets), variable, where)

    @cached_property
    def _examples(self) -> Examples:
        generator = torch.Generator().manual_seed(self.split_seed)
        if self._n_possible() <= self.n_sequences:
            lengths = range(self.min_length, self.max_length + 1)
            sequences = [s for n in lengths for s in itertools.product(self.tokens, repeat=n)]
        else:
            sequences = self._draw(generator)
        order = torch.randperm(len(sequences), generator=generator).tolist()
        permuted = [sequences[i] for i in order]
        tokens = self.encoding.encode(permuted, self.context_length)
        return Examples(tokens, self._targets(permuted))

    def _n_possible(self) -> int:
        return sum(len(self.tokens) ** n for n in range(self.min_length, self.max_length + 1))

    def _draw(self, generator: torch.Generator) -> list[tuple[Token, ...]]:
        """`n_sequences` distinct sequences, from the families and what they lack from all."""
        found: dict[tuple[Token, ...], None] = {}
        for family, weight in self.families.items():
            share = weight / sum(self.families.values())
            n_drawn = math.ceil(share * self.n_sequences)
            found |= dict.fromkeys(self._members(family, n_drawn, generator))
        while len(found) < self.n_sequences:
            found |= dict.fromkeys(self._members(uniform, self.n_sequences, generator))
        return list(found)[: self.n_sequences]

    def _members(
        self, family: Family, n: int, generator: torch.Generator
    ) -> list[tuple[Token, ...]]:
        """`n` sequences of a family, repeated ones among them."""
        tokens = tuple(sorted(self.tokens))  # pyright: ignore[reportArgumentType]
        ranks = torch.randint(len(tokens), (n, self.max_length), generator=generator)
        lengths = torch.randint(self.min_length, self.max_length + 1, (n, 1), generator=generator)
        rows = family(Draw(tokens, ranks, lengths, generator)).tolist()
        return [
            tuple(tokens[rank] for rank in row[:length])
            for row, length in zip(rows, lengths.flatten().tolist(), strict=True)
        ]

    def _targets(self, sequences: Sequence[tuple[Token, ...]]) -> torch.Tensor:
        """[example, position]: the answers' indices in `output_values`, or the answers."""
        if self.loss == "mean_squared_error":
            ignore, code, dtype = math.nan, float, torch.float64
        else:
            index = {value: i for i, value in enumerate(self.output_values)}
            ignore, code, dtype = IGNORE, index.__getitem__, torch.int64
        rows = []
        for answers in self.all_answers(sequences):
            row = [ignore, *map(code, answers)]
            rows.append(row + [ignore] * (self.context_length - len(row)))
        return torch.tensor(rows, dtype=dtype)
