"""Other inputs or states in a sequence, each of which leads to another state."""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch
from jaxtyping import Bool, Int64
from torch import Tensor

from tasks.iteration.encoding import IterationEncoding
from tasks.iteration.iteration import Iteration
from tasks.pairs import another
from tasks.task import IGNORE, Examples


class Steps(NamedTuple):
    """What is read and said in the sequences of one problem and length, as indices."""

    inputs: Int64[Tensor, "example time"]
    told: Int64[Tensor, "example time"]
    """The states that stand in the answer."""
    said: Int64[Tensor, "example time"]
    """The states that are to be said."""


Swap = Callable[[Iteration, Steps, torch.Generator], Steps]


def swapped(
    swap: Swap, encoding: IterationEncoding, clean: Examples, generator: torch.Generator
) -> Examples:
    """The sequences after `swap`, each with its own problem, and the states that they lead to.

    EoS is said where it was, and nothing where nothing was scored.
    """
    tokens, targets = clean.tokens.clone(), clean.targets.clone()
    for i, length, rows in _alike(encoding, clean.tokens):
        input_ids, state_ids = encoding.input_ids[i], encoding.state_ids[i]
        index = torch.zeros(len(encoding.vocabulary), dtype=torch.int64)
        index[input_ids] = torch.arange(len(input_ids))
        times, answer = slice(1, length + 1), encoding.layout.answer(length)
        inputs = index[tokens[rows, times]]
        states = encoding.problems[i].iterate(inputs)
        steps = swap(encoding.problems[i], Steps(inputs, states, states), generator)
        told, said = (state_ids[part[:, -len(answer) :]] for part in (steps.told, steps.said))
        tokens[rows, times] = input_ids[steps.inputs]
        tokens[rows, answer.start : answer.stop] = told
        targets[rows, answer.start - 1 : answer.stop - 1] = said
    return Examples(tokens, torch.where(clean.targets == IGNORE, clean.targets, targets))


def _alike(
    encoding: IterationEncoding, tokens: Int64[Tensor, "example position"]
) -> Iterator[tuple[int, int, Bool[Tensor, "example"]]]:
    """Each problem and length, and the sequences that have both."""
    lengths = encoding.lengths(tokens)
    for i, first in enumerate(encoding.problem_ids):
        is_of = tokens[:, 0] == first
        for length in lengths[is_of].unique().tolist():
            yield i, length, is_of & (lengths == length)


def every_input(problem: Iteration, steps: Steps, generator: torch.Generator) -> Steps:
    """For each x_t an x'_t with F(s_(t-1), x'_t) other than s_t, which is said; states are kept.

    Every such input is as likely; x_t is kept where there is none. start takes the place of
    F(s_0, x).
    """
    inputs, said = steps.inputs.clone(), steps.said.clone()
    for t in range(inputs.shape[1]):
        first = problem.start.expand(len(inputs), -1)
        reached = problem.transition[steps.told[:, t - 1]] if t else first
        inputs[:, t], said[:, t] = _draw(reached, inputs[:, t], generator)
    return steps._replace(inputs=inputs, said=said)


def every_state(problem: Iteration, steps: Steps, generator: torch.Generator) -> Steps:
    """For each s_t but s_L an s'_t with F(s'_t, x_(t+1)) other than s_(t+1), which is said.

    Every such state is as likely; s_t is kept where there is none. Inputs are kept.
    """
    told, said = steps.told.clone(), steps.said.clone()
    for t in range(told.shape[1] - 1):
        reached = problem.transition.T[steps.inputs[:, t + 1]]
        told[:, t], said[:, t + 1] = _draw(reached, told[:, t], generator)
    return steps._replace(told=told, said=said)


def one_input(problem: Iteration, steps: Steps, generator: torch.Generator) -> Steps:
    """One x_t becomes any other input, at any time, and said is what that leads to."""
    n_examples, length = steps.inputs.shape
    times = torch.randint(length, (n_examples, 1), generator=generator)
    others = another(steps.inputs.gather(1, times), len(problem.inputs), generator)
    inputs = steps.inputs.scatter(1, times, others)
    return steps._replace(inputs=inputs, said=problem.iterate(inputs))


def _draw(
    reached: Int64[Tensor, "example choice"],
    chosen: Int64[Tensor, "example"],
    generator: torch.Generator,
) -> tuple[Int64[Tensor, "example"], Int64[Tensor, "example"]]:
    """Choices that reach another state than those `chosen`, and what they reach."""
    is_other = reached != reached.gather(1, chosen[:, None])
    order = torch.rand(is_other.shape, generator=generator).masked_fill(~is_other, -1)
    drawn = torch.where(is_other.any(dim=1), order.argmax(dim=1), chosen)
    return drawn, reached.gather(1, drawn[:, None])[:, 0]
