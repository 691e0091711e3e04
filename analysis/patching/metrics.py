"""What an intervention is measured by: functions of the logits, a number for each pair.

A metric is any function `(logits, reference) -> Float[Tensor, "example"]`; `METRICS` are those with
names. Where a network answers once, at the last position, its logits before are zeros.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import Module
from torch.nn.functional import cross_entropy, log_softmax, pad, softmax

from interp.arguments import nearest
from tasks.pairs import Pairs
from tasks.task import Examples

Logits = Float[Tensor, "example position output"]


@dataclass(frozen=True, eq=False)
class Reference:
    """Pairs, and what the network says to them undisturbed."""

    pairs: Pairs
    clean: Logits
    corrupted: Logits

    @property
    def is_regression(self) -> bool:
        """Whether the one output is a value, and not the first of several classes."""
        return self.pairs.clean.targets.is_floating_point()

    def repeat(self, n: int) -> "Reference":
        """All pairs n times over."""
        rows = torch.arange(len(self.pairs), device=self.clean.device).repeat(n)
        return Reference(self.pairs.rows(rows), self.clean[rows], self.corrupted[rows])


Metric = Callable[[Logits, Reference], Float[Tensor, "example"]]


@torch.no_grad()
def reference(model: Module, pairs: Pairs) -> Reference:
    """What `model` says to both inputs of every pair."""
    device = next(model.parameters()).device
    pairs = pairs.to(device)
    clean, corrupted = (
        at_all_positions(model(examples.tokens), pairs)
        for examples in (pairs.clean, pairs.corrupted)
    )
    return Reference(pairs, clean, corrupted)


def logit_difference(logits: Logits, reference: Reference) -> Float[Tensor, "example"]:
    """The clean answer's logit less the corrupted answer's, mean over the positions that changed.

    For regression: the value, with the sign of the clean less the corrupted answer.
    """
    pairs = reference.pairs
    if reference.is_regression:
        toward = (pairs.clean.targets - pairs.corrupted.targets).nan_to_num().sign()
        return _mean(logits[..., 0] * toward, pairs.changed)
    difference = _of(logits, pairs.clean) - _of(logits, pairs.corrupted)
    return _mean(difference, pairs.changed)


def margin(logits: Logits, reference: Reference) -> Float[Tensor, "example"]:
    """The clean answer's logit less the mean of the others', mean over all scored positions.

    It falls whenever any answer does, and is linear in the logits. For regression: the value, with
    the sign of the clean less the corrupted answer, plus where they agree.
    """
    pairs = reference.pairs
    if reference.is_regression:
        toward = (pairs.clean.targets - pairs.corrupted.targets).nan_to_num().sign()
        return _mean(logits[..., 0] * toward.where(toward != 0, 1), pairs.scored)
    answer, n_others = _of(logits, pairs.clean), logits.shape[-1] - 1
    return _mean(answer - (logits.sum(dim=-1) - answer) / n_others, pairs.scored)


def loss(logits: Logits, reference: Reference) -> Float[Tensor, "example"]:
    """Cross-entropy of the clean answers in nats (regression: squared error), mean over the
    positions that changed."""
    pairs = reference.pairs
    targets = pairs.clean.targets
    if reference.is_regression:
        error = (logits[..., 0].double() - targets).nan_to_num() ** 2
    else:
        flat = logits.double().flatten(0, 1)
        error = cross_entropy(flat, targets.flatten(), reduction="none").view(targets.shape)
    return _mean(error, pairs.changed)


def probability(logits: Logits, reference: Reference) -> Float[Tensor, "example"]:
    """The probability of the clean answer, mean over the positions that changed."""
    _refuse_regression("probability", reference)
    found = _of(softmax(logits.double(), dim=-1), reference.pairs.clean)
    return _mean(found, reference.pairs.changed)


def accuracy(logits: Logits, reference: Reference) -> Float[Tensor, "example"]:
    """The share of the positions that changed where the clean answer has the largest logit."""
    _refuse_regression("accuracy", reference)
    is_right = logits.argmax(dim=-1) == reference.pairs.clean.targets
    return _mean(is_right.double(), reference.pairs.changed)


def kl(logits: Logits, reference: Reference) -> Float[Tensor, "example"]:
    """KL(clean output ‖ output) in nats (regression: squared difference), mean over all scored
    positions."""
    if reference.is_regression:
        divergence = (logits - reference.clean)[..., 0].double() ** 2
    else:
        clean = log_softmax(reference.clean.double(), dim=-1)
        log_ratio = clean - log_softmax(logits.double(), dim=-1)
        divergence = (clean.exp() * log_ratio).sum(dim=-1)
    return _mean(divergence, reference.pairs.scored)


METRICS: dict[str, Metric] = {
    "logit_difference": logit_difference,
    "margin": margin,
    "loss": loss,
    "probability": probability,
    "accuracy": accuracy,
    "kl": kl,
}


def named_metric(metric: str | Metric) -> Metric:
    """The metric of a name. Raises `ValueError` when there is none."""
    if not isinstance(metric, str):
        return metric
    if metric not in METRICS:
        raise ValueError(
            f"there is no metric {metric!r}: there are {', '.join(METRICS)}"
            f"{nearest(metric, METRICS)}"
        )
    return METRICS[metric]


def measure(
    metric: Metric, logits: Float[Tensor, "cell example answered output"], reference: Reference
) -> Float[Tensor, "cell example"]:
    """The metric of every cell and example.

    Raises `ValueError` when the metric is not one number an example.
    """
    n_cells, n_examples = logits.shape[:2]
    repeated = reference.repeat(n_cells) if n_cells > 1 else reference
    found = metric(at_all_positions(logits.flatten(0, 1), repeated.pairs), repeated)
    expected = (n_cells * n_examples,)
    if not isinstance(found, Tensor) or found.shape != expected:
        given = f"of shape {tuple(found.shape)}" if isinstance(found, Tensor) else repr(type(found))
        raise ValueError(
            f"the metric returned a value {given} for {expected[0]} examples: it must return one "
            f"number for each, a tensor of shape {expected}"
        )
    return found.view(n_cells, n_examples)


def at_all_positions(
    logits: Float[Tensor, "example answered output"], pairs: Pairs
) -> Float[Tensor, "example position output"]:
    """The logits, and zeros at the positions before where the network does not answer."""
    n_missing = pairs.clean.tokens.shape[1] - logits.shape[1]
    return pad(logits, (0, 0, n_missing, 0)) if n_missing else logits


def _of(logits: Logits, examples: Examples) -> Float[Tensor, "example position"]:
    """The entries of the answers; any where there is none."""
    return logits.gather(-1, examples.targets.clamp(min=0)[..., None])[..., 0]


def _mean(values: Float[Tensor, "example position"], where: Tensor) -> Float[Tensor, "example"]:
    """The mean over some positions; 0 where there are none."""
    values = values.masked_fill(~where, 0)
    return values.sum(dim=1) / where.sum(dim=1).clamp(min=1)


def _refuse_regression(name: str, reference: Reference) -> None:
    if reference.is_regression:
        raise ValueError(f"{name} needs answers to choose from: this task's answer is a number")
