"""One training step as one launch.

A tiny network's step is a hundred kernels of a few microseconds: launching them from Python takes
longer than they run. Where all shapes are static, the step is recorded once as a CUDA graph and
then replayed, following "Whole-network capture" in PyTorch's notes on CUDA semantics.
"""

from collections.abc import Callable

import torch

from training.data import Data
from training.state import State

WARM_UP = 3
"""Steps before the recording, in which libraries choose their kernels and allocate."""


def record_step(
    state: State, data: Data, update: Callable[[State, Data], None]
) -> Callable[[], None]:
    """A function that does what `update(state, data)` does, on the same tensors.

    `state` is as it was when this returns. It and `data` must outlive the function.
    """
    device = data.tokens.device
    tensors = [*state.parameters.values()]
    for averages in state.optimizer.state.values():
        tensors += averages.values()
    before = [tensor.detach().clone() for tensor in tensors]

    # Autograd remembers on which stream a parameter was first used: warm up on another one.
    stream = torch.cuda.Stream(device)
    stream.wait_stream(torch.cuda.current_stream(device))
    with torch.cuda.stream(stream):
        for _ in range(WARM_UP):
            update(state, data)
    torch.cuda.current_stream(device).wait_stream(stream)

    with torch.no_grad():
        for tensor, value in zip(tensors, before, strict=True):
            tensor.copy_(value)

    # No gradients to begin with, so that the recorded backward pass makes them in the graph's
    # own memory, where every replay overwrites them.
    state.optimizer.zero_grad(set_to_none=True)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.device(device), torch.cuda.graph(graph):
        update(state, data)
    return graph.replay
