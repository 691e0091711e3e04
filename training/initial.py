"""Where training begins: the initial network, and what of it is to be trained."""

from fnmatch import fnmatch
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor
from torch.nn import Module

from interp.arguments import nearest
from interp.runs.recipe import Recipe
from interp.runs.run import load_weights


def initial_model(recipe: Recipe, *, load_start: bool = True) -> Module:
    """The network before its first step, on the CPU. What is not to be trained has no gradient.

    Without `load_start` the weights to start from are not read; they are not when a training is
    taken up again, which has its own.

    Raises `ValueError` when the checkpoint to start from is not there or does not fit, or a
    pattern names no parameter.
    """
    model = recipe.model.build(recipe.task, recipe.init_seed)
    model = model.to(dtype=getattr(torch, recipe.dtype))
    if load_start and recipe.start_path is not None:
        load_weights(model, _checkpoint(recipe.start_path))
    if recipe.fine_tuning.trained:
        _train_only(model, recipe.fine_tuning.trained)
    return model


def _checkpoint(path: Path) -> dict[str, Tensor]:
    if not path.is_file():
        raise ValueError(f"start_from is {path}: there is no such file")
    try:
        return load_file(path)
    except SafetensorError as error:
        raise ValueError(f"start_from is {path}: it is no safetensors checkpoint") from error


def _train_only(model: Module, patterns: tuple[str, ...]) -> None:
    names = [name for name, parameter in model.named_parameters() if parameter.requires_grad]
    for pattern in patterns:
        if not any(fnmatch(name, pattern) for name in names):
            raise ValueError(
                f"no parameter is called {pattern!r}: there are {', '.join(names)}"
                f"{nearest(pattern, names)}"
            )
    for name, parameter in model.named_parameters():
        if not any(fnmatch(name, pattern) for pattern in patterns):
            parameter.requires_grad_(False)
