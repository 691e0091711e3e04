"""Group composition: from two elements of a finite group, say their product."""

from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Int64
from torch import Tensor

from tasks.groups import FiniteGroup, finite_group
from tasks.pairs import Pairs, another
from tasks.task import IGNORE, Examples, Split, Task


@dataclass(frozen=True)
class GroupComposition(Task):
    """Tokens (a, b), or (a, b, =); target ab, at the last position.

    The data are all ordered pairs. The split is that of Chughtai, Chan and Nanda (2023): the
    pairs, row by row, are permuted by `torch.randperm` under `split_seed`, and the first
    `train_fraction` of them (rounded down) are the training set.

    Raises `ValueError` for an unknown group or a fraction outside (0, 1].
    """

    group: str = "S5"
    """Name or definition of the group, as `tasks.groups.finite_group` reads it."""
    train_fraction: float = 0.4
    """Share of all ordered pairs that is trained on."""
    equals_token: bool = False
    """Whether a token '=' follows the operands; transformers answer there."""

    def __post_init__(self) -> None:
        if not 0 < self.train_fraction <= 1:
            raise ValueError(
                f"train_fraction is {self.train_fraction}: it must be above 0 and at most 1"
            )
        # One spelling a group, so that equal tasks are equal.
        object.__setattr__(self, "group", finite_group(self.group).definition)

    @property
    def finite_group(self) -> FiniteGroup:
        """The group itself."""
        return finite_group(self.group)

    @property
    def name(self) -> str:
        """The group's name."""
        return self.finite_group.name

    @property
    def vocabulary(self) -> tuple[str, ...]:
        """The group's elements, then '=' if it is used."""
        return self.outputs + ("=",) * self.equals_token

    @property
    def outputs(self) -> tuple[str, ...]:
        """The group's elements."""
        return self.finite_group.element_names

    @property
    def context_length(self) -> int:
        """2, or 3 with '='."""
        return 2 + self.equals_token

    @cached_property
    def _permutation(self) -> Int64[Tensor, "pair"]:
        generator = torch.Generator().manual_seed(self.split_seed)
        return torch.randperm(self.finite_group.order**2, generator=generator)

    @property
    def _n_train(self) -> int:
        return int(self.train_fraction * self.finite_group.order**2)

    def indices(self, split: Split) -> Int64[Tensor, "pair"]:
        """The pairs a * order + b of a split, in its order; all pairs are in ascending order."""
        if split == "all":
            return torch.arange(self.finite_group.order**2)
        return (
            self._permutation[: self._n_train]
            if split == "train"
            else self._permutation[self._n_train :]
        )

    def examples(self, split: Split = "all") -> Examples:
        """The pairs of a split and their products."""
        order = self.finite_group.order
        a, b = self.indices(split).div(order, rounding_mode="floor"), self.indices(split) % order
        equals = [torch.full_like(a, order)] * self.equals_token
        return self._with_products(torch.stack([a, b, *equals], dim=1))

    def _with_products(self, tokens: Int64[Tensor, "example position"]) -> Examples:
        targets = torch.full_like(tokens, IGNORE)
        targets[:, -1] = self.finite_group.table[tokens[:, 0], tokens[:, 1]]
        return Examples(tokens, targets)

    @property
    def variables(self) -> tuple[str, ...]:
        """The first operand, the second, or both at once."""
        return ("first", "second", "example")

    def counterfactuals(self, variable: str, clean: Examples, generator: torch.Generator) -> Pairs:
        """An operand becomes another element, all others alike likely."""
        operand = self.variables.index(variable)
        tokens = clean.tokens.clone()
        tokens[:, operand] = another(tokens[:, operand], self.finite_group.order, generator)
        return Pairs(clean, self._with_products(tokens), variable)
