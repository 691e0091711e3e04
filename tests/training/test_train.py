"""Training as a whole: run folders, many seeds, going on, giving up."""

import dataclasses
import errno
import json
import signal
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from safetensors import SafetensorError
from torch import Tensor, nn

from interp.models.config import BilinearConfig, MLPConfig, ModelConfig, TransformerConfig
from interp.runs.recipe import AdamW, Recipe, Schedule
from interp.runs.run import Run, RunError
from tasks.composition import GroupComposition
from tasks.task import IGNORE, Examples, Split, Task
from training import resume as resume_files
from training import together
from training.data import stack_examples
from training.errors import DiskFullError, DivergedError
from training.loop import train_together
from training.progress import Progress, Report, silent
from training.state import State
from training.step import make_step
from training.train import resume, train

CPU = torch.device("cpu")
TRANSFORMER = TransformerConfig(n_heads=2, d_model=8, d_head=4, d_mlp=16)
RECIPE = Recipe(
    GroupComposition(group="C7"),
    MLPConfig(d_embed=8, d_mlp=6),
    schedule=Schedule(steps=25, log_every=10, checkpoints=4),
)
LONG = Schedule(steps=200, log_every=100, checkpoints=1)


def seeds(recipe: Recipe, n: int) -> list[Recipe]:
    return [recipe.with_seed(seed) for seed in range(n)]


def at_once(recipes: list[Recipe], folder: Path) -> list[Run]:
    """Train them as one batch, whatever is faster."""
    runs = [Run.create(folder / recipe.name, recipe) for recipe in recipes]
    train_together(runs, CPU, silent)
    return runs


def same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def test_a_run_folder_has_everything(tmp_path: Path) -> None:
    seen: list[Progress] = []
    (run,) = train([RECIPE], tmp_path, progress=seen.append)
    assert run.path == tmp_path / "C7_mlp_seed0"
    assert run.steps == RECIPE.schedule.checkpoint_steps() == [0, 1, 2, 8, 25]
    initial = dict(RECIPE.model.build(RECIPE.task, 0).named_parameters())
    assert same(run.weights(0), {name: p.detach() for name, p in initial.items()})
    status, manifest = run.status(), run.read_json("manifest.json")
    assert (status["state"], status["step"], status["steps"]) == ("done", 25, 25)
    assert manifest["batch"] == [run.name] and manifest["device"] == "cpu"
    assert [(p.runs, p.step, p.steps) for p in seen] == [
        ((run.name,), step, 25) for step in (0, 10, 20, 25)
    ]
    assert not list(run.path.glob("*.next.*")) and not (run.path / "lock").exists()


def test_the_history_is_about_the_network_after_each_step(tmp_path: Path) -> None:
    (run,) = train([RECIPE], tmp_path)
    history = run.history()
    assert list(history) == ["step", "split", "loss", "accuracy", "weight_norm"]
    assert history["step"].tolist() == [0, 0, 10, 10, 20, 20, 25, 25]
    assert history["split"].tolist() == ["train", "test"] * 4
    for step, rows in history[history["step"].isin([0, 25])].groupby("step"):
        model = run.model(int(step))
        norm = nn.utils.parameters_to_vector(model.parameters()).detach().double().norm()
        for row in rows.itertuples():
            examples = RECIPE.task.examples(row.split)
            logits = model(examples.tokens)[:, -1].double()
            loss = nn.functional.cross_entropy(logits, examples.targets[:, -1])
            accuracy = (logits.argmax(-1) == examples.targets[:, -1]).double().mean()
            assert row.loss == pytest.approx(loss.item(), rel=1e-6)
            assert row.accuracy == pytest.approx(accuracy.item(), abs=1e-12)
            assert row.weight_norm == pytest.approx(norm.item(), rel=1e-12)


def test_no_step_is_a_run_too(tmp_path: Path) -> None:
    (run,) = train([dataclasses.replace(RECIPE, schedule=Schedule(steps=0))], tmp_path)
    assert run.steps == [0] and run.history()["step"].tolist() == [0, 0]
    assert run.status()["state"] == "done"


