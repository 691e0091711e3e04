"""Iterative problems as a task: their data, from the problem alone."""

import math
from abc import abstractmethod
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cached_property
from itertools import pairwise
from typing import Literal, get_args

import numpy as np
import torch
from jaxtyping import Int64
from torch import Tensor

from tasks.iteration.encoding import IterationEncoding
from tasks.iteration.inputs import distinct_inputs, independent_inputs
from tasks.iteration.iteration import Iteration
from tasks.iteration.layout import Layout
from tasks.iteration.swap import every_input, every_state, one_input, swapped
from tasks.pairs import Pairs
from tasks.task import IGNORE, Examples, Split, Task

Scored = Literal["all", "final"]
Preset = Literal["default", "published"]
Part = tuple[int, Int64[np.ndarray, "_ _"]]
"""A problem's index, and the inputs [example, time] of some of its sequences."""


@dataclass(frozen=True)
class IterationTask(Task):
    """Tokens (PROBLEM, x_1, ..., x_L, EoI, s_1, ..., s_L, EoS, ...); each s_t is to be said.

    The targets are the next tokens: s_1 at EoI, ..., EoS at s_L. The tokens after that are EoS as
    well and are not scored; no scored position can attend to them, so they need no hiding.

    The data of a length are all its sequences, if there are no more than asked for, and else as
    many distinct ones as asked for, uniformly drawn. They are permuted, and the first
    `train_fraction` of them (rounded down) are for training: no sequence is in both splits. They
    depend on the length and `split_seed`, not on the other lengths: a task with a larger
    `max_length` has the same data, and more. Each split has its lengths in random order.

    `preset="published"` is the setup of Cabannes et al. (2024), arXiv 2406.02128, and of the code
    they published:
    - the 64 tokens of `encoding.PUBLISHED_VOCABULARY`, and 2 max_length + 3 positions, of which
      the tokens of an example lack the last; with chain of thought and without;
    - every EoS after the answer is scored;
    - the sequences of a length are drawn independently, so that some are there several times, and
      in both splits: see `overlap`;
    - sequences are in the order of their length, and are trained on in this order: see `shuffled`.
    The numbers drawn are others, and without chain of thought a sequence begins with its
    problem's token too, where the published code has BOS for polynomials.

    A subclass says what the problems are, and may be a user's own. Raises `ValueError` for a
    field that is out of range, or that the preset does not have.
    """

    min_length: int = 1
    """Inputs in the shortest sequence."""
    max_length: int = 16
    """Inputs in the longest sequence."""
    longest: int | None = None
    """Inputs in the longest sequence that a network has positions for. Not given: max_length."""
    n_per_length: int = 2048
    """Sequences of a length in train and test together; all there are, if these are fewer."""
    zipf_exponent: float = 0.0
    """Of length L there are n_per_length times ((L + zipf_offset) / (min_length + zipf_offset)) to
    minus this. 0 is as many of every length."""
    zipf_offset: float = 0.0
    """Added to the lengths in Zipf's law."""
    train_fraction: float = 0.5
    """Share of each length's sequences that is trained on."""
    chain_of_thought: bool = True
    """Whether all states are said, or the last one alone."""
    slack: int = 0
    """Tokens SLACK between EoI and the answer."""
    targets: Scored = "all"
    """Score the whole answer with its EoS (all), or s_L alone (final)."""
    preset: Preset = "default"
    """default, or published: the original's tokens, data and order."""

    def __post_init__(self) -> None:
        if not 1 <= self.min_length <= self.max_length:
            raise ValueError(
                f"lengths are {self.min_length} to {self.max_length}: min_length must be at least "
                "1 and at most max_length"
            )
        self._check_length(self.max_length)
        for name, lowest in (("n_per_length", 1), ("slack", 0)):
            if getattr(self, name) < lowest:
                raise ValueError(f"{name} is {getattr(self, name)}: it must be at least {lowest}")
        if not math.isfinite(self.zipf_exponent):
            raise ValueError(f"zipf_exponent is {self.zipf_exponent}: it must be a number")
        if not 0 < self.min_length + self.zipf_offset < math.inf:
            raise ValueError(
                f"zipf_offset is {self.zipf_offset}: it must be above {-self.min_length}, so that "
                "Zipf's law has a share for every length"
            )
        if not 0 < self.train_fraction <= 1:
            raise ValueError(
                f"train_fraction is {self.train_fraction}: it must be above 0 and at most 1"
            )
        self._check_choices()
        self.encoding  # noqa: B018 (finds names for all tokens, or raises)

    def _check_length(self, length: int) -> None:
        if length > self._longest:
            raise ValueError(
                f"a sequence of {length} inputs is too long: there are positions for "
                f"{self._longest}, and for {length} with longest={length}"
            )

    def _check_choices(self) -> None:
        for name, allowed in (("targets", get_args(Scored)), ("preset", get_args(Preset))):
            value = getattr(self, name)
            if value not in allowed:
                raise ValueError(
                    f"{name} is {value!r}: it must be {' or '.join(allowed)}; the nearest is "
                    f"{get_close_matches(value, allowed, n=1, cutoff=0)[0]}"
                )
        for name, only in (("slack", 0), ("targets", "all"), ("zipf_exponent", 0)):
            if self.is_published and getattr(self, name) != only:
                raise ValueError(
                    f"{name} is {getattr(self, name)!r}: preset='published' has {only!r} only"
                )

    @abstractmethod
    def make_problems(self) -> tuple[Iteration, ...]:
        """The problems whose states and inputs are in the vocabulary."""

    @cached_property
    def problems(self) -> tuple[Iteration, ...]:
        """What `make_problems` returned."""
        return self.make_problems()

    @property
    def drawn_problems(self) -> tuple[int, ...]:
        """The indices of the problems that there are sequences of; by default all."""
        return tuple(range(len(self.problems)))

    @property
    def name(self) -> str:
        """The names of the problems, and whether there is no chain of thought."""
        names = "+".join(self.problems[i].name for i in self.drawn_problems)
        return names if self.chain_of_thought else f"{names}-no-cot"

    @property
    def is_published(self) -> bool:
        """Whether the preset is the published one."""
        return self.preset == "published"

    @property
    def shuffled(self) -> bool:
        """Whether minibatches are drawn at random, and not in the examples' own order."""
        return not self.is_published

    @cached_property
    def encoding(self) -> IterationEncoding:
        """From inputs to tokens, and where what stands."""
        layout = Layout(self.chain_of_thought, self.slack)
        return IterationEncoding(self.problems, layout, self.is_published)

    @property
    def layout(self) -> Layout:
        """Where the tokens of a sequence stand."""
        return self.encoding.layout

    @property
    def vocabulary(self) -> tuple[str, ...]:
        """States and inputs, the problems, EoI, SLACK where it is used, and EoS."""
        return self.encoding.vocabulary

    @property
    def context_length(self) -> int:
        """Positions up to s_L of the `longest` sequence; as published 2 longest + 3."""
        return self._width(self._longest) + self.is_published

    @property
    def _longest(self) -> int:
        return self.max_length if self.longest is None else self.longest

    def _width(self, max_length: int) -> int:
        """Tokens of an example, when the longest has this many inputs."""
        return 2 * max_length + 2 if self.is_published else self.layout.answer(max_length).stop

    def encode(self, inputs: Int64[Tensor, "example time"], problem: int = 0) -> Examples:
        """The sequences with these inputs (indices), as wide as they need, and their targets.

        Raises `ValueError` when there are more inputs than there are positions for.
        """
        self._check_length(inputs.shape[1])
        return self._encode(inputs, problem, self._width(inputs.shape[1]))

    def _encode(self, inputs: Int64[Tensor, "example time"], problem: int, width: int) -> Examples:
        rows = self.encoding.encode(inputs, problem, width + 1)
        scored = self._scored(self.layout.answer(inputs.shape[1]))
        targets = torch.full((len(rows), width), IGNORE)
        targets[:, scored] = rows[:, 1:][:, scored]
        return Examples(rows[:, :-1], targets)

    def _scored(self, answer: range) -> slice:
        """The positions that are scored, each of which is just before what is to be said."""
        if self.targets == "final":
            return slice(answer.stop - 2, answer.stop - 1)
        return slice(answer.start - 1, None if self.is_published else answer.stop)

    def examples(self, split: Split = "all") -> Examples:
        """The sequences of a split, with their targets; all are those of train, then of test."""
        n_train, found = self._examples
        rows = {"all": slice(None), "train": slice(n_train), "test": slice(n_train, None)}[split]
        return found.rows(rows)

    @property
    def variables(self) -> tuple[str, ...]:
        """The inputs, the states that are told, or all of the sequence."""
        return ("x_t", *["s_t"] * self.chain_of_thought, "example")

    def counterfactuals(self, variable: str, clean: Examples, generator: torch.Generator) -> Pairs:
        """Every x_t, or s_t, becomes one that changes the next state said; the others are kept.

        So each answer has one changed input. Without chain of thought a single x_t changes. The
        sequences may be cut where their answers end.
        """
        inputs = every_input if self.chain_of_thought else one_input
        swap = {"x_t": inputs, "s_t": every_state}[variable]
        return Pairs(clean, swapped(swap, self.encoding, clean, generator), variable)

    @cached_property
    def _examples(self) -> tuple[int, Examples]:
        """The number of sequences to train on, and all sequences, those first."""
        parts, train, test, n_drawn = [], [], [], 0
        for length in range(self.min_length, self.max_length + 1):
            rng = np.random.default_rng((self.split_seed, length))
            drawn = self._draw(length, rng)
            n_of_length = sum(len(inputs) for _, inputs in drawn)
            order = n_drawn + rng.permutation(n_of_length)
            n_train = int(self.train_fraction * n_of_length)
            train.append(order[:n_train])
            test.append(order[n_train:])
            parts += drawn
            n_drawn += n_of_length
        splits = np.concatenate(train), np.concatenate(test)
        if self.shuffled:
            rng = np.random.default_rng((self.split_seed, 0))
            splits = tuple(map(rng.permutation, splits))
        return len(splits[0]), self._in_order(parts, np.concatenate(splits))

    def _draw(self, length: int, rng: np.random.Generator) -> list[Part]:
        """For each drawn problem, inputs of a length; the problems share it equally."""
        ratio = (length + self.zipf_offset) / (self.min_length + self.zipf_offset)
        n_examples = round(self.n_per_length * ratio**-self.zipf_exponent)
        n_problems = len(self.drawn_problems)
        bounds = [n_examples * i // n_problems for i in range(n_problems + 1)]
        draw = independent_inputs if self.is_published else distinct_inputs
        return [
            (problem, draw(len(self.problems[problem].inputs), end - start, length, rng))
            for problem, (start, end) in zip(self.drawn_problems, pairwise(bounds), strict=True)
        ]

    def _in_order(self, parts: list[Part], order: np.ndarray) -> Examples:
        """The sequences of these problems and inputs: first the one with number `order[0]`."""
        width = self._width(self.max_length)
        tokens, targets = torch.empty(2, len(order), width, dtype=torch.int64)
        places = torch.from_numpy(order.argsort()).split([len(inputs) for _, inputs in parts])
        for rows, (problem, inputs) in zip(places, parts, strict=True):
            part = self._encode(torch.from_numpy(inputs), problem, width)
            tokens[rows], targets[rows] = part.tokens, part.targets
        return Examples(tokens, targets)

    def overlap(self) -> dict[int, float]:
        """For each length that is tested, the share of test sequences that are trained on too."""
        train, test = (self.examples(split).tokens for split in ("train", "test"))
        seen = {row.tobytes() for row in train.numpy()}
        is_seen = torch.tensor([row.tobytes() in seen for row in test.numpy()])
        lengths = self.encoding.lengths(test)
        return {n: is_seen[lengths == n].double().mean().item() for n in lengths.unique().tolist()}
