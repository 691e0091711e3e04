import json
import pickle
import shutil

import pytest
import torch

from interp.runs.published import import_published, read_published_weights
from interp.runs.run import Run


def imported(source, to):
    return {item.source.name: item for item in import_published(source, to)}


def test_every_published_run_is_imported(published, tmp_path):
    found = imported(published, tmp_path)
    assert len(found) == 12 and all(item.run for item in found.values())
    assert found["S5_MLP_seed2"].run.steps == [250_000]
    assert found["S5_T_seed1"].run.recipe.task.equals_token
    for item in found.values():
        item.run.model()  # the weights fit


def test_a_git_lfs_pointer_is_named_and_left_out(published, tmp_path):
    (item,) = import_published(published / "S5_MLP_seed2", tmp_path)
    (problem,) = item.problems
    assert "epoch_0.pt: a Git LFS pointer" in problem and item.run is not None


@pytest.fixture
def source(published, tmp_path):
    """A copy of a published run, to damage."""
    folder = tmp_path / "source" / "S5_MLP_seed1"
    folder.mkdir(parents=True)
    for name in ("cfg.json", "model.pt"):
        shutil.copy(published / "S5_MLP_seed1" / name, folder / name)
        (folder / name).chmod(0o644)
    return folder


def test_epoch_n_is_step_n_plus_1(source, tmp_path):
    (source / "checkpoints").mkdir()
    shutil.copy(source / "model.pt", source / "checkpoints" / "epoch_41.pt")
    (item,) = import_published(source, tmp_path / "runs")
    assert item.run is not None and item.run.steps == [42, 250_000]


class Payload:
    def __reduce__(self):
        return (open, ("executed", "w"))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda path: path.write_bytes(path.read_bytes()[:1000]), "truncated or damaged"),
        (lambda path: path.write_bytes(b""), "damaged"),
        (lambda path: path.unlink(), "missing"),
        (
            lambda path: path.write_bytes(pickle.dumps(Payload(), protocol=2)),
            "holds more than tensors",
        ),
        (lambda path: torch.save({"W_x": torch.zeros(2)}, path), "do not fit the model"),
        (lambda path: torch.save([1, 2], path), "damaged"),
    ],
)
def test_unusable_weights_make_no_run_and_execute_nothing(
    source, tmp_path, damage, message, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    damage(source / "model.pt")
    (item,) = import_published(source, tmp_path / "runs")
    assert item.run is None and message in item.problems[0]
    assert not (tmp_path / "executed").exists() and not (tmp_path / "runs").exists()


def test_an_unknown_model_is_named(source, tmp_path):
    config = json.loads((source / "cfg.json").read_text())
    (source / "cfg.json").write_text(json.dumps(config | {"model": "RNN"}))
    (item,) = import_published(source, tmp_path / "runs")
    assert item.run is None and "model 'RNN' is unknown" in item.problems[0]


def test_importing_twice_changes_nothing(source, tmp_path):
    for _ in range(2):
        (item,) = import_published(source, tmp_path / "runs")
    assert item.run is not None
    weights = read_published_weights(source / "model.pt")
    stored = Run(item.run.path).weights()
    assert stored.keys() == weights.keys()
    assert all(torch.equal(stored[name], weights[name]) for name in weights)


def test_a_folder_without_published_runs_is_refused(tmp_path):
    with pytest.raises(ValueError, match="holds no published run"):
        list(import_published(tmp_path, tmp_path / "runs"))