@pytest.mark.parametrize("config", [MLPConfig(8, 6), BilinearConfig(8), TRANSFORMER])
def test_an_update_is_adamws_on_the_hooked_network(config: ModelConfig, tmp_path: Path) -> None:
    task = GroupComposition(group="C7", equals_token=isinstance(config, TransformerConfig))
    optimizer = AdamW(lr=1e-2, betas=(0.8, 0.95), weight_decay=0.3, eps=1e-6)
    recipe = Recipe(task, config, optimizer, Schedule(steps=5), init_seed=4, dtype="float64")
    (run,) = train([recipe], tmp_path)
    model = config.build(task, 4).to(torch.float64)
    trained = [p for p in model.parameters() if p.requires_grad]
    plain = torch.optim.AdamW(
        trained, lr=1e-2, betas=(0.8, 0.95), weight_decay=0.3, eps=1e-6, foreach=False
    )
    examples = task.examples("train")
    for _ in range(5):
        plain.zero_grad()
        logits = model(examples.tokens)[:, -1]
        nn.functional.cross_entropy(logits, examples.targets[:, -1]).backward()
        plain.step()
    weights = run.weights()
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(weights[name], parameter.detach(), rtol=0, atol=1e-13)


# Many seeds at once


@pytest.mark.parametrize("config", [MLPConfig(8, 6, bias=True), TRANSFORMER])
def test_each_seed_ends_as_if_alone(config: ModelConfig, tmp_path: Path) -> None:
    task = GroupComposition(group="C7", equals_token=isinstance(config, TransformerConfig))
    recipe = Recipe(task, config, schedule=LONG, dtype="float64")
    together_runs = at_once(seeds(recipe, 2), tmp_path / "together")
    for i, run in enumerate(together_runs):
        (alone,) = train([recipe.with_seed(i)], tmp_path / "alone")
        assert run.recipe == alone.recipe and run.steps == alone.steps
        torch.testing.assert_close(run.weights(), alone.weights(), rtol=0, atol=1e-10)
        torch.testing.assert_close(
            torch.tensor(run.history()["loss"]),
            torch.tensor(alone.history()["loss"]),
            rtol=0,
            atol=1e-10,
        )


@pytest.mark.parametrize("config", [MLPConfig(), BilinearConfig(), TRANSFORMER])
def test_one_step_in_float32_is_that_of_each_alone(config: ModelConfig) -> None:
    task = GroupComposition(group="C23", equals_token=isinstance(config, TransformerConfig))
    recipes = seeds(Recipe(task, config), 3)
    whole, parts = State(recipes, CPU), [State([recipe], CPU) for recipe in recipes]
    data = stack_examples(recipes, "train", CPU)
    losses = whole.losses(data)
    losses.sum().backward()
    for i, part in enumerate(parts):
        own = stack_examples([recipes[i]], "train", CPU)
        loss = part.losses(own)
        loss.sum().backward()
        assert losses[i].item() == pytest.approx(loss.item(), abs=1e-5)
        for name, parameter in part.trained.items():
            whole_gradient = whole.parameters[name].grad
            assert parameter.grad is not None and whole_gradient is not None
            torch.testing.assert_close(whole_gradient[i], parameter.grad[0], rtol=0, atol=1e-5)


def test_batches_are_of_the_size_that_was_fastest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seconds = {1: 1.0, 2: 1.2, 4: 1.9, 7: 7.1}  # four at once: under half a second each
    monkeypatch.setattr(together, "_try", lambda recipes, device: (seconds[len(recipes)], 1))
    runs = train(seeds(RECIPE, 7), tmp_path)
    batches = {tuple(run.read_json("manifest.json")["batch"]) for run in runs}
    names = [run.name for run in runs]
    assert sorted(batches) == [tuple(names[:4]), tuple(names[4:])]


def test_a_batch_fits_in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(together, "_try", lambda recipes, device: (1.0, 10))
    monkeypatch.setattr(together, "_available", lambda device: 45)
    assert together.fastest_size(seeds(RECIPE, 16), CPU) == 4
    monkeypatch.setattr(together, "_available", lambda device: 5)
    assert together.fastest_size(seeds(RECIPE, 16), CPU) == 1


def test_measuring_tells_time_and_memory() -> None:
    small, large = (together._try(seeds(RECIPE, n), CPU) for n in (1, 4))
    assert small[0] > 0 and large[1] == pytest.approx(4 * small[1])


def test_other_recipes_are_other_batches(tmp_path: Path) -> None:
    wide = dataclasses.replace(RECIPE, model=BilinearConfig(8))
    runs = train([RECIPE, wide], tmp_path)
    assert [run.read_json("manifest.json")["batch"] for run in runs] == [[r.name] for r in runs]


# Going on


def test_what_is_finished_is_left_alone(tmp_path: Path) -> None:
    (run,) = train([RECIPE], tmp_path)
    before = {path: path.stat().st_mtime_ns for path in run.path.rglob("*")}
    assert [again.path for again in train([RECIPE, RECIPE], tmp_path)] == [run.path] * 2
    assert resume(run) is run
    assert {path: path.stat().st_mtime_ns for path in run.path.rglob("*")} == before


