"""An iterative problem: a state that the inputs change one by one."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

import torch
from jaxtyping import Int64
from torch import Tensor


@dataclass(frozen=True, eq=False)
class Iteration:
    """s_1 = start(x_1) and s_t = F(s_(t-1), x_t); the answer to x_1 ... x_L is s_L.

    After Cabannes et al. (2024), arXiv 2406.02128. States and inputs are numbered in the order of
    their names. Make one from a function with `from_function`, or use those of
    `tasks.iteration.problems`. The tensors are shared by all who use the problem: do not write to
    them.

    Attributes:
        name: such as "parity" or "polynomial:11".
        states: the states' names.
        inputs: the inputs' names. An input and a state of the same name are one token.
        transition: `transition[s, x]` is F(s, x).
        start: `start[x]` is the first state.
    """

    name: str
    states: tuple[str, ...]
    inputs: tuple[str, ...]
    transition: Int64[Tensor, "state input"]
    start: Int64[Tensor, "input"]

    @classmethod
    def from_function(
        cls,
        name: str,
        states: Sequence[Any],
        inputs: Sequence[Any],
        F: Callable[[Any, Any], Any],
        start: Callable[[Any], Any] | None = None,
    ) -> "Iteration":
        """Tabulate F(state, input), and start(input), which is F(states[0], input) if not given.

        Raises `ValueError` where a value of either is not among `states`.
        """
        index = {state: i for i, state in enumerate(states)}

        def state_index(value: Any, where: str) -> int:
            if value not in index:
                raise ValueError(
                    f"{name}: {where} is {value!r}, which is none of the {len(states)} states "
                    f"({brief(states)}): F must stay in the state space"
                )
            return index[value]

        table = [[state_index(F(s, x), f"F({s!r}, {x!r})") for x in inputs] for s in states]
        first = [state_index(start(x), f"start({x!r})") for x in inputs] if start else table[0]
        names = tuple(map(str, states)), tuple(map(str, inputs))
        tensors = (torch.tensor(indices, dtype=torch.int64) for indices in (table, first))
        return cls(name, *names, *tensors)

    def __post_init__(self) -> None:
        for kind, names in (("state", self.states), ("input", self.inputs)):
            if not names:
                raise ValueError(f"{self.name} has no {kind}s: it needs at least one")
            if len(set(names)) < len(names):
                raise ValueError(f"{self.name} has a {kind} twice: {brief(names)}")

    def iterate(self, inputs: Int64[Tensor, "example time"]) -> Int64[Tensor, "example time"]:
        """s_1 ... s_L for x_1 ... x_L, many at once; all are indices."""
        first, *rest = inputs.unbind(dim=1)
        states = [self.start[first]]
        for x in rest:
            states.append(self.transition[states[-1], x])
        return torch.stack(states, dim=1)

    def answers(self, inputs: Sequence[Any]) -> list[str]:
        """s_1 ... s_L for the inputs of these names.

        Raises `ValueError` for a name that is no input, or when there is none.
        """
        if not inputs:
            raise ValueError(f"a sequence of {self.name} is empty: it needs at least one input")
        indices = torch.tensor([[self._input_index(str(x)) for x in inputs]])
        return [self.states[i] for i in self.iterate(indices)[0].tolist()]

    def _input_index(self, name: str) -> int:
        if name not in self.inputs:
            raise ValueError(
                f"{name!r} is no input of {self.name}: the inputs are {brief(self.inputs)}; the "
                f"nearest is {get_close_matches(name, self.inputs, n=1, cutoff=0)[0]!r}"
            )
        return self.inputs.index(name)


def brief(values: Sequence[Any]) -> str:
    """The values, or the first few and the last."""
    if len(values) > 8:
        values = [*values[:3], "...", values[-1]]
    return ", ".join(map(str, values))
