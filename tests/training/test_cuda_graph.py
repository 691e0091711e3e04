"""On a GPU: the recorded step is the plain one, and the same bits every time."""

import dataclasses
from pathlib import Path

import pytest
import torch

from interp.models.config import BilinearConfig, MLPConfig, ModelConfig, TransformerConfig
from interp.runs.recipe import Recipe, Schedule
from interp.runs.run import Run
from tasks.composition import GroupComposition
from training.cuda_graph import record_step
from training.data import stack_examples
from training.loop import train_together
from training.progress import silent
from training.state import State
from training.step import update

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device"),
]
CUDA = torch.device("cuda")
CONFIGS = [MLPConfig(bias=True), BilinearConfig(), TransformerConfig(n_layers=2)]


def recipes(config: ModelConfig, dtype: str = "float32") -> list[Recipe]:
    # Enough pairs that the gradient of the embedding takes its way for many rows.
    task = GroupComposition(group="C89", equals_token=isinstance(config, TransformerConfig))
    recipe = dataclasses.replace(Recipe(task, config), dtype=dtype, schedule=Schedule(steps=50))
    return [recipe.with_seed(seed) for seed in (0, 1)]


@pytest.mark.parametrize("config", CONFIGS)
def test_recording_changes_nothing(config: ModelConfig) -> None:
    state, fresh = State(recipes(config), CUDA), State(recipes(config), CUDA)
    data = stack_examples(recipes(config), "train", CUDA)
    record_step(state, data, update)
    for name, parameter in state.parameters.items():
        assert torch.equal(parameter, fresh.parameters[name]), name
    for parameter in state.trained.values():
        assert not any(value.any() for value in state.optimizer.state[parameter].values())


@pytest.mark.parametrize("config", CONFIGS)
def test_a_replay_is_a_plain_step(config: ModelConfig) -> None:
    graphed, plain = (State(recipes(config, "float64"), CUDA) for _ in range(2))
    data = stack_examples(recipes(config), "train", CUDA)
    replay = record_step(graphed, data, update)
    for _ in range(20):
        replay()
        update(plain, data)
    for name, parameter in graphed.parameters.items():
        torch.testing.assert_close(parameter, plain.parameters[name], rtol=0, atol=1e-10)


@pytest.mark.parametrize("config", CONFIGS)
def test_training_twice_gives_the_same_bits(config: ModelConfig, tmp_path: Path) -> None:
    weights = []
    for name in ("one", "two"):
        runs = [Run.create(tmp_path / name / r.name, r) for r in recipes(config)]
        train_together(runs, CUDA, silent)
        weights.append([run.weights() for run in runs])
    for one, two in zip(*weights, strict=True):
        assert all(torch.equal(one[name], two[name]) for name in one)