def test_another_recipe_in_the_folder_is_an_error(tmp_path: Path) -> None:
    train([RECIPE], tmp_path, name="mine")
    assert (tmp_path / "mine_seed0").is_dir()
    other = dataclasses.replace(RECIPE, optimizer=AdamW(lr=1.0))
    with pytest.raises(RunError, match="mine_seed0 holds a run with another recipe"):
        train([other], tmp_path, name="mine")


class Stopped(Exception):
    """Raised by a progress report, to leave a training in the middle."""


def stop_at(step: int) -> Report:
    def report(progress: Progress) -> None:
        if progress.step == step:
            raise Stopped

    return report


@pytest.mark.parametrize("batch_size", [None, 7])
def test_an_interrupted_batch_goes_on_to_the_last_bit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, batch_size: int | None
) -> None:
    schedule = dataclasses.replace(RECIPE.schedule, batch_size=batch_size)
    recipes = seeds(dataclasses.replace(RECIPE, schedule=schedule), 3)
    expected = at_once(recipes, tmp_path / "whole")
    runs = [Run.create(tmp_path / "parts" / recipe.name, recipe) for recipe in recipes]
    monkeypatch.setattr("training.loop.SECONDS_BETWEEN_SAVES", -1.0)
    with pytest.raises(Stopped):
        train_together(runs, CPU, stop_at(20))
    assert runs[0].steps == [0, 1, 2, 8]
    assert resume_files._step(resume_files._read(runs[0], "resume.safetensors")) == 19
    resume(runs[1])
    for run, whole in zip(runs, expected, strict=True):
        assert same(run.weights(), whole.weights())
        assert run.history().equals(whole.history())
        assert run.read_json("manifest.json")["batch"] == [r.name for r in runs]


@pytest.mark.parametrize(
    ("number", "effect"), [(signal.SIGTERM, SystemExit), (signal.SIGINT, KeyboardInterrupt)]
)
def test_a_signal_ends_it_in_good_order(
    tmp_path: Path, number: signal.Signals, effect: type[BaseException]
) -> None:
    def raise_at_10(progress: Progress) -> None:
        if progress.step == 10:
            signal.raise_signal(number)

    (expected,) = train([RECIPE], tmp_path / "whole")
    handler = signal.getsignal(number)
    with pytest.raises(effect) as raised:
        train([RECIPE], tmp_path, progress=raise_at_10)
    assert number != signal.SIGTERM or raised.value.code == 143
    assert signal.getsignal(number) is handler
    run = Run(tmp_path / RECIPE.name)
    assert (run.status()["state"], run.status()["step"]) == ("interrupted", 11)
    assert not (run.path / "lock").exists()
    assert same(resume(run).weights(), expected.weights())
    assert run.history().equals(expected.history())


def test_train_takes_up_batches_as_they_were_begun(tmp_path: Path) -> None:
    recipes = seeds(RECIPE, 4)
    expected = at_once(recipes[1:3], tmp_path / "whole")
    begun = [Run.create(tmp_path / recipe.name, recipe) for recipe in recipes[1:3]]
    with pytest.raises(Stopped):
        train_together(begun, CPU, stop_at(10))
    runs = train(recipes, tmp_path)
    batches = [run.read_json("manifest.json")["batch"] for run in runs]
    assert batches[1] == batches[2] == [run.name for run in begun]
    assert not {runs[0].name, runs[3].name} & set(batches[1])
    assert all(same(a.weights(), b.weights()) for a, b in zip(runs[1:3], expected, strict=True))


def test_a_run_goes_on_without_companions_that_are_gone(tmp_path: Path) -> None:
    recipes = seeds(RECIPE, 2)
    runs = [Run.create(tmp_path / recipe.name, recipe) for recipe in recipes]
    with pytest.raises(Stopped):
        train_together(runs, CPU, stop_at(10))
    (runs[0].path / "recipe.json").unlink()
    assert resume(runs[1]).status()["state"] == "done"
    assert runs[1].read_json("manifest.json")["batch"] == [runs[1].name]


def test_minibatches_are_the_same_again_and_seeds_differ(tmp_path: Path) -> None:
    schedule = Schedule(steps=12, batch_size=5)
    recipes = seeds(dataclasses.replace(RECIPE, schedule=schedule), 2)
    one, two = (at_once(recipes, tmp_path / name) for name in ("one", "two"))
    assert all(same(a.weights(), b.weights()) for a, b in zip(one, two, strict=True))
    full = dataclasses.replace(RECIPE, schedule=Schedule(steps=12))
    (whole,) = train([full], tmp_path / "full")
    assert not same(one[0].weights(), whole.weights())


