"""Killed at any moment and resumed in a fresh process, training ends with the same bits."""

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from interp.models.config import MLPConfig
from interp.runs.recipe import Recipe, Schedule
from interp.runs.run import Run
from tasks.composition import GroupComposition
from training.loop import train_together
from training.progress import silent

RECIPE = Recipe(
    GroupComposition(group="C13"),
    MLPConfig(d_embed=32, d_mlp=32),
    schedule=Schedule(steps=500, log_every=50, checkpoints=10, batch_size=40),
)
SCRIPT = """
import sys, torch
torch.set_num_threads(1)
import training.loop
training.loop.SECONDS_BETWEEN_SAVES = 0.03
from interp.runs.run import Run
from training.train import resume
resume(Run(sys.argv[1]), device="cpu")
"""


@pytest.fixture
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def begun(tmp_path: Path) -> list[Run]:
    """Two runs that are to be computed together, as `train` records it."""
    recipes = [RECIPE.with_seed(seed) for seed in (0, 1)]
    runs = [Run.create(tmp_path / recipe.name, recipe) for recipe in recipes]
    for run in runs:
        run.write_manifest(batch=[run.name for run in runs])
    return runs


@pytest.fixture
def uninterrupted(one_thread: None, tmp_path: Path) -> list[Run]:
    recipes = [RECIPE.with_seed(seed) for seed in (0, 1)]
    runs = [Run.create(tmp_path / "whole" / recipe.name, recipe) for recipe in recipes]
    train_together(runs, torch.device("cpu"), silent)
    return runs


def start(run: Run) -> subprocess.Popen[str]:
    command = [sys.executable, "-W", "error::UserWarning", "-c", SCRIPT, str(run.path)]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    return subprocess.Popen(command, env=environment, text=True, stderr=subprocess.PIPE)


def kill(process: subprocess.Popen[str], run: Run, seconds: float) -> None:
    """Kill it some seconds after its training has begun."""
    before = run.read_json("status.json")
    while process.poll() is None and run.read_json("status.json") == before:
        time.sleep(0.005)
    time.sleep(seconds)
    process.kill()
    process.communicate()


def finish(run: Run) -> None:
    process = start(run)
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors


def assert_same(runs: list[Run], expected: list[Run]) -> None:
    for run, whole in zip(runs, expected, strict=True):
        assert run.status()["state"] == "done" and run.steps == whole.steps
        for step in run.steps:
            weights, other = run.weights(step), whole.weights(step)
            assert all(torch.equal(weights[name], other[name]) for name in other), step
        assert run.history().equals(whole.history())


def kill_and_resume(begun: list[Run], expected: list[Run], kills: int, seed: int) -> None:
    generator = random.Random(seed)
    killed = 0
    for _ in range(kills):
        process = start(generator.choice(begun))
        kill(process, begun[0], generator.uniform(0.0, 0.5))
        killed += process.returncode == -signal.SIGKILL
    assert killed, "the training was never killed: it ended before"
    finish(begun[1])
    assert_same(begun, expected)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(2))
def test_kill_9_and_resume(begun: list[Run], uninterrupted: list[Run], seed: int) -> None:
    kill_and_resume(begun, uninterrupted, kills=3, seed=seed)
