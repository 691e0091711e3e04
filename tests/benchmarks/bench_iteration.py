"""Chains of thought: 100,000 sequences of 32 inputs, against a plain Python loop.

Our time is that of the whole data set: distinct inputs drawn, states, tokens, targets and the
split. The plain loop is given the inputs and makes states, tokens and targets from them one by
one, so that the ratio is a lower bound.

Run: OMP_NUM_THREADS=1 python tests/benchmarks/bench_iteration.py
"""

import time
from collections.abc import Callable

import torch

from tasks.iteration import GroupProduct, IterationTask, Parity, Polynomial
from tasks.task import IGNORE

LENGTH, N_EXAMPLES = 32, 100_000
END_OF_INPUT, END = "EoI", "EoS"


def plain_examples(
    inputs: list[list[str]], task: IterationTask
) -> tuple[torch.Tensor, torch.Tensor]:
    """Follow the table of F through every sequence, and write its tokens and targets."""
    (problem,) = task.problems
    state_index = {name: i for i, name in enumerate(problem.states)}
    input_index = {name: i for i, name in enumerate(problem.inputs)}
    token_index = {name: i for i, name in enumerate(task.vocabulary)}
    F, start = problem.transition.tolist(), problem.start.tolist()
    all_tokens, all_targets = [], []
    for sequence in inputs:
        states = []
        for x in sequence:
            index = input_index[x]
            state = F[state_index[states[-1]]][index] if states else start[index]
            states.append(problem.states[state])
        names = [problem.name, *sequence, END_OF_INPUT, *states, END]
        tokens = [token_index[name] for name in names]
        all_tokens.append(tokens[:-1])
        all_targets.append([IGNORE] * (LENGTH + 1) + tokens[LENGTH + 2 :])
    return torch.tensor(all_tokens), torch.tensor(all_targets)


def timed(function: Callable, *arguments):
    start = time.perf_counter()
    return function(*arguments), time.perf_counter() - start


def compare(cls: type[IterationTask]) -> None:
    task = cls(min_length=LENGTH, max_length=LENGTH, n_per_length=N_EXAMPLES)
    ours, our_s = timed(task.examples)
    rows = ours.tokens[:, 1 : LENGTH + 1].tolist()
    inputs = [[task.vocabulary[i] for i in row] for row in rows]
    (tokens, targets), plain_s = timed(plain_examples, inputs, task)

    assert len(set(map(tuple, rows))) == N_EXAMPLES
    assert torch.equal(ours.tokens, tokens) and torch.equal(ours.targets, targets)
    print(
        f"{task.name:14} results equal   ours {our_s:6.3f} s   plain {plain_s:6.3f} s   "
        f"ratio {plain_s / our_s:5.1f}x"
    )


def main() -> None:
    Parity().examples()  # first use of torch's kernels
    for cls in (Parity, Polynomial, GroupProduct):
        compare(cls)


if __name__ == "__main__":
    main()
