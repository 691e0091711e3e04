"""What carries no information about an example, made of what activations are on all examples."""

from collections.abc import Mapping
from typing import Literal, get_args

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor
from torch.nn import Module

from analysis.patching.sites import axes
from interp.arguments import nearest

Ablation = Literal["zero", "mean", "position_mean", "resample"]
ABLATIONS: tuple[Ablation, ...] = get_args(Ablation)


def replacements(
    activations: Mapping[str, Float[Tensor, "example *rest"]],
    is_token: Bool[Tensor, "example position"],
    how: str,
    seed: int,
) -> dict[str, Float[Tensor, "example *rest"]]:
    """Activations to put in the place of these.

    Args:
        activations: by hook point, or by what writes them.
        is_token: where there is no pad.
        how: zero; mean, over examples and positions that are no pads; position_mean, over examples
            that have no pad there; resample, those of another example, the same for all names.
        seed: draws the other examples.

    Raises:
        ValueError: there is no such ablation, or one example is to be resampled.
    """
    if how not in ABLATIONS:
        raise ValueError(
            f"there is no ablation {how!r}: there are {', '.join(ABLATIONS)}"
            f"{nearest(how, ABLATIONS)}"
        )
    if how == "zero":
        return {name: torch.zeros_like(activation) for name, activation in activations.items()}
    if how == "resample":
        others = _others(len(is_token), seed)
        return {name: activation[others] for name, activation in activations.items()}
    is_over_positions = how == "mean"
    return {
        name: _mean(activation, axes(name, activation), is_token, is_over_positions)
        for name, activation in activations.items()
    }


def is_token(
    model: Module, tokens: Int64[Tensor, "example position"]
) -> Bool[Tensor, "example position"]:
    """Where a network's input is no pad."""
    pad = getattr(model, "pad_token", None)
    return torch.ones_like(tokens, dtype=torch.bool) if pad is None else tokens != pad


def _others(n_examples: int, seed: int) -> Tensor:
    """For every example another one."""
    if n_examples < 2:
        raise ValueError("resample takes the activations of other examples: give at least two")
    generator = torch.Generator().manual_seed(seed)
    shift = torch.randint(1, n_examples, (n_examples,), generator=generator)
    return (torch.arange(n_examples) + shift) % n_examples


def _mean(
    activation: Float[Tensor, "example *rest"],
    names: tuple[str, ...],
    is_token: Bool[Tensor, "example position"],
    is_over_positions: bool,
) -> Float[Tensor, "example *rest"]:
    """The mean over examples, and positions if asked, that are tokens; 0 where there are none."""
    dims, weight = [0], torch.ones_like(is_token[:, 0])
    if "position" in names:
        dim = 1 + names.index("position")
        dims += [dim] * is_over_positions
        weight = is_token.view(-1, *[1] * (dim - 1), is_token.shape[1])
    weight = weight.reshape(*weight.shape, *[1] * (activation.dim() - weight.dim()))
    total = activation.double().masked_fill(~weight, 0).sum(dims, keepdim=True)
    mean = total / weight.sum(dims, keepdim=True).clamp(min=1)
    return mean.to(activation.dtype).expand_as(activation)
