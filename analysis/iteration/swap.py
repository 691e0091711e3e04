"""Other inputs for a sequence, each of which would have led to another state."""

from typing import NamedTuple

import torch
from jaxtyping import Int64
from torch import Tensor

from analysis.iteration.predictions import Sequences
from tasks.iteration import Iteration, IterationTask
from tasks.task import IGNORE


class Swap(NamedTuple):
    """Sequences whose inputs x were replaced by others x', and their states s were not."""

    tokens: Int64[Tensor, "example position"]
    answers: Int64[Tensor, "example time"]
    """The tokens of F(s_(t-1), x'_t); `IGNORE` where x_t was kept, or s_t is not scored."""


def swap_inputs(task: IterationTask, sequences: Sequences, generator: torch.Generator) -> Swap:
    """Draw for each x_t an x'_t with F(s_(t-1), x'_t) other than F(s_(t-1), x_t) = s_t.

    Every such input is as likely; x_t is kept where there is none. F, and start in place of
    F(s_0, x), are those of each sequence's own problem.
    """
    times = slice(1, sequences.length + 1)
    tokens = sequences.tokens.clone()
    answers = torch.full_like(tokens[:, times], IGNORE)
    index = torch.zeros(len(task.vocabulary), dtype=torch.int64)
    for i in task.drawn_problems:
        rows = tokens[:, 0] == task.encoding.problem_ids[i]
        input_ids, state_ids = task.encoding.input_ids[i], task.encoding.state_ids[i]
        index[input_ids] = torch.arange(len(input_ids))
        inputs = index[tokens[rows, times]]
        drawn, states = _draw(task.problems[i], inputs, generator)
        tokens[rows, times] = input_ids[drawn]
        answers[rows] = state_ids[states].masked_fill(drawn == inputs, IGNORE)
    if task.targets == "final":
        answers[:, :-1] = IGNORE
    return Swap(tokens, answers)


def _draw(
    problem: Iteration, inputs: Int64[Tensor, "example time"], generator: torch.Generator
) -> tuple[Int64[Tensor, "example time"], Int64[Tensor, "example time"]]:
    """The other inputs, and the states they lead to; all are indices."""
    true_states = problem.iterate(inputs)
    drawn, states = inputs.clone(), true_states.clone()
    for t in range(inputs.shape[1]):
        next_states = problem.transition[true_states[:, t - 1]] if t else problem.start[None]
        is_other = next_states != true_states[:, t, None]  # [example, input]
        order = torch.rand(is_other.shape, generator=generator).masked_fill(~is_other, -1)
        found = is_other.any(dim=1)
        drawn[found, t] = order.argmax(dim=1)[found]
        states[found, t] = next_states.expand(len(inputs), -1)[found, drawn[found, t]]
    return drawn, states
