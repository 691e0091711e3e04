"""Loss landscapes: the losses of a data set's examples, of many parameter vectors at once.

A landscape has one or more centres w*, the points (checkpoints, mostly) whose local learning
coefficient is asked for, and every point has the same number of chains about it. Shape letters:
point, chain, parameter, example.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from copy import copy
from functools import cached_property
from typing import Literal

import torch
from jaxtyping import Float, Int64, Shaped
from torch import Tensor
from torch.func import functional_call, vmap
from torch.nn import Module
from torch.nn.functional import cross_entropy

from interp.models.stacked import is_ours, stacked_logits
from tasks.pairs import is_scored
from tasks.task import IGNORE, Examples

Weights = Float[Tensor, "point chain parameter"]
Losses = Float[Tensor, "point chain example_or_1"]
Loss = Literal["task", "kl"]


class Landscape(ABC):
    """The loss of each example as a function of the parameters.

    Attributes:
        centres: w*, one for each point, on the device and in the precision of all that follows.
        n_examples: of the data set, n in the inverse temperature n / log n.
        bytes_per_example: what one example's losses keep in memory for their gradient, of one
            parameter vector.
    """

    centres: Float[Tensor, "point parameter"]
    n_examples: int
    bytes_per_example: int = 0

    def about(self, points: Sequence[int]) -> "Landscape":
        """The same landscape about some of its centres, each as often as it is named."""
        other = copy(self)
        other.centres = self.centres[list(points)]
        vars(other).pop("_answers", None)  # those at the centres
        return other

    @abstractmethod
    def losses(self, weights: Weights, examples: Int64[Tensor, "chain_or_1 example"]) -> Losses:
        """The loss of some examples, which may differ between chains; differentiable."""


class FunctionLandscape(Landscape):
    """A loss that is a function of the parameters alone, as if of n equal examples."""

    def __init__(
        self,
        function: Callable[[Float[Tensor, "*rows parameter"]], Float[Tensor, "*rows"]],
        centre: Float[Tensor, "parameter"],
        n_examples: int,
    ) -> None:
        self.function, self.n_examples = function, n_examples
        self.centres = centre[None]

    def losses(self, weights: Weights, examples: Int64[Tensor, "chain_or_1 example"]) -> Losses:
        """As in `Landscape`; one column stands for all examples."""
        return self.function(weights)[..., None]


class ModuleLandscape(Landscape):
    """A module with a loss of one's own.

    Args:
        model: in evaluation mode; the parameters that require a gradient move.
        inputs: what it is given.
        targets: what the loss compares its outputs with.
        loss: from outputs and targets of some examples to a number for each.
        points: parameters by name, a mapping for each w*; those of `model` if none is given.
        dtype: float32 or float64; the model's if not given.

    Raises `ValueError` for a module in training mode, or parameters that are not finite.
    """

    def __init__(
        self,
        model: Module,
        inputs: Shaped[Tensor, "all_examples ..."],
        targets: Shaped[Tensor, "all_examples ..."],
        loss: Callable[[Tensor, Tensor], Float[Tensor, "example"]],
        *,
        points: Sequence[Mapping[str, Tensor]] = (),
        dtype: torch.dtype | None = None,
    ) -> None:
        _refuse_training(model)
        self.model, self.loss = model, loss
        named = dict(model.named_parameters())
        self.layout = {name: p.shape for name, p in named.items() if p.requires_grad}
        self.centres = _flattened(self.layout, points or [named], dtype)
        self.inputs, self.targets = self._like_centres(inputs), self._like_centres(targets)
        self.n_examples = len(inputs)
        self.rest = {
            name: self._like_centres(x.detach())
            for name, x in [*named.items(), *model.named_buffers()]
            if name not in self.layout
        }
        self.bytes_per_example = _measured_bytes(self)

    def _like_centres(self, x: Tensor) -> Tensor:
        return x.to(self.centres.device, self.centres.dtype if x.is_floating_point() else x.dtype)

    def losses(self, weights: Weights, examples: Int64[Tensor, "chain_or_1 example"]) -> Losses:
        """As in `Landscape`."""
        outputs = self.outputs(weights, examples)
        targets = self.targets[examples].expand(*outputs.shape[:3], *self.targets.shape[1:])
        each = self.loss(outputs.flatten(0, 2), targets.flatten(0, 2))
        return each.unflatten(0, outputs.shape[:3])

    def outputs(
        self, weights: Weights, examples: Int64[Tensor, "chain_or_1 example"]
    ) -> Shaped[Tensor, "point chain example ..."]:
        """What the module says, by one call for all parameter vectors."""
        inputs = self.inputs[examples.expand(weights.shape[1], -1)]
        inputs = inputs.repeat(len(weights), *[1] * (inputs.dim() - 1))
        parameters = {
            name: stack.flatten(0, 1) for name, stack in unflattened(self.layout, weights).items()
        }
        return self._stacked(parameters, inputs).unflatten(0, weights.shape[:2])

    def _stacked(self, parameters: Mapping[str, Tensor], inputs: Tensor) -> Tensor:
        """The outputs of many instances: [instance, example, ...]."""

        def one(own: Mapping[str, Tensor], inputs: Tensor) -> Tensor:
            return functional_call(self.model, {**self.rest, **own}, inputs)

        return vmap(one, randomness="error")(parameters, inputs)


class NetworkLandscape(ModuleLandscape):
    """A network of this package on a task's examples.

    The loss is the task's, in such units that its mean over the examples is the mean over all
    scored positions, as in training; or, for `kl`, the divergence of the network's answers from
    those it gives at w*, KL(p_w* || p_w), of which w* is a minimum whatever the network knows.

    Args:
        model: which function; in evaluation mode.
        examples: the data set.
        loss: `task` or `kl`.
        points: the centres, as of `ModuleLandscape`.
        dtype: of the sampling, as of `ModuleLandscape`.

    Raises `ValueError` as `ModuleLandscape` does, and for the divergence of values.
    """

    def __init__(
        self,
        model: Module,
        examples: Examples,
        *,
        loss: Loss = "task",
        points: Sequence[Mapping[str, Tensor]] = (),
        dtype: torch.dtype | None = None,
    ) -> None:
        self.first_scored = examples.first_scored
        targets = examples.targets[:, self.first_scored :]
        self.is_regression = targets.is_floating_point()
        if loss == "kl" and self.is_regression:
            raise ValueError("the answers are values, which have no divergence: choose loss 'task'")
        self._mean_scored = float(is_scored(examples).sum()) / len(targets)
        self.kind = loss
        super().__init__(model, examples.tokens, targets, self._of_task, points=points, dtype=dtype)

    def losses(self, weights: Weights, examples: Int64[Tensor, "chain_or_1 example"]) -> Losses:
        """As in `Landscape`."""
        if self.kind == "task":
            return super().losses(weights, examples)
        logits, said = self.outputs(weights, examples), self._answers[:, examples]
        each = (said.exp() * (said - logits.log_softmax(dim=-1))).sum(dim=-1)
        return (each * (self.targets[examples] != IGNORE)).sum(dim=-1) / self._mean_scored

    def _of_task(
        self,
        logits: Float[Tensor, "row scored output"],
        targets: Shaped[Tensor, "row scored"],
    ) -> Float[Tensor, "row"]:
        if self.is_regression:
            each = (logits[..., 0] - targets.nan_to_num()).square()
            each = each.masked_fill(targets.isnan(), 0.0)
        else:
            flat = cross_entropy(logits.flatten(0, 1), targets.flatten(), reduction="none")
            each = flat.view(targets.shape)
        return each.sum(dim=-1) / self._mean_scored

    def _stacked(self, parameters: Mapping[str, Tensor], inputs: Tensor) -> Tensor:
        if is_ours(self.model):
            rest = {name: x.expand(len(inputs), *x.shape) for name, x in self.rest.items()}
            return stacked_logits(self.model, {**rest, **parameters}, inputs, self.first_scored)
        return super()._stacked(parameters, inputs)[:, :, -self.targets.shape[1] :]

    @cached_property
    @torch.no_grad()
    def _answers(self) -> Float[Tensor, "point all_examples scored output"]:
        """The log-probabilities at the centres."""
        everything = torch.arange(self.n_examples, device=self.centres.device)
        parts = [self.outputs(self.centres[:, None], part[None]) for part in everything.split(1024)]
        return torch.cat(parts, dim=2)[:, 0].log_softmax(dim=-1)


def _refuse_training(model: Module) -> None:
    """Raises `ValueError` for a model in training mode."""
    for name, module in model.named_modules():
        if module.training:
            raise ValueError(
                f"{name or type(model).__name__} is in training mode, in which dropout may be on: "
                "call model.eval() first"
            )


def _flattened(
    layout: Mapping[str, torch.Size],
    points: Sequence[Mapping[str, Tensor]],
    dtype: torch.dtype | None = None,
) -> Float[Tensor, "point parameter"]:
    """Parameters by name as one vector for each point, in the order of `layout`.

    Raises `ValueError` where they are not finite, or there are none.
    """
    if not layout:
        raise ValueError("the model has no parameter that is trained")
    rows = [torch.cat([point[name].detach().flatten() for name in layout]) for point in points]
    stacked = torch.stack(rows)
    if not stacked.isfinite().all():
        raise ValueError("the model's parameters are not all finite")
    return stacked.to(dtype) if dtype else stacked


def unflattened(layout: Mapping[str, torch.Size], weights: Weights) -> dict[str, Tensor]:
    """Parameters by name, views [point, chain, *shape] of vectors."""
    pieces = weights.split([shape.numel() for shape in layout.values()], dim=-1)
    return {
        name: piece.unflatten(-1, shape) if shape else piece[..., 0]
        for (name, shape), piece in zip(layout.items(), pieces, strict=True)
    }


def _measured_bytes(landscape: Landscape) -> int:
    """What one example's losses keep for their gradient, of one parameter vector."""
    one = landscape.about([0])

    def kept(n_examples: int) -> int:
        sizes: dict[int, int] = {}

        def note(tensor: Tensor) -> Tensor:
            storage = tensor.untyped_storage()
            sizes[storage.data_ptr()] = storage.nbytes()
            return tensor

        weights = one.centres[:, None].detach().requires_grad_()
        examples = torch.zeros(1, n_examples, dtype=torch.int64, device=weights.device)
        with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
            one.losses(weights, examples)
        return sum(sizes.values())

    few, many = 16, 48
    return max(1, (kept(many) - kept(few)) // (many - few))
