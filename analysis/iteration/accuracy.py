"""How many tokens, answers and whole sequences of each length are right."""

import math
from statistics import NormalDist
from typing import Any

import pandas as pd
import torch
from jaxtyping import Bool, Int64
from torch import Tensor

from analysis.iteration.predictions import (
    Sequences,
    by_length,
    own_output,
    predict,
    scored_states,
)
from interp.models.transformer import TaskTransformer
from tasks.iteration import IterationTask
from tasks.task import IGNORE, Split


def length_scores(
    model: TaskTransformer, task: IterationTask, split: Split = "test", *, by_problem: bool = False
) -> pd.DataFrame:
    """Accuracy and grammar for each length that a split has.

    Only what the task scores counts: the states and the end, or s_L alone, and then what is about
    the end is NaN. Teacher-forced is what the network says when it reads the true sequence, and
    free-running when it reads its own output. For lengths beyond training, pass the task with a
    larger `max_length`: the network has positions up to its `longest`.

    Returns:
        A row for each length (with `by_problem` for each problem in a length, with its name in
        the column problem), and the columns
        length, n: the number of inputs, and of sequences.
        token_accuracy: share of states that are right, teacher-forced.
        end_accuracy: share of sequences with EoS just after s_L, teacher-forced.
        sequence_accuracy: share of sequences where all that is scored is right, teacher-forced.
            This is the accuracy of Cabannes et al. (2024); as published, every EoS counts.
        sequence_accuracy_low, sequence_accuracy_high: its Wilson interval of 95%.
        chance: sequence_accuracy of one who guesses each state, all alike, and knows the end.
        first_wrong: mean t of the first wrong state, L + 1 if all are right. Up to it a network
            that reads its own output reads the truth, so it is the same free-running.
        free_running_accuracy: share of sequences whose states and first EoS are right,
            free-running.
        final_answer_accuracy: share of sequences with the right s_L in its place, free-running.
        one_problem_token, one_eoi: share of sequences, from the problem's token to what the
            network said last, with exactly one token of the kind.
        eos_absorbing: share of sequences in which the network says EoS, and then nothing else.
            In the default preset nothing after EoS is trained, and the output ends with it.

    Raises:
        ValueError: the network has too few positions.
    """
    rows = []
    for sequences in by_length(task, split, by_problem=by_problem):
        predicted = predict(model, sequences).tokens
        said = own_output(model, task, sequences)
        forced = teacher_forced_scores(task, sequences, predicted)
        free = free_running_scores(task, sequences, said)
        rows.append(_where(sequences, by_problem) | forced | free)
    return pd.DataFrame(rows)


def step_scores(
    model: TaskTransformer, task: IterationTask, split: Split = "test", *, by_problem: bool = False
) -> pd.DataFrame:
    """For each length and each t that is scored, the share of sequences whose s_t is right.

    Columns: length, n, t, teacher_forced, free_running; and problem, as in `length_scores`.
    """
    rows = []
    for sequences in by_length(task, split, by_problem=by_problem):
        forced = right_states(task, sequences, predict(model, sequences).tokens)
        free = _right_said_states(task, sequences, own_output(model, task, sequences))
        where = _where(sequences, by_problem)
        shares = zip(
            *(right.double().mean(dim=0).tolist() for right in (forced, free)), strict=True
        )
        for t, (told, own) in enumerate(shares, sequences.length - forced.shape[1] + 1):
            rows.append(where | {"t": t, "teacher_forced": told, "free_running": own})
    return pd.DataFrame(rows)


