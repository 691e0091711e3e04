"""The resume files of a batch: enough to go on to the last bit, at one step for all its runs."""

from collections.abc import Mapping

import torch
from torch import Tensor

from interp.runs.run import Run, RunError, load_tensors, save_tensors
from training.state import AVERAGES, State

RESUME = "resume.safetensors"
NEXT = "resume.next.safetensors"


def save_state(state: State, runs: Mapping[int, Run]) -> None:
    """Replace the resume files of the instances in `runs`.

    All new files are written before the first old one is replaced: wherever this is cut off,
    `load_state` finds either all the old ones or, some under their next name, all the new ones.
    """
    for instance, run in runs.items():
        save_tensors(run.path / NEXT, _tensors(state, instance))
    for run in runs.values():
        (run.path / NEXT).replace(run.path / RESUME)


def load_state(state: State, runs: Mapping[int, Run]) -> None:
    """Continue from the runs' resume files, if they have any.

    Raises `RunError` when they are damaged or do not belong together.
    """
    saved = {instance: _read(run, RESUME) for instance, run in runs.items()}
    step = max((_step(tensors) for tensors in saved.values()), default=-1)
    for instance, run in runs.items():
        if _step(saved[instance]) < step and _step(_read(run, NEXT)) == step:
            (run.path / NEXT).replace(run.path / RESUME)  # what saving was about to do
            saved[instance] = _read(run, RESUME)
        if _step(saved[instance]) != step:
            raise RunError(
                f"{run.path} is not at step {step} as the runs computed with it: move that "
                "folder away to go on without it"
            )
    if step >= 0:
        state.step = step
        for instance, tensors in saved.items():
            _restore(state, instance, tensors)


def _tensors(state: State, instance: int) -> dict[str, Tensor]:
    weights = {f"weights/{name}": weight for name, weight in state.weights(instance).items()}
    averages = {
        f"{average}/{name}": state.optimizer.state[parameter][average][instance]
        for average in AVERAGES
        for name, parameter in state.trained.items()
    }
    return {"step": torch.tensor(state.step), **weights, **averages}


@torch.no_grad()
def _restore(state: State, instance: int, tensors: Mapping[str, Tensor]) -> None:
    for name, parameter in state.parameters.items():
        parameter[instance] = tensors[f"weights/{name}"]
    for name, parameter in state.trained.items():
        optimizer_state = state.optimizer.state[parameter]
        optimizer_state["step"].fill_(state.step)
        for average in AVERAGES:
            optimizer_state[average][instance] = tensors[f"{average}/{name}"]


def _read(run: Run, name: str) -> dict[str, Tensor]:
    return load_tensors(run.path / name) if (run.path / name).exists() else {}


def _step(tensors: Mapping[str, Tensor]) -> int:
    return int(tensors["step"]) if tensors else -1
