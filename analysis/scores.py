"""Loss and accuracy of any network on any task."""

from dataclasses import dataclass
from itertools import chain

import torch
from jaxtyping import Float, Int64
from torch import Tensor
from torch.nn import Module
from torch.nn.functional import cross_entropy

from tasks.task import IGNORE, SPLITS, Split, Task

BATCH_BYTES = 2**25
"""Logits, in float64, that are computed at a time."""


@dataclass(frozen=True)
class Scores:
    """Means over the scored positions of a split; NaN when it has none."""

    loss: float
    """Cross-entropy in nats, or mean squared error for a regression task."""
    accuracy: float
    """Share of scored positions whose largest logit is the target's; NaN for regression."""


def standard_metrics(model: Module, task: Task) -> dict[str, float]:
    """Loss and accuracy on each split that has examples, and the sum of squared weights."""
    metrics = {"weights/sum_of_squares": sum_of_squares(model)}
    for split in SPLITS:
        if len(task.examples(split)) == 0:
            continue
        scores = split_scores(model, task, split)
        metrics[f"loss/{split}"] = scores.loss
        if task.loss == "cross_entropy" and split != "all":
            metrics[f"accuracy/{split}"] = scores.accuracy
    return metrics


@torch.no_grad()
def split_scores(model: Module, task: Task, split: Split) -> Scores:
    """The scores of one split, accumulated in float64."""
    device = next(chain(model.parameters(), model.buffers())).device
    examples = task.examples(split)
    size = max(1, BATCH_BYTES // (8 * examples.tokens.shape[1] * len(task.outputs)))
    loss, right, scored = 0.0, 0, 0
    batches = zip(examples.tokens.split(size), examples.targets.split(size), strict=True)
    for tokens, targets in batches:
        logits = model(tokens.to(device))
        targets = targets[:, -logits.shape[1] :].to(device)
        if task.loss == "cross_entropy":
            is_scored = targets != IGNORE
            loss += cross_entropy_sum(logits[is_scored], targets[is_scored])
            right += int((logits[is_scored].argmax(dim=-1) == targets[is_scored]).sum())
        else:
            is_scored = ~targets.isnan()
            errors = logits[is_scored].squeeze(-1).double() - targets[is_scored]
            loss += float(errors.square().sum())
        scored += int(is_scored.sum())
    nan = float("nan")
    accuracy = right / scored if scored and task.loss == "cross_entropy" else nan
    return Scores(loss / scored if scored else nan, accuracy)


def cross_entropy_sum(
    logits: Float[Tensor, "example output"], targets: Int64[Tensor, "example"]
) -> float:
    """The sum of the cross-entropies, computed in float64."""
    return float(cross_entropy(logits.double(), targets, reduction="sum"))


@torch.no_grad()
def sum_of_squares(model: Module) -> float:
    """Of all parameters, accumulated in float64."""
    return float(sum(weights.double().square().sum() for weights in model.parameters()))
