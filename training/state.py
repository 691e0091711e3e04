"""What training changes: the weights of a batch of instances and their optimiser's averages."""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from jaxtyping import Float64
from torch import Tensor

from interp.models.decoder import Decoder
from interp.models.stacked import is_ours, stacked_logits
from interp.runs.recipe import Recipe
from training.data import Data
from training.initial import initial_model
from training.loss import accuracies, is_scored, losses

AVERAGES = ("exp_avg", "exp_avg_sq")
LOGITS_AT_ONCE, TOKENS_AT_ONCE = 2**25, 2**16
"""Logits, and tokens, that an evaluation holds at a time."""


class State:
    """The networks of recipes that differ in their seeds only, stacked along a first axis."""

    def __init__(
        self, recipes: Sequence[Recipe], device: torch.device, *, load_start: bool = True
    ) -> None:
        """The initial networks, after no step; `load_start` as in `initial_model`."""
        recipe = recipes[0]
        if recipe.task.loss == "mean_squared_error" and len(recipe.task.outputs) != 1:
            raise ValueError(
                f"{recipe.task.name} is a regression with {len(recipe.task.outputs)} outputs: "
                "its `outputs` must be one name"
            )
        models = [initial_model(r, load_start=load_start) for r in recipes]
        dtype = getattr(torch, recipe.dtype)
        self.parameters = _stack([dict(m.named_parameters()) for m in models], device, dtype)
        # A network of the user's own may draw buffers from its seed; ours have none to tell apart.
        buffers = [{} if is_ours(m) else dict(m.named_buffers()) for m in models]
        self._buffers = _stack(buffers, device, dtype)
        self.model = models[0].to(device=device, dtype=dtype)
        self.optimizer = _adamw(recipe, list(self.trained.values()))
        self.step = 0
        self._init_seeds = [r.init_seed for r in recipes]
        self._n_outputs = len(recipe.task.outputs)

    @property
    def trained(self) -> dict[str, Tensor]:
        """The parameters that are not frozen."""
        return {name: p for name, p in self.parameters.items() if p.requires_grad}

    def weights(self, instance: int) -> dict[str, Tensor]:
        """One instance's parameters, by name."""
        return {name: p.detach()[instance] for name, p in self.parameters.items()}

    def losses(self, data: Data) -> Float64[Tensor, "instance"]:
        """Every instance's loss in training, differentiable: with what its model draws anew."""
        return losses(self._logits(data, self._draw(data)), data.targets)

    @property
    def is_random(self) -> bool:
        """Whether the model draws anything anew at every step."""
        return isinstance(self.model, Decoder) and self.model.is_random

    def _draw(self, data: Data) -> dict[str, Tensor]:
        """What the model draws at the present step, a function of initial seed and step alone."""
        if not self.is_random:
            return {}
        assert isinstance(self.model, Decoder)
        drawn = []
        for seed, tokens in zip(self._init_seeds, data.tokens, strict=True):
            (state,) = np.random.SeedSequence((seed, self.step)).generate_state(1)
            generator = torch.Generator(tokens.device).manual_seed(int(state))
            drawn.append(self.model.draw(tokens, generator))
        return {name: torch.stack([found[name] for found in drawn]) for name in drawn[0]}

    @torch.no_grad()
    def evaluate(
        self, data: Data
    ) -> tuple[Float64[Tensor, "instance"], Float64[Tensor, "instance"]]:
        """Every instance's loss and accuracy."""
        n_instances, _, n_scored = data.targets.shape
        n_logits, n_tokens = (
            n_instances * n_scored * self._n_outputs,
            n_instances * data.tokens.shape[2],
        )
        size = min(LOGITS_AT_ONCE // n_logits, TOKENS_AT_ONCE // n_tokens)
        sums, counts = [], []
        for part in data.chunks(max(1, size)):
            logits, count = self._logits(part, {}), is_scored(part.targets).sum(dim=(1, 2))
            means = torch.stack([losses(logits, part.targets), accuracies(logits, part.targets)])
            sums.append(torch.where(count > 0, means * count, 0.0))
            counts.append(count)
        loss, accuracy = torch.stack(sums).sum(dim=0) / torch.stack(counts).sum(dim=0)
        return loss, accuracy

    @torch.no_grad()
    def weight_norms(self) -> Float64[Tensor, "instance"]:
        """The Euclidean norm of all of an instance's parameters."""
        squares = [p.double().square().flatten(1).sum(dim=1) for p in self.parameters.values()]
        return torch.stack(squares).sum(dim=0).sqrt()

    def _logits(self, data: Data, drawn: Mapping[str, Tensor]) -> Tensor:
        tensors = {**self._buffers, **self.parameters, **drawn}
        logits = stacked_logits(self.model, tensors, data.tokens, data.first_scored)
        answered, scored = logits.shape[2], data.targets.shape[2]
        if answered != scored:
            raise ValueError(
                f"{type(self.model).__name__} answers at the last {answered} position(s), but the "
                f"task scores the last {scored}: use a transformer"
            )
        return logits


def _stack(
    named: Sequence[dict[str, Tensor]], device: torch.device, dtype: torch.dtype
) -> dict[str, Tensor]:
    """Every instance's tensors of a name along a first axis; floating point ones in `dtype`."""
    stacked = {}
    for name, first in named[0].items():
        whole = torch.stack([tensors[name].detach() for tensors in named])
        kind = dtype if whole.is_floating_point() else whole.dtype
        stacked[name] = whole.to(device, kind).requires_grad_(first.requires_grad)
    return stacked


def _adamw(recipe: Recipe, parameters: list[Tensor]) -> torch.optim.AdamW:
    """AdamW with its averages in place from the start, as resuming and CUDA graphs need them."""
    given = recipe.optimizer
    optimizer = torch.optim.AdamW(
        parameters,
        lr=given.lr,
        betas=given.betas,
        eps=given.eps,
        weight_decay=given.weight_decay,
        fused=True,
        capturable=any(p.is_cuda for p in parameters),
    )
    for p in parameters:
        averages = {average: torch.zeros_like(p) for average in AVERAGES}
        step = torch.zeros((), dtype=torch.float32, device=p.device)
        optimizer.state[p] = {"step": step, **averages}
    return optimizer
