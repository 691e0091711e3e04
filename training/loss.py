"""The losses of a batch of instances, in float64, and the accuracy beside them.

Each is a mean over an instance's scored positions. Training differentiates the sum over instances.
"""

from typing import Any

import torch
from jaxtyping import Bool, Float, Float64, Int64
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable

from tasks.task import IGNORE

Targets = Int64[Tensor, "instance example scored"] | Float64[Tensor, "instance example scored"]


def losses(
    logits: Float[Tensor, "instance example scored output"], targets: Targets
) -> Float64[Tensor, "instance"]:
    """Each instance's mean loss: cross-entropy, or squared error for targets that are values."""
    if targets.is_floating_point():
        return _mean_squared_error(logits, targets)
    return CrossEntropy.apply(logits, targets)


def accuracies(
    logits: Float[Tensor, "instance example scored output"], targets: Targets
) -> Float64[Tensor, "instance"]:
    """Each instance's share of scored positions whose largest logit is the target's.

    NaN where targets are values.
    """
    if targets.is_floating_point():
        return torch.full(targets.shape[:1], torch.nan, dtype=torch.float64, device=targets.device)
    right = (logits.argmax(dim=-1) == targets).sum(dim=(1, 2))
    return right.double() / is_scored(targets).sum(dim=(1, 2))


def is_scored(targets: Targets) -> Bool[Tensor, "instance example scored"]:
    """Where there is a target."""
    return ~targets.isnan() if targets.is_floating_point() else targets != IGNORE


class CrossEntropy(Function):
    """Cross-entropy in float64 whatever the logits' precision, with its gradient at hand.

    The gradient, (softmax - one-hot) / count, is computed beside the loss from the same
    exponentials, and kept in the logits' precision.
    """

    @staticmethod
    def forward(
        ctx: Any,
        logits: Float[Tensor, "instance example scored output"],
        targets: Int64[Tensor, "instance example scored"],
    ) -> Float64[Tensor, "instance"]:
        scored = is_scored(targets)
        count = scored.sum(dim=(1, 2)).clamp(min=1)
        index = targets.clamp(min=0)[..., None]
        # In place wherever it can be: fresh memory of this size costs more than the arithmetic.
        shifted = logits.to(torch.float64, copy=True)
        shifted.sub_(shifted.amax(dim=-1, keepdim=True))
        at_target = shifted.gather(-1, index)
        exponentials = shifted.exp_()
        total = exponentials.sum(dim=-1, keepdim=True)
        surprise = (total.log() - at_target)[..., 0].masked_fill(~scored, 0.0)
        if ctx.needs_input_grad[0]:
            gradient = exponentials.div_(total)
            gradient.scatter_add_(-1, index, torch.full_like(at_target, -1.0))
            weight = scored.double() / count.view(-1, 1, 1)
            ctx.save_for_backward(gradient.mul_(weight[..., None]).to(logits.dtype))
        return surprise.sum(dim=(1, 2)) / count

    @staticmethod
    @once_differentiable
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx: Any, *grads: Tensor
    ) -> tuple[Tensor, None]:
        (gradient,) = ctx.saved_tensors
        return gradient * grads[0].to(gradient.dtype).view(-1, 1, 1, 1), None


def _mean_squared_error(
    logits: Float[Tensor, "instance example scored 1"],
    targets: Float64[Tensor, "instance example scored"],
) -> Float64[Tensor, "instance"]:
    scored = is_scored(targets)
    error = (logits[..., 0].double() - targets.nan_to_num()).masked_fill(~scored, 0.0)
    return error.square().sum(dim=(1, 2)) / scored.sum(dim=(1, 2))
