"""Training with what is drawn anew at each step, in the data's own order, and from a checkpoint."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from interp.models.config import DecoderConfig
from interp.runs.recipe import AdamW, FineTuning, Recipe, Schedule
from interp.runs.run import Run, RunError
from tasks.iteration import Mixed, Parity
from training.data import minibatch_rows, stack_examples
from training.loop import train_together
from training.progress import Progress, silent
from training.state import State
from training.train import resume, train

CPU = torch.device("cpu")
RECIPE = Recipe(
    Parity(max_length=5, longest=8),
    DecoderConfig(d_model=8, train_index="shifted", dropout=0.2),
    AdamW(1e-2, weight_decay=0.0),
    Schedule(steps=12, batch_size=8, log_every=4, checkpoints=1),
    dtype="float64",
)


def at_once(recipes: list[Recipe], folder: Path) -> list[Run]:
    """Train them as one batch, whatever is faster."""
    runs = [Run.create(folder / recipe.name, recipe) for recipe in recipes]
    train_together(runs, CPU, silent)
    return runs


def test_draws_are_those_of_seed_and_step_alone(tmp_path: Path) -> None:
    recipes = [RECIPE.with_seed(seed) for seed in range(3)]
    together = at_once(recipes, tmp_path / "together")
    for run, recipe in zip(together, recipes, strict=True):
        (alone,) = at_once([recipe], tmp_path / "alone")
        for name, weight in alone.weights().items():
            torch.testing.assert_close(run.weights()[name], weight, rtol=0, atol=1e-12)


def test_every_step_has_draws_of_its_own_and_evaluation_none() -> None:
    state, data = State([RECIPE], CPU), stack_examples([RECIPE], "train", CPU)
    first, again = state.losses(data), state.losses(data)
    state.step = 1
    assert torch.equal(first, again) and not torch.equal(first, state.losses(data))
    plain = replace(RECIPE, model=replace(RECIPE.model, train_index="plain", dropout=0.0))
    torch.testing.assert_close(state.evaluate(data)[0], State([plain], CPU).losses(data).detach())


def test_an_interrupted_training_goes_on_to_the_last_bit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (whole,) = at_once([RECIPE], tmp_path / "whole")
    run = Run.create(tmp_path / "parts" / RECIPE.name, RECIPE)
    monkeypatch.setattr("training.loop.SECONDS_BETWEEN_SAVES", -1.0)

    def stop(progress: Progress) -> None:
        if progress.step == 8:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train_together([run], CPU, stop)
    resume(run)
    for name, weight in whole.weights().items():
        assert torch.equal(run.weights()[name], weight)


def test_the_published_batches_are_in_the_datas_order() -> None:
    recipe = replace(RECIPE, task=Parity(max_length=5, preset="published"))
    first, last = (minibatch_rows([recipe], 20, step) for step in (0, 5))
    assert first is not None and first.tolist() == [[0, 1, 2, 3, 4, 5, 6, 7]]
    assert last is not None and last.tolist() == [[16, 17, 18, 19]]


def test_periodic_checkpoints(tmp_path: Path) -> None:
    schedule = replace(RECIPE.schedule, checkpoint_every=5)
    (run,) = at_once([replace(RECIPE, schedule=schedule)], tmp_path)
    assert run.steps == [0, 5, 10, 12]


def test_fine_tuning_starts_from_a_checkpoint_and_trains_what_it_is_told(tmp_path: Path) -> None:
    task = Mixed(max_length=4, longest=6, mix=("copy", "parity"), drawn=("copy",))
    recipe = replace(RECIPE, task=task)
    sources = at_once([recipe.with_seed(seed) for seed in (0, 1)], tmp_path)
    start = str(sources[0].checkpoint_path(12)).replace("seed0", "seed{seed}")
    tuned = replace(
        recipe,
        task=replace(task, drawn=("parity",)),
        fine_tuning=FineTuning(start, trained=("blocks.1.mlp.*",)),
    )
    runs = at_once([tuned.with_seed(seed) for seed in (0, 1)], tmp_path / "tuned")
    for source, run in zip(sources, runs, strict=True):
        before, first, last = source.weights(), run.weights(0), run.weights()
        assert all(torch.equal(first[name], weight) for name, weight in before.items())
        changed = {name for name, weight in before.items() if not torch.equal(last[name], weight)}
        assert changed == {"blocks.1.mlp.W_in", "blocks.1.mlp.W_out"}


def test_what_cannot_be_fine_tuned_is_refused_before_a_folder_is_made(tmp_path: Path) -> None:
    (source,) = at_once([RECIPE], tmp_path / "source")
    start = str(source.checkpoint_path(12))
    wider = replace(RECIPE, model=replace(RECIPE.model, d_model=16))
    cases = [
        (RECIPE, FineTuning(trained=("block.1.*",)), r"no parameter is called 'block\.1\.\*'"),
        (wider, FineTuning(start), r"do not fit the model: .*embed\.W_E has shape \(5, 8\), not"),
        (
            RECIPE,
            FineTuning("nowhere.safetensors"),
            "start_from is nowhere.safetensors: there is no such file",
        ),
    ]
    for recipe, fine_tuning, message in cases:
        with pytest.raises((ValueError, RunError), match=message):
            train([replace(recipe, fine_tuning=fine_tuning)], tmp_path / "runs")
    assert not (tmp_path / "runs").exists()


def test_what_one_seed_cannot_start_from_is_refused_before_a_folder_is_made(tmp_path: Path) -> None:
    (source,) = at_once([RECIPE.with_seed(1)], tmp_path / "source")
    start = str(source.checkpoint_path(12)).replace("seed1", "seed{seed}")
    tuned = replace(RECIPE, fine_tuning=FineTuning(start))
    with pytest.raises(ValueError, match=r"seed0.*there is no such file"):
        train([tuned.with_seed(seed) for seed in (0, 1)], tmp_path / "runs")
    assert not (tmp_path / "runs").exists()


def test_a_fine_tuning_goes_on_when_its_source_is_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (source,) = at_once([RECIPE], tmp_path / "source")
    path = source.checkpoint_path(12)
    recipe = replace(RECIPE, fine_tuning=FineTuning(str(path)))
    run = Run.create(tmp_path / "run", recipe)
    monkeypatch.setattr("training.loop.SECONDS_BETWEEN_SAVES", -1.0)

    def stop(progress: Progress) -> None:
        if progress.step == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train_together([run], CPU, stop)
    path.unlink()
    assert resume(run).final_step == 12
