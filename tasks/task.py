"""What is to be learned: a task knows its vocabulary, its examples and the exact answers."""

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar, Literal

import torch
from jaxtyping import Float64, Int64
from torch import Tensor

if TYPE_CHECKING:  # it imports this file
    import tasks.pairs

IGNORE = -100
"""The target at a position that is not scored. Regression targets use NaN instead."""

Split = Literal["train", "test", "all"]
SPLITS: tuple[Split, ...] = ("train", "test", "all")


@dataclass(frozen=True, eq=False)
class Examples:
    """Token sequences and what is to be said after each of their tokens.

    `targets` holds an output's index, or `IGNORE` where the position is not scored; for a
    regression task it holds the value, or NaN.
    """

    tokens: Int64[Tensor, "example position"]
    targets: Int64[Tensor, "example position"] | Float64[Tensor, "example position"]

    def __len__(self) -> int:
        return len(self.tokens)

    def rows(self, index: slice | Tensor) -> "Examples":
        """Some of the examples."""
        return Examples(self.tokens[index], self.targets[index])

    @property
    def first_scored(self) -> int:
        """The first position that any example scores. No loss depends on logits before it."""
        ignored = (
            self.targets.isnan() if self.targets.is_floating_point() else self.targets == IGNORE
        )
        return int((~ignored).any(dim=0).int().argmax())


@dataclass(frozen=True)
class Task(ABC):
    """Base of all tasks. A subclass is a frozen dataclass whose fields are plain data.

    Two tasks with equal fields give equal examples, in equal order. The fields become flags of
    `interp train` and are stored in the run's recipe.
    """

    split_seed: int = field(default=0, kw_only=True)
    """Draws the train/test split."""

    loss: ClassVar[Literal["cross_entropy", "mean_squared_error"]] = "cross_entropy"
    attention: ClassVar[Literal["causal", "bidirectional"]] = "causal"
    """What a transformer needs: bidirectional where an answer depends on later tokens."""

    @property
    @abstractmethod
    def name(self) -> str:
        """A short name for run folders, tables and legends."""

    @property
    @abstractmethod
    def vocabulary(self) -> tuple[str, ...]:
        """The input tokens, in the order of their ids."""

    @property
    def outputs(self) -> tuple[str, ...]:
        """What the network chooses from at a scored position. By default the vocabulary."""
        return self.vocabulary

    @property
    @abstractmethod
    def context_length(self) -> int:
        """Tokens in the longest sequence, BOS and the like included."""

    @property
    def shuffled(self) -> bool:
        """Whether minibatches are drawn at random, and not in the examples' own order."""
        return True

    @property
    def pad_token(self) -> int | None:
        """The id of the token that fills shorter sequences up; networks never attend to it."""
        return None

    @abstractmethod
    def examples(self, split: Split = "all") -> Examples:
        """The sequences of a split, with their targets."""

    @property
    def variables(self) -> tuple[str, ...]:
        """What `pairs` may differ in, the most telling first: parts of an input, or all of it."""
        return ("example",)

    def counterfactuals(
        self, variable: str, clean: Examples, generator: torch.Generator
    ) -> "tasks.pairs.Pairs":
        """For each input one that differs in a variable, and the answers to that.

        A task with more `variables` than "example" overrides this. Inputs for which it finds no
        other answer may be left as they are: `pairs` passes over them.
        """
        raise NotImplementedError(f"{self.name} does not say how its {variable!r} is changed")

    def pairs(
        self, variable: str | None = None, n: int = 256, split: Split = "test", seed: int = 0
    ) -> "tasks.pairs.Pairs":
        """Examples of a split, each with an input that differs in a variable and has other answers.

        The examples are drawn at random, and again only when all were drawn. For the variable
        "example" the other input is any other one of the split, and its answers may be the same.

        Args:
            variable: one of `variables`; the first if not given.
            n: how many pairs.
            split: which examples.
            seed: of all that is random.

        Raises:
            ValueError: there is no such variable, n is below 1, the split is empty, or the
                variable changes answers in too few inputs.
        """
        from tasks.pairs import draw_pairs

        generator = torch.Generator().manual_seed(seed)
        variable = self.variables[0] if variable is None else variable
        return draw_pairs(self, variable, n, split, generator)