# Giving up


class Fuse(nn.Module):
    """Its loss is lowered by burning the fuse, and NaN when it is burnt."""

    def __init__(self, task: Task, seed: int) -> None:
        super().__init__()
        self.fuse = nn.Parameter(torch.tensor([0.5 if seed == 1 else 100.0]))
        self.table = nn.Parameter(torch.zeros(len(task.vocabulary), len(task.outputs) - 1))

    def forward(self, tokens: Tensor) -> Tensor:
        others = self.table[tokens]
        return torch.cat([self.fuse.log().expand(*tokens.shape, 1), others], dim=-1)


@dataclass(frozen=True)
class FuseConfig:
    def build(self, task: Task, seed: int) -> Fuse:
        return Fuse(task, seed)


@dataclass(frozen=True)
class NeverZero(Task):
    """Say the last token, which is not 0."""

    name = "never_zero"
    vocabulary = ("0", "1", "2")
    context_length = 2

    def examples(self, split: Split = "all") -> Examples:
        tokens = torch.tensor([[0, 1], [0, 2], [1, 1]])
        return Examples(tokens, torch.where(torch.tensor([False, True]), tokens, IGNORE))


def test_a_diverged_run_is_given_up_and_the_others_go_on(tmp_path: Path) -> None:
    optimizer, schedule = AdamW(lr=0.1, weight_decay=0.0), Schedule(steps=20, log_every=1)
    recipe = Recipe(NeverZero(), FuseConfig(), optimizer, schedule, dtype="float64")
    runs = [Run.create(tmp_path / r.name, r) for r in seeds(recipe, 3)]
    with pytest.raises(DivergedError) as error:
        train_together(runs, CPU, silent)
    step = runs[1].status()["step"]
    assert str(error.value) == (
        f"{runs[1].name} diverged: its training loss is nan at step {step}; lower --lr (it is "
        "0.1) and train it under another --name"
    )
    assert runs[1].status()["state"] == "failed" and 3 < step < 10
    assert all(w.isfinite().all() for s in runs[1].steps for w in runs[1].weights(s).values())
    assert max(runs[1].steps) < step
    for i in (0, 2):
        assert runs[i].status()["state"] == "done"
        (alone,) = train([recipe.with_seed(i)], tmp_path / "alone")
        weights, expected = runs[i].weights(), alone.weights()
        torch.testing.assert_close(weights, expected, rtol=0, atol=1e-12)
    with pytest.raises(DivergedError, match=runs[1].name):  # it would again
        resume(runs[1])


def test_infinite_weights_are_never_written(tmp_path: Path) -> None:
    schedule = Schedule(steps=3, log_every=100, checkpoints=3)
    recipe = dataclasses.replace(RECIPE, optimizer=AdamW(lr=1e39), schedule=schedule)
    with pytest.raises(DivergedError, match=r"a weight is (inf|nan) at step 1; lower --lr"):
        train([recipe], tmp_path)
    assert Run(tmp_path / recipe.name).steps == [0]


@pytest.mark.parametrize(
    "full",
    [
        OSError(errno.ENOSPC, "No space left on device"),
        SafetensorError(
            "Error while serializing: I/O error: No space left on device (os error 28)"
        ),
    ],
)
def test_a_full_disk_is_said_in_one_line_and_the_run_goes_on_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, full: Exception
) -> None:
    def no_space(run: Run, step: int, weights: dict[str, Tensor]) -> None:
        raise full

    (expected,) = train([RECIPE], tmp_path / "whole")
    monkeypatch.setattr("training.loop.SECONDS_BETWEEN_SAVES", -1.0)
    with monkeypatch.context() as patch:
        patch.setattr(Run, "save_weights", no_space)
        with pytest.raises(DiskFullError, match=r"^no space left for .*C7_mlp_seed0: .* make room"):
            train([RECIPE], tmp_path)
    run = Run(tmp_path / "C7_mlp_seed0")
    assert run.status()["state"] == "failed" and "no space" in run.status()["error"]
    assert same(resume(run).weights(), expected.weights()) and run.status()["state"] == "done"


def test_any_other_failure_is_in_the_status(tmp_path: Path) -> None:
    with pytest.raises(Stopped):
        train([RECIPE], tmp_path, progress=stop_at(10))
    assert Run(tmp_path / "C7_mlp_seed0").status()["state"] == "failed"


def test_a_device_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"no device 'cuda:99': choose auto, cpu"):
        train([RECIPE], tmp_path, device="cuda:99")


