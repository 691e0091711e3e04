"""Where the tokens of a sequence stand."""

from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Int64
from torch import Tensor


class Role(NamedTuple):
    """What a head may do: attend from each of `queries` to the key below it."""

    queries: Int64[Tensor, "step"]
    keys: Int64[Tensor, "step"]


@dataclass(frozen=True)
class Layout:
    """The positions in a sequence, as functions of L, the number of its inputs.

    ```
    position:  0        1 ... L      L+1  then           then                   then
    token:     PROBLEM  x_1 ... x_L  EoI  `slack` SLACK  s_1 ... s_L, or s_L    EoS EoS ...
    ```
    """

    chain_of_thought: bool = True
    """Whether all states are told, or the last one alone."""
    slack: int = 0
    """Tokens between the end of the input and the answer."""

    def end_of_input(self, length: int) -> int:
        """The position of EoI."""
        return length + 1

    def answer(self, length: int) -> range:
        """The positions of the states; EoS follows. What stands before them is the prompt."""
        first = length + 2 + self.slack
        return range(first, first + (length if self.chain_of_thought else 1))

    def roles(self, length: int) -> dict[str, Role]:
        """What the heads of the iteration head do, and what others might, by name.

        - "EoI": from each state to the end of the input (as published, from s_L too).
        - "x_t": from where s_t is to be said, for t = 1 ... L, to x_t.
        - "previous": from there to the token just before.
        - "s_{t-1}": from there to s_(t-1), which is the query's own token, for t = 2 ... L.

        Raises `ValueError` without chain of thought, where there is no step to look at.
        """
        if not self.chain_of_thought:
            raise ValueError("there are no roles without chain of thought: only s_L is said")
        states = torch.tensor(self.answer(length))
        before = states - 1
        return {
            "EoI": Role(states, torch.full_like(states, self.end_of_input(length))),
            "x_t": Role(before, torch.arange(1, length + 1)),
            "previous": Role(before, before - 1),
            "s_{t-1}": Role(before[1:], before[1:]),
        }
