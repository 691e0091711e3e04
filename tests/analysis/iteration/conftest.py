"""Networks whose scores are known."""

from collections.abc import Callable

import pytest
import torch

from interp.models.config import TransformerConfig
from interp.models.iteration_head import iteration_head
from interp.models.transformer import TaskTransformer
from tasks.iteration import IterationTask


@pytest.fixture
def bigram() -> Callable[..., TaskTransformer]:
    """A network that says one token, but others after tokens that are named."""
    return _bigram


def _bigram(task: IterationTask, says: str, **after: str) -> TaskTransformer:
    n = len(task.vocabulary)
    model = TransformerConfig(d_model=n, d_head=2, d_mlp=2, n_heads=1).build(task, seed=0)
    ids = task.encoding.token_ids
    following = torch.full((n,), ids[says])
    for token, said in after.items():
        following[ids[token]] = ids[said]
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
        model.embed.W_E[:] = torch.eye(n)
        model.unembed.W_U[torch.arange(n), following] = 1
    return model


@pytest.fixture
def faulty() -> Callable[..., TaskTransformer]:
    """The hand-set network with noise on its weights, so that it is often wrong."""
    return _faulty


def _faulty(task: IterationTask) -> TaskTransformer:
    model, generator = iteration_head(task), torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.04 * torch.randn(parameter.shape, generator=generator)
    return model


@pytest.fixture
def untrained() -> Callable[..., TaskTransformer]:
    """Two layers of two heads with weights so large that attention is nothing like uniform."""
    return _untrained


def _untrained(task: IterationTask) -> TaskTransformer:
    config = TransformerConfig(n_layers=2, n_heads=2, d_model=8, d_head=4, d_mlp=10)
    model = config.build(task, seed=0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter *= 2
    return model