def teacher_forced_scores(
    task: IterationTask, sequences: Sequences, predicted: Int64[Tensor, "example position"]
) -> dict[str, float]:
    """The columns of `length_scores` that follow from predictions at every position."""
    states = right_states(task, sequences, predicted)
    right = ((predicted == sequences.targets) | (sequences.targets == IGNORE)).all(dim=1)
    low, high = wilson_interval(int(right.sum()), len(right))
    end = task.layout.answer(sequences.length).stop - 1
    ends = predicted[:, end] == task.encoding.token_ids["EoS"]
    return {
        "token_accuracy": _mean(states),
        "end_accuracy": _mean(ends) if task.targets == "all" else math.nan,
        "sequence_accuracy": _mean(right),
        "sequence_accuracy_low": low,
        "sequence_accuracy_high": high,
        "chance": _chance(task, sequences, states.shape[1]),
        "first_wrong": _first_wrong(states, sequences.length),
    }


def free_running_scores(
    task: IterationTask, sequences: Sequences, said: Int64[Tensor, "example said"]
) -> dict[str, float]:
    """The columns of `length_scores` that follow from what the network said on its own."""
    states = _right_said_states(task, sequences, said)
    is_eos = said == task.encoding.token_ids["EoS"]
    ended = is_eos.cumsum(dim=1) > 0
    right, absorbing = states.all(dim=1), math.nan
    if task.targets == "all":
        right &= is_eos[:, len(task.layout.answer(sequences.length))]
        absorbing = _mean(ended[:, -1] & (is_eos == ended).all(dim=1))
    whole = torch.cat([task.encoding.prompt(sequences.tokens), said], dim=1)
    first = torch.isin(whole, task.encoding.problem_ids)
    return {
        "free_running_accuracy": _mean(right),
        "final_answer_accuracy": _mean(states[:, -1]),
        "one_problem_token": _mean(first.sum(dim=1) == 1),
        "one_eoi": _mean((whole == task.encoding.token_ids["EoI"]).sum(dim=1) == 1),
        "eos_absorbing": absorbing,
    }


def right_states(
    task: IterationTask, sequences: Sequences, predicted: Int64[Tensor, "example position"]
) -> Bool[Tensor, "example step"]:
    """Whether each scored state is predicted where it is to be said."""
    states = scored_states(task, sequences.length)
    before = slice(states.start - 1, states.stop - 1)
    return predicted[:, before] == sequences.targets[:, before]


def wilson_interval(n_right: int, n: int, level: float = 0.95) -> tuple[float, float]:
    """The shares that `n_right` of `n` agree with (Wilson 1927), at this level of confidence."""
    z = NormalDist().inv_cdf((1 + level) / 2)
    share = n_right / n
    centre = share + z**2 / (2 * n)
    reach = z * math.sqrt(share * (1 - share) / n + (z / (2 * n)) ** 2)
    return (centre - reach) / (1 + z**2 / n), (centre + reach) / (1 + z**2 / n)


def _where(sequences: Sequences, by_problem: bool) -> dict[str, Any]:
    problem = {"problem": sequences.problem} if by_problem else {}
    return problem | {"length": sequences.length, "n": len(sequences.tokens)}


def _right_said_states(
    task: IterationTask, sequences: Sequences, said: Int64[Tensor, "example said"]
) -> Bool[Tensor, "example step"]:
    """Whether each scored state is said in its place."""
    states = scored_states(task, sequences.length)
    start = task.layout.answer(sequences.length).start
    truth = sequences.tokens[:, states.start : states.stop]
    return said[:, states.start - start : states.stop - start] == truth


def _first_wrong(right: Bool[Tensor, "example step"], length: int) -> float:
    """The mean t of the first wrong state; the last step is t = length."""
    n_right_before = right.long().cumprod(dim=1).sum(dim=1)
    return _mean(n_right_before) + length - right.shape[1] + 1


def _chance(task: IterationTask, sequences: Sequences, n_steps: int) -> float:
    is_of = sequences.tokens[:, :1] == task.encoding.problem_ids
    n_states = torch.tensor([len(problem.states) for problem in task.problems])
    return _mean(n_states[is_of.int().argmax(dim=1)].double() ** -n_steps)


def _mean(values: Tensor) -> float:
    return values.double().mean().item()
