"""How many networks to compute at once: found by measuring, not by hoping.

A batch of instances fills a device that one small network leaves idle; of larger networks, or on
a CPU, one after another can be as fast.
"""

import itertools
import os
import time
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks

from interp.runs.recipe import Recipe
from interp.runs.run import Run
from training.data import Data, stack_examples
from training.state import State
from training.step import batch, make_step

WORTHWHILE = 0.95
"""A larger batch must need less than this share of the time for each network."""


def split_by_speed(runs: Sequence[Run], device: torch.device) -> list[list[Run]]:
    """Batches of the fastest size, evenly filled, of runs that differ in their seeds only."""
    n_batches = -(-len(runs) // fastest_size([run.recipe for run in runs], device))
    bounds = [round(i * len(runs) / n_batches) for i in range(n_batches + 1)]
    return [list(runs[a:b]) for a, b in itertools.pairwise(bounds)]


def fastest_size(recipes: Sequence[Recipe], device: torch.device) -> int:
    """Double the batch while it pays and fits in memory."""
    size = 1
    if len(recipes) > 1:
        seconds, memory = _try(recipes[:1], device)
        while size < len(recipes):
            larger = min(2 * size, len(recipes))
            if larger * memory > _available(device):
                break
            seconds_larger, _ = _try(recipes[:larger], device)
            if seconds_larger / larger > WORTHWHILE * seconds / size:
                break
            size, seconds = larger, seconds_larger
    return size


def _try(recipes: Sequence[Recipe], device: torch.device) -> tuple[float, int]:
    """Seconds and bytes of a step."""
    state, train = State(recipes, device), stack_examples(recipes, "train", device)
    memory = 2 * _saved_bytes(state, batch(train, recipes, 0))  # as much again for gradients
    step = make_step(state, train, recipes)
    times = []
    for _ in range(5):
        start = time.perf_counter()
        step()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        times.append(time.perf_counter() - start)
    return min(times[1:]), memory


def _saved_bytes(state: State, data: Data) -> int:
    """What the forward pass keeps for the backward pass."""
    sizes: list[int] = []

    def note(tensor: Tensor) -> Tensor:
        sizes.append(tensor.nbytes)
        return tensor

    with saved_tensors_hooks(note, lambda tensor: tensor):
        state.losses(data)
    return sum(sizes)


def _available(device: torch.device) -> int:
    """Half of what is free on the GPU, or a quarter of the machine's memory."""
    if device.type == "cuda":
        torch.cuda.empty_cache()
        return torch.cuda.mem_get_info(device)[0] // 2
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 4
