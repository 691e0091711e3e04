"""A task's examples as the loop wants them: stacked over instances, on the device."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from jaxtyping import Int64
from torch import Tensor

from interp.runs.recipe import Recipe
from tasks.task import Split
from training.loss import Targets


@dataclass(frozen=True, eq=False)
class Data:
    """One split for every instance. Targets begin at the first position that is scored."""

    tokens: Int64[Tensor, "instance example position"]
    targets: Targets

    @property
    def first_scored(self) -> int:
        """The position of the first target."""
        return self.tokens.shape[2] - self.targets.shape[2]

    @property
    def n_examples(self) -> int:
        """Examples of each instance."""
        return self.tokens.shape[1]

    def pick(self, rows: Int64[Tensor, "instance row"]) -> "Data":
        """Other rows for each instance."""
        instances = torch.arange(len(rows), device=rows.device)[:, None]
        return Data(self.tokens[instances, rows], self.targets[instances, rows])

    def chunks(self, size: int) -> Iterator["Data"]:
        """Consecutive parts of at most `size` examples."""
        pairs = zip(self.tokens.split(size, dim=1), self.targets.split(size, dim=1), strict=True)
        return (Data(tokens, targets) for tokens, targets in pairs)


def stack_examples(recipes: Sequence[Recipe], split: Split, device: torch.device) -> Data:
    """The split of every recipe's task; all must have the same shape.

    Raises `ValueError` when there is nothing to train on; a test split may be empty.
    """
    examples = [recipe.task.examples(split) for recipe in recipes]
    if split == "train" and not len(examples[0]):
        raise ValueError(f"{recipes[0].task.name} has no training examples")
    first = min(e.first_scored for e in examples)
    tokens = torch.stack([e.tokens for e in examples])
    targets = torch.stack([e.targets[:, first:] for e in examples]).contiguous()
    return Data(tokens.to(device), targets.to(device))


def minibatch_rows(
    recipes: Sequence[Recipe], n_examples: int, step: int
) -> Int64[Tensor, "instance row"] | None:
    """The rows of the update that follows `step` updates; None when it takes all of them.

    Each epoch goes through all examples once, in an order that is a function of the initial seed
    and the epoch alone: to resume, no generator's state is needed. A task that is not `shuffled`
    has them in its own order. An epoch's last batch is smaller where the sizes do not divide.
    """
    size = recipes[0].schedule.batch_size
    if size is None or size >= n_examples:
        return None
    epoch, batch = divmod(step, -(-n_examples // size))
    rows = slice(batch * size, (batch + 1) * size)
    if not recipes[0].task.shuffled:
        return torch.arange(n_examples)[rows].expand(len(recipes), -1)
    orders = [_order(recipe.init_seed, epoch, n_examples) for recipe in recipes]
    return torch.stack([order[rows] for order in orders])


@lru_cache(maxsize=256)
def _order(seed: int, epoch: int, n_examples: int) -> Int64[Tensor, "example"]:
    return torch.from_numpy(np.random.default_rng((seed, epoch)).permutation(n_examples))
