import json

import pandas as pd
import pytest
import torch

from interp.models.config import MLPConfig
from interp.runs.recipe import Recipe, Schedule
from interp.runs.run import Run, RunError, find_runs
from tasks.composition import GroupComposition

RECIPE = Recipe(GroupComposition("C5"), MLPConfig(4, 3), schedule=Schedule(steps=10))


@pytest.fixture
def run(tmp_path) -> Run:
    run = Run.create(tmp_path / "run", RECIPE)
    model = RECIPE.model.build(RECIPE.task, 0)
    run.save_weights(0, dict(model.named_parameters()))
    return run


def test_a_run_opens_with_its_recipe_and_gives_its_model(run):
    opened = Run(run.path)
    assert opened.recipe == RECIPE and opened.steps == [0] and opened.final_step == 0
    model = opened.model(dtype=torch.float64)
    assert not model.training
    for name, parameter in model.named_parameters():
        assert parameter.dtype == torch.float64
        assert torch.equal(parameter.float(), opened.weights()[name])


def test_create_opens_an_equal_run_and_refuses_another(run):
    assert Run.create(run.path, RECIPE).steps == [0]
    with pytest.raises(RunError, match="another recipe"):
        Run.create(run.path, RECIPE.with_seed(1))
    assert Run(run.path).recipe == RECIPE


def test_a_folder_without_recipe_is_refused(tmp_path):
    with pytest.raises(RunError, match=r"no run folder: it has no recipe\.json"):
        Run(tmp_path)
    with pytest.raises(RunError, match="there is no run"):
        find_runs(tmp_path)


def test_a_damaged_recipe_is_named(run):
    (run.path / "recipe.json").write_text("{")
    with pytest.raises(RunError, match=r"recipe\.json: the recipe is not JSON"):
        _ = Run(run.path).recipe


def test_a_checkpoint_of_the_wrong_shape_is_named(run):
    run.save_weights(3, {**run.weights(0), "W_U": torch.zeros(3, 4)})
    with pytest.raises(RunError, match=r"step_0000003.*W_U has shape \(3, 4\), not \(3, 5\)"):
        run.model(3)


def test_a_checkpoint_with_missing_and_unknown_weights_is_named(run):
    weights = run.weights(0)
    weights["W_X"] = weights.pop("W_U")
    run.save_weights(3, weights)
    with pytest.raises(RunError, match="W_U is missing; W_X is unknown"):
        run.model(3)


def test_a_truncated_checkpoint_is_named(run):
    path = run.checkpoint_path(0)
    path.write_bytes(path.read_bytes()[:50])
    with pytest.raises(RunError, match="is damaged"):
        run.model()


def test_a_run_without_checkpoints_says_what_to_do(tmp_path):
    run = Run.create(tmp_path / "run", RECIPE)
    with pytest.raises(RunError, match="`interp resume"):
        run.model()


def test_tables_are_empty_until_written(run):
    assert run.metrics().empty and list(run.metrics()) == ["step", "metric", "component", "value"]
    table = pd.DataFrame([(0, "loss/all", "", 1.5)], columns=list(run.metrics()))
    run.write_metrics(table)
    pd.testing.assert_frame_equal(Run(run.path).metrics(), table, check_dtype=False)


def test_a_damaged_table_is_named(run):
    (run.path / "metrics.parquet").write_bytes(b"nonsense")
    with pytest.raises(RunError, match=r"metrics\.parquet is damaged"):
        run.metrics()


def test_a_run_whose_process_is_gone_reads_interrupted(run):
    run.write_status("training", step=3)
    assert run.status()["state"] == "interrupted" and run.status()["step"] == 3
    with run.locked():
        assert run.status()["state"] == "training"


def test_the_manifest_records_versions_device_and_threads(run):
    run.write_manifest(device="cpu")
    manifest = json.loads((run.path / "manifest.json").read_text())
    assert manifest["versions"]["torch"].startswith(torch.__version__.split("+")[0])
    assert manifest["device"] == "cpu" and manifest["threads"] == torch.get_num_threads()


def test_runs_are_found_at_any_depth(run, tmp_path):
    Run.create(tmp_path / "deep" / "er" / "other", RECIPE.with_seed(1))
    assert [r.name for r in find_runs(tmp_path)] == ["other", "run"]
    assert [r.name for r in find_runs(run.path)] == ["run"]
