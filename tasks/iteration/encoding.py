"""Input sequences as rows of tokens."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Int64
from torch import Tensor

from tasks.iteration.iteration import Iteration
from tasks.iteration.layout import Layout

PUBLISHED_VOCABULARY = (
    *map(str, range(58)),
    *("polynomial", "parity", "copy", "BOS", "EoI", "EoS"),
)
"""The 64 tokens of Cabannes et al. (2024). Residues and bits are one token."""


@dataclass(frozen=True, eq=False)
class IterationEncoding:
    """The tokens: states and inputs, each name once; the problems; EoI, SLACK if used, EoS.

    Raises `ValueError` when a token has no name of its own, or is not in `PUBLISHED_VOCABULARY`
    where that is to be used.
    """

    problems: tuple[Iteration, ...]
    layout: Layout
    published: bool = False
    """Use `PUBLISHED_VOCABULARY`, where one token names a problem for all alphabets and moduli."""

    def __post_init__(self) -> None:
        if len(self.token_ids) < len(self.vocabulary):
            twice = [name for i, name in enumerate(self.vocabulary) if self.token_ids[name] != i]
            raise ValueError(
                f"the token {twice[0]!r} is twice in the vocabulary: problems must have different "
                "names, and no state or input be called as they or EoI, SLACK or EoS"
            )
        first = list(map(self._first_token, self.problems))
        if len(set(first)) < len(first):
            raise ValueError(
                f"two problems begin with the token {max(first, key=first.count)!r}: as published, "
                "all moduli have one"
            )
        for problem in self.problems:
            for name in (self._first_token(problem), *problem.states, *problem.inputs):
                if name not in self.token_ids:
                    raise ValueError(
                        f"{problem.name} needs a token {name!r}: preset='published' has the "
                        "problems copy, parity and polynomial on the numbers 0 to 57"
                    )

    @cached_property
    def vocabulary(self) -> tuple[str, ...]:
        """The names of the tokens, in the order of their ids."""
        if self.published:
            return PUBLISHED_VOCABULARY
        values = [name for problem in self.problems for name in (*problem.states, *problem.inputs)]
        first = map(self._first_token, self.problems)
        return (*dict.fromkeys(values), *first, "EoI", *["SLACK"] * bool(self.layout.slack), "EoS")

    @cached_property
    def token_ids(self) -> dict[str, int]:
        """The id of each name."""
        return {name: i for i, name in enumerate(self.vocabulary)}

    @cached_property
    def problem_ids(self) -> Int64[Tensor, "problem"]:
        """The first token of each problem's sequences."""
        return self._ids([self._first_token(problem) for problem in self.problems])

    @cached_property
    def state_ids(self) -> tuple[Int64[Tensor, "state"], ...]:
        """For each problem, the tokens of its states."""
        return tuple(self._ids(problem.states) for problem in self.problems)

    @cached_property
    def input_ids(self) -> tuple[Int64[Tensor, "input"], ...]:
        """For each problem, the tokens of its inputs."""
        return tuple(self._ids(problem.inputs) for problem in self.problems)

    def _first_token(self, problem: Iteration) -> str:
        return problem.name.partition(":")[0] if self.published else problem.name

    def _ids(self, names: Sequence[str]) -> Int64[Tensor, "name"]:
        return torch.tensor([self.token_ids[name] for name in names])

    def encode(
        self, inputs: Int64[Tensor, "example time"], problem: int, width: int
    ) -> Int64[Tensor, "example width"]:
        """The whole sequences with these inputs (indices), filled up with EoS."""
        length = inputs.shape[1]
        answer = self.layout.answer(length)
        rows = torch.full((len(inputs), width), self.token_ids["EoS"])
        rows[:, 0] = self.problem_ids[problem]
        rows[:, 1 : length + 1] = self.input_ids[problem][inputs]
        rows[:, length + 1] = self.token_ids["EoI"]
        if self.layout.slack:
            rows[:, length + 2 : answer.start] = self.token_ids["SLACK"]
        states = self.problems[problem].iterate(inputs)[:, -len(answer) :]
        rows[:, answer.start : answer.stop] = self.state_ids[problem][states]
        return rows

    def lengths(self, tokens: Int64[Tensor, "example position"]) -> Int64[Tensor, "example"]:
        """The number of inputs of each sequence."""
        return (tokens == self.token_ids["EoI"]).int().argmax(dim=1) - 1

    def prompt(self, tokens: Int64[Tensor, "example position"]) -> Int64[Tensor, "example prompt"]:
        """What stands before the answer, in sequences of one length.

        Raises `ValueError` when the lengths differ.
        """
        lengths = self.lengths(tokens).unique().tolist()
        if len(lengths) != 1:
            raise ValueError(f"prompts of lengths {lengths} do not stack: take one length a time")
        return tokens[:, : self.layout.answer(lengths[0]).start]
