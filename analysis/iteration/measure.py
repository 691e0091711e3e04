"""The metrics of chain of thought that are measured at every checkpoint."""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from math import isnan
from typing import Any, NamedTuple

import pandas as pd
import torch
from jaxtyping import Float64
from torch import Tensor

from analysis.iteration.accuracy import free_running_scores, teacher_forced_scores
from analysis.iteration.attention import SCORES, RoleAttention, by_head
from analysis.iteration.predictions import (
    Sequences,
    averaged_lengths,
    by_length,
    own_output,
    predict,
)
from analysis.scores import sum_of_squares
from interp.models.transformer import TaskTransformer
from tasks.iteration import IterationTask
from tasks.task import IGNORE

AT_MOST = 256
"""Sequences of a length that the network reads its own output on, or that are beyond training."""
LENGTH_METRICS = (
    "token_accuracy",
    "end_accuracy",
    "sequence_accuracy",
    "free_running_accuracy",
    "final_answer_accuracy",
    "one_problem_token",
    "one_eoi",
    "eos_absorbing",
)
"""Those of the columns of `length_scores` that are metrics."""

Metrics = dict[str, dict[str, float]]


def iteration_metrics(model: TaskTransformer, task: IterationTask) -> Metrics:
    """Every metric of `analysis.metrics.METRICS` that networks on iterative problems have.

    They are losses and accuracies as in `analysis.scores.standard_metrics`, columns of
    `length_scores` and those of `attention_scores`, all from one pass over the sequences. The
    network reads its own output on `AT_MOST` test sequences of each length. What is not defined
    is left out, such as attention without chain of thought.

    Returns:
        Values by metric and component. The component `length:12` is a length; the empty one is
        the mean over the `averaged_lengths`. `L1H0:x_t` is a head in a role, averaged over the
        same lengths. If the task's `longest` is above its `max_length`, there are lengths beyond
        training too, `AT_MOST` test sequences of each, and the component `beyond` is their mean.
    """
    train = _read(model, task, by_length(task, "train"), free_running=False)
    test = _read(model, task, by_length(task, "test"), free_running=True)
    metrics = {"weights/sum_of_squares": {"": sum_of_squares(model)}}
    sums = {"train": train.sums, "test": test.sums, "all": train.sums + test.sums}
    for split, (loss, n_right, n_scored) in sums.items():
        metrics[f"loss/{split}"] = {"": float(loss / n_scored)}
        if split != "all":
            metrics[f"accuracy/{split}"] = {"": float(n_right / n_scored)}
    train_accuracy = _by_component(train.lengths, "sequence_accuracy")
    metrics["iteration/train_sequence_accuracy"] = train_accuracy
    for name in LENGTH_METRICS:
        metrics[f"iteration/{name}"] = _by_component(test.lengths, name)
    if task.longest:
        longer = replace(task, max_length=task.longest)
        beyond = _read(model, longer, _longer_than(task.max_length, longer), free_running=True)
        for name in LENGTH_METRICS:
            values = _by_component(beyond.lengths, name)
            metrics[f"iteration/{name}"] |= {"beyond": values.pop(""), **values}
    return _defined(metrics | _attention(test))


class _Reading(NamedTuple):
    """What one pass over sequences gives."""

    sums: Float64[Tensor, "three"]
    """Cross-entropy, right predictions and scored positions."""
    lengths: pd.DataFrame
    """The columns of `length_scores` that are needed."""
    attention: pd.DataFrame
    """The columns of `attention_scores`."""


def _read(
    model: TaskTransformer, task: IterationTask, parts: Iterable[Sequences], *, free_running: bool
) -> _Reading:
    sums, lengths, attention = torch.zeros(3, dtype=torch.float64), [], []
    for sequences in parts:
        roles = task.layout.roles(sequences.length) if task.chain_of_thought else {}
        recorder = RoleAttention(model, roles)
        predicted = predict(model, sequences, recorder.hooks)
        is_scored = sequences.targets != IGNORE
        n_right = ((predicted.tokens == sequences.targets) & is_scored).sum()
        sums += torch.stack([predicted.loss.sum(), n_right, is_scored.sum()])
        row: dict[str, Any] = {"length": sequences.length, "n": len(sequences.tokens)}
        row |= teacher_forced_scores(task, sequences, predicted.tokens)
        if free_running:
            some = sequences.first(AT_MOST)
            row |= free_running_scores(task, some, own_output(model, task, some))
        lengths.append(row)
        attention += [{"length": sequences.length} | head for head in recorder.rows()]
    return _Reading(
        sums,
        pd.DataFrame(lengths, columns=["length", "n", *LENGTH_METRICS]),
        pd.DataFrame(attention, columns=["length", "layer", "head", "role", *SCORES]),
    )


def _longer_than(length: int, task: IterationTask) -> Iterator[Sequences]:
    for sequences in by_length(task, "test"):
        if sequences.length > length:
            yield sequences.first(AT_MOST)


def averaged(table: pd.DataFrame) -> pd.DataFrame:
    """The rows of a table of lengths, with their numbers n, that averages are over."""
    sizes = dict(zip(table["length"], table["n"], strict=True))
    return table.loc[table["length"].isin(averaged_lengths(sizes))]


def _by_component(table: pd.DataFrame, name: str) -> dict[str, float]:
    total = averaged(table).agg({name: "mean"}).item()
    lengths = map("length:{}".format, table["length"])
    return {"": total, **dict(zip(lengths, table[name], strict=True))}


def _attention(reading: _Reading) -> Metrics:
    """The scores of every head in every role."""
    lengths = averaged(reading.lengths)["length"]
    found = reading.attention.loc[reading.attention["length"].isin(lengths)]
    return {f"attention/{name}": by_head(found, name) for name in SCORES}


def _defined(metrics: Metrics) -> Metrics:
    """Without values that are NaN, and metrics that have no others."""
    values = {
        metric: {component: value for component, value in found.items() if not isnan(value)}
        for metric, found in metrics.items()
    }
    return {metric: found for metric, found in values.items() if found}
