"""A batch's resume files are at one step wherever the writing is cut off."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from interp.models.config import MLPConfig
from interp.runs.recipe import Recipe
from interp.runs.run import Run, RunError
from tasks.composition import GroupComposition
from training import resume as module
from training.data import stack_examples
from training.resume import NEXT, RESUME, load_state, save_state
from training.state import State
from training.step import make_step

CPU = torch.device("cpu")
RECIPE = Recipe(GroupComposition(group="C5"), MLPConfig(d_embed=4, d_mlp=3))
SEEDS = [RECIPE.with_seed(seed) for seed in range(3)]


@pytest.fixture
def runs(tmp_path: Path) -> dict[int, Run]:
    return {i: Run.create(tmp_path / recipe.name, recipe) for i, recipe in enumerate(SEEDS)}


@pytest.fixture
def states() -> Iterator[State]:
    """One state, at step 0, 1, 2, ... as often as one asks."""

    def walk() -> Iterator[State]:
        state = State(SEEDS, CPU)
        train = stack_examples(SEEDS, "train", CPU)
        step = make_step(state, train, SEEDS)
        while True:
            yield state
            step()

    return walk()


def loaded(runs: dict[int, Run]) -> State:
    state = State(SEEDS, CPU)
    load_state(state, runs)
    return state


def assert_equal(state: State, expected: State) -> None:
    assert state.step == expected.step
    for name, parameter in state.parameters.items():
        assert torch.equal(parameter, expected.parameters[name])
        one, other = state.optimizer.state[parameter], expected.optimizer.state
        for key, value in one.items():
            assert torch.equal(value, other[expected.parameters[name]][key]), (name, key)


def cut_off(*_: object, **__: object) -> None:
    raise InterruptedError


def test_what_is_saved_is_loaded(runs: dict[int, Run], states: Iterator[State]) -> None:
    next(states), next(states)
    state = next(states)
    save_state(state, runs)
    assert state.step == 2
    assert_equal(loaded(runs), state)


def test_no_file_is_the_beginning(runs: dict[int, Run], states: Iterator[State]) -> None:
    assert_equal(loaded(runs), next(states))


@pytest.mark.parametrize("n_written", [0, 1, 2])
def test_cut_off_while_writing_finds_the_old(
    runs: dict[int, Run],
    states: Iterator[State],
    monkeypatch: pytest.MonkeyPatch,
    n_written: int,
) -> None:
    save_state(next(states), runs)
    save = module.save_tensors
    left = iter([save] * n_written + [cut_off])
    with monkeypatch.context() as patch, pytest.raises(InterruptedError):
        patch.setattr(module, "save_tensors", lambda *a: next(left)(*a))
        save_state(next(states), runs)
    assert_equal(loaded(runs), State(SEEDS, CPU))


@pytest.mark.parametrize("n_renamed", [0, 1, 2])
@pytest.mark.parametrize("first", [True, False])
def test_cut_off_while_renaming_finds_one_step(
    runs: dict[int, Run], states: Iterator[State], n_renamed: int, first: bool
) -> None:
    old = {run: (run.path / RESUME) for run in runs.values()}
    if not first:
        save_state(next(states), runs)
    kept = {run: path.read_bytes() for run, path in old.items() if path.exists()}
    next(states)
    state = next(states)
    save_state(state, runs)
    for run in list(runs.values())[n_renamed:]:  # as if these had not been renamed yet
        (run.path / RESUME).replace(run.path / NEXT)
        if run in kept:
            (run.path / RESUME).write_bytes(kept[run])
    expected = State(SEEDS, CPU) if n_renamed == 0 else state
    assert_equal(loaded(runs), expected)
    # Cut off once more, while writing the files of the next step.
    for run in runs.values():
        (run.path / NEXT).write_bytes(b"half a file")
    assert_equal(loaded(runs), expected)


def test_files_that_do_not_belong_together_are_refused(
    runs: dict[int, Run], states: Iterator[State]
) -> None:
    save_state(next(states), {0: runs[0]})
    save_state(next(states), {1: runs[1], 2: runs[2]})
    with pytest.raises(RunError, match=r"seed0 is not at step 1 .* move that folder away"):
        loaded(runs)


def test_a_damaged_file_is_named(runs: dict[int, Run], states: Iterator[State]) -> None:
    save_state(next(states), runs)
    path = runs[1].path / RESUME
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(RunError, match=f"{path} is damaged"):
        loaded(runs)