# Tasks that have nothing to do with groups


@dataclass(frozen=True)
class RunningMaximum(Task):
    """After each token from the second on: the largest so far. Short sequences are padded."""

    name = "running_maximum"
    vocabulary = ("0", "1", "2", "3", "pad")
    outputs = ("0", "1", "2", "3")
    context_length = 4

    def examples(self, split: Split = "all") -> Examples:
        generator = torch.Generator().manual_seed(self.split_seed + (split == "test"))
        tokens = torch.randint(0, 4, (60, 4), generator=generator)
        targets = tokens.cummax(dim=1).values
        targets[:, 0] = IGNORE
        tokens[:20, 3], targets[:20, 3] = 4, IGNORE
        return Examples(tokens, targets)


@dataclass(frozen=True)
class Mean(RunningMaximum):
    """A regression: the mean of the tokens, at the last position."""

    name = "mean"
    outputs = ("mean",)
    loss = "mean_squared_error"

    def examples(self, split: Split = "all") -> Examples:
        tokens = super().examples(split).tokens
        targets = torch.full(tokens.shape, torch.nan, dtype=torch.float64)
        targets[:, -1] = tokens.double().mean(dim=1)
        return Examples(tokens, targets)


@pytest.mark.parametrize("task", [RunningMaximum(), Mean()])
def test_a_sequence_task_is_learnt(task: Task, tmp_path: Path) -> None:
    recipe = Recipe(task, TRANSFORMER, AdamW(lr=1e-2, weight_decay=0.0), LONG)
    runs = at_once(seeds(recipe, 2), tmp_path)
    for run in runs:
        train_rows = run.history().query("split == 'train'")
        assert train_rows["loss"].iloc[-1] < 0.05 * train_rows["loss"].iloc[0]
        assert train_rows["accuracy"].isna().all() == (task.loss == "mean_squared_error")
        json.loads((run.path / "status.json").read_text())


def test_a_network_that_cannot_answer_where_the_task_asks(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"HookedMLP answers at the last 1 .* scores the last 3"):
        train([Recipe(RunningMaximum(), MLPConfig())], tmp_path)


def test_the_step_counts() -> None:
    state, data = State([RECIPE], CPU), stack_examples([RECIPE], "train", CPU)
    step = make_step(state, data, [RECIPE])
    step()
    step()
    assert state.step == 2


def test_an_imported_run_is_finished(tmp_path: Path) -> None:
    run = Run.create(tmp_path / RECIPE.name, RECIPE)
    run.save_weights(25, State([RECIPE], CPU).weights(0))
    run.write_status("failed", error="its evaluation was broken off")
    before = run.weights()
    train([RECIPE], tmp_path)
    assert run.steps == [25] and same(run.weights(), before)


class Features(nn.Module):
    """A network with a buffer that is drawn from the seed."""

    def __init__(self, task: Task, seed: int) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        self.register_buffer("features", torch.randn(len(task.vocabulary), 8, generator=generator))
        self.readout = nn.Parameter(torch.zeros(8, len(task.outputs)))

    def forward(self, tokens: Tensor) -> Tensor:
        return self.features[tokens] @ self.readout


@dataclass(frozen=True)
class FeaturesConfig:
    def build(self, task: Task, seed: int) -> Features:
        return Features(task, seed)


def test_each_seed_has_its_own_buffers(tmp_path: Path) -> None:
    recipe = Recipe(RunningMaximum(), FeaturesConfig(), schedule=LONG, dtype="float64")
    runs = at_once(seeds(recipe, 2), tmp_path)
    (alone,) = train([recipe.with_seed(1)], tmp_path / "alone")
    torch.testing.assert_close(runs[1].weights(), alone.weights(), rtol=0, atol=1e-12)


def test_an_impossible_recipe_leaves_no_folder(tmp_path: Path) -> None:
    recipe = Recipe(Mean(), TRANSFORMER, schedule=LONG)
    wrong = dataclasses.replace(recipe, task=TwoMeans())
    with pytest.raises(ValueError, match="regression with 2 outputs"):
        train([wrong], tmp_path)
    assert list(tmp_path.iterdir()) == []


@dataclass(frozen=True)
class TwoMeans(Mean):
    outputs = ("one", "other")


def test_imported_weights_are_never_trained_over(tmp_path: Path) -> None:
    run = Run.create(tmp_path / RECIPE.name, RECIPE)
    run.save_weights(3, State([RECIPE], CPU).weights(0))
    run.write_manifest(imported_from="elsewhere")
    resume(run)
    assert run.steps == [3] and run.read_json("manifest.json")["imported_from"] == "elsewhere"
