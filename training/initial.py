"""Where training begins: the initial network, and what of it is to be trained."""

from fnmatch import fnmatch
from pathlib import Path

import torch
from torch.nn import Module

from interp.arguments import nearest
from interp.runs.recipe import Recipe
from interp.runs.run import load_tensors, load_weights


def initial_model(recipe: Recipe) -> Module:
    """The network before its first step, on the CPU. What is not to be trained has no gradient.

    Raises `ValueError` when the checkpoint to start from is not there or does not fit, or a
    pattern names no parameter.
    """
    model = recipe.model.build(recipe.task, recipe.init_seed)
    model = model.to(dtype=getattr(torch, recipe.dtype))
    if start := recipe.fine_tuning.start_from:
        path = Path(start.replace("{seed}", str(recipe.init_seed)))
        load_weights(model, load_tensors(path))
    if recipe.fine_tuning.trained:
        _train_only(model, recipe.fine_tuning.trained)
    return model


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
