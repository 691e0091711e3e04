"""The engine: what is done stays done, what fails is named, and the disk is never damaged."""

import sys

import pandas as pd
import pytest
import torch

from analysis import evaluate as engine
from analysis.evaluate import evaluate_run
from analysis.metric_sets import MetricError, tidy
from analysis.metrics import REPRESENTATION_METRICS
from analysis.representation.measure import representation_metrics
from interp.models.config import MLPConfig, TransformerConfig
from interp.runs.lock import LockedError
from interp.runs.recipe import Recipe, Schedule
from interp.runs.run import Run, RunError
from tasks.composition import GroupComposition

STEPS = (0, 10, 100)
USERS_MODULE = """
import torch
from pathlib import Path

def seen(model, task):
    with open(Path(__file__).parent / "calls.txt", "a") as file:
        file.write("x")
    return {"mine/constant": 1.0, "mine/parts": {"W_U": float(model.W_U.detach().norm())}}

def breaks_at_step_10(model, task):
    mean = float(model.W_U.detach().mean())
    if mean > 5:
        raise RuntimeError("no such luck")
    return {"mine/mean": mean}

def nan_at_step_10(model, task):
    mean = float(model.W_U.detach().mean())
    return {"mine/nan": float("nan") if mean > 5 else mean, "mine/well": 2.0}
"""


def make_run(folder, group="S5", name="run") -> Run:
    recipe = Recipe(
        GroupComposition(group=group), MLPConfig(d_embed=8, d_mlp=8), schedule=Schedule(steps=100)
    )
    run = Run.create(folder / name, recipe)
    for step in STEPS:
        model = recipe.model.build(recipe.task, seed=step)
        run.save_weights(step, dict(model.named_parameters()))
    return run


@pytest.fixture
def run(tmp_path) -> Run:
    return make_run(tmp_path)


@pytest.fixture
def measured(monkeypatch):
    """The steps that representation metrics were measured at, by the key irreps given."""
    calls = []

    def spy(model, task, key_irreps):
        calls.append(key_irreps)
        return representation_metrics(model, task, key_irreps)

    monkeypatch.setattr("analysis.metric_sets.representation_metrics", spy)
    return calls


@pytest.fixture
def users_module(tmp_path, monkeypatch):
    folder = tmp_path / "modules"
    folder.mkdir()
    (folder / "users_metrics.py").write_text(USERS_MODULE)
    monkeypatch.syspath_prepend(folder)
    yield folder
    sys.modules.pop("users_metrics", None)


def test_every_metric_of_the_table_is_measured_at_every_step(run):
    assert evaluate_run(run) == []
    table = run.metrics()
    assert list(table) == ["step", "metric", "component", "value"]
    assert sorted(table["step"].unique()) == list(STEPS)
    for step in STEPS:
        rows = table[table["step"] == step]
        assert set(rows["metric"]) == {metric.name for metric in REPRESENTATION_METRICS}
    per_irrep = set(table.loc[table["component"] != "", "metric"])
    assert per_irrep == {metric.name for metric in REPRESENTATION_METRICS if metric.per_irrep}


def test_the_summary_is_the_final_step(run):
    run.write_status("done", note="kept")
    evaluate_run(run)
    summary, table = run.summary(), run.metrics()
    final = table[table["step"] == 100].set_index(["metric", "component"])["value"]
    assert summary["step"] == 100
    assert summary["hidden_ab/fve"] == final["hidden_ab/fve", ""]
    component = "irrep:standard"
    assert summary[f"embed_a/fve[{component}]"] == final["embed_a/fve", component]
    assert summary["key_irreps_rule"].startswith("similarity above 0.005")
    assert run.status()["state"] == "done" and run.status()["note"] == "kept"


def test_what_is_done_is_not_done_again(run, measured):
    evaluate_run(run, final=True)
    assert len(measured) == 1 and set(run.metrics()["step"]) == {100}
    evaluate_run(run)
    assert len(measured) == 3
    before = run.metrics()
    evaluate_run(run)
    assert len(measured) == 3
    pd.testing.assert_frame_equal(run.metrics(), before)


def test_an_evaluation_that_was_stopped_goes_on_where_it_was(run, measured, monkeypatch):
    evaluate_run(make_run(run.path.parent, name="other"))
    del measured[:]
    monkeypatch.setattr(engine, "WRITE_EVERY", 0.0)

    def stop(title, done, total, details):
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        evaluate_run(run, progress=stop)
    assert sorted(set(run.metrics()["step"])) == [10, 100]
    assert run.summary()["step"] == 100
    evaluate_run(run)
    assert len(measured) == 3
    pd.testing.assert_frame_equal(run.metrics(), Run(run.path.parent / "other").metrics())


def test_new_key_irreps_make_old_values_stale(run, measured, monkeypatch):
    found = engine.find_key_irreps

    def find(names):
        monkeypatch.setattr(
            engine, "find_key_irreps", lambda m, t: engine.KeyIrreps(names, found(m, t).rule)
        )

    find(("standard",))
    evaluate_run(run)
    totals = run.metrics().query("metric == 'embed_a/fve' and component == ''")["value"].tolist()
    weights = {k: v * 2 for k, v in run.weights().items()}
    run.save_weights(200, weights)  # training went on, to the same key irreps
    evaluate_run(run)
    assert measured == [("standard",)] * 4
    run.save_weights(300, weights)
    find(("sign", "standard"))
    evaluate_run(run)
    assert measured[4:] == [("sign", "standard")] * 5
    rows = run.metrics().query("metric == 'embed_a/fve' and component == ''")
    assert len(rows) == 5 and all(rows["value"].iloc[:3] > totals)
    assert sorted(run.summary()["key_irreps"]) == ["sign", "standard"]


def test_a_users_metric(run, users_module, measured):
    evaluate_run(run)
    assert evaluate_run(run, metrics=["users_metrics:seen"]) == []
    assert len(measured) == 3  # the others were there
    table, calls = run.metrics(), users_module / "calls.txt"
    assert calls.read_text() == "xxx"
    expected = float(run.weights(10)["W_U"].norm())
    rows = table.query("metric == 'mine/parts' and step == 10")
    assert rows["component"].tolist() == ["W_U"]
    assert rows["value"].item() == pytest.approx(expected)
    assert run.summary()["mine/constant"] == 1.0
    evaluate_run(run, metrics=["users_metrics:seen"])
    assert calls.read_text() == "xxx"
    evaluate_run(run)
    pd.testing.assert_frame_equal(run.metrics(), table)


@pytest.mark.parametrize("metric", ["breaks_at_step_10", "nan_at_step_10"])
def test_a_metric_that_fails_is_named_and_leaves_the_rest(run, users_module, metric):
    weights = run.weights(10)
    run.save_weights(10, weights | {"W_U": weights["W_U"] + 10})
    (problem,) = evaluate_run(run, metrics=[f"users_metrics:{metric}"])
    where = "mine/nan: not finite" if "nan" in metric else f"users_metrics:{metric}: RuntimeError"
    assert str(problem).startswith(f"run, step 10, {where}")
    table = run.metrics()
    name = "mine/nan" if "nan" in metric else "mine/mean"
    assert set(table.loc[table["metric"] == name, "step"]) == {0, 100}
    assert set(table.loc[table["metric"] == "loss/all", "step"]) == set(STEPS)
    assert table["value"].notna().all()


@pytest.mark.parametrize("step", [10, 100])
def test_a_damaged_checkpoint_is_named_and_the_others_are_measured(run, step):
    path = run.checkpoint_path(step)
    path.write_bytes(path.read_bytes()[:100])
    (problem,) = evaluate_run(run)
    assert problem.step == step and problem.metric == "checkpoint"
    assert str(path) in problem.reason and "damaged" in problem.reason
    others = sorted({*STEPS} - {step})
    assert sorted(set(run.metrics()["step"])) == others
    assert run.summary()["step"] == others[-1]


def test_a_misshapen_checkpoint_is_named(run):
    run.save_weights(10, run.weights(10) | {"W_U": torch.zeros(8, 7)})
    (problem,) = evaluate_run(run)
    assert "W_U has shape (8, 7), not (8, 120)" in problem.reason
    assert set(run.metrics()["step"]) == {0, 100}


def test_without_one_readable_checkpoint_nothing_is_written(run):
    for step in STEPS:
        run.checkpoint_path(step).write_bytes(b"")
    with pytest.raises(RunError, match=r"step_0000100\.safetensors is damaged"):
        evaluate_run(run)
    assert not (run.path / "metrics.parquet").exists()


def test_nan_weights_are_named(run):
    run.save_weights(10, {k: v * float("nan") for k, v in run.weights(10).items()})
    (problem,) = evaluate_run(run)
    assert problem.step == 10 and "loss/all" in problem.metric
    assert run.metrics()["value"].notna().all()


@pytest.mark.slow  # each process imports torch anew
def test_several_processes_give_the_same_numbers(run, users_module):
    alone = make_run(run.path.parent, name="alone")
    evaluate_run(alone, metrics=["users_metrics:nan_at_step_10"])
    done = []
    evaluate_run(
        run,
        metrics=["users_metrics:nan_at_step_10"],
        workers=2,
        progress=lambda title, now, total, details: done.append((title, now, total)),
    )
    assert done == [("run", 1, 3), ("run", 2, 3), ("run", 3, 3)]
    ours, theirs = (
        r.metrics().sort_values(["step", "metric", "component"], ignore_index=True)
        for r in (run, alone)
    )
    pd.testing.assert_frame_equal(ours, theirs, rtol=1e-12)


def test_a_run_in_use_is_left_alone(run):
    with run.locked(), pytest.raises(LockedError):
        evaluate_run(run)


@pytest.mark.parametrize(
    ("reference", "message"),
    [
        ("users_metrics", "must be given as module:function"),
        ("users_metrics:sen", "has no function 'sen'; did you mean 'seen'"),
        ("no_such_module:seen", "there is no module 'no_such_module'"),
    ],
)
def test_a_metric_that_does_not_exist_is_refused_at_once(run, users_module, reference, message):
    with pytest.raises(ValueError, match=message):
        evaluate_run(run, metrics=[reference])
    assert not (run.path / "status.json").exists()


def test_what_a_metric_may_return():
    expected = pd.DataFrame({"metric": ["a"], "component": [""], "value": [1.0]})
    pd.testing.assert_frame_equal(tidy({"a": 1}), expected)
    pd.testing.assert_frame_equal(tidy({"a": {"": 1.0}}), expected)
    pd.testing.assert_frame_equal(tidy(expected.assign(value=1, extra=0)), expected)
    with pytest.raises(MetricError, match="needs the column 'component'"):
        tidy(expected.drop(columns="component"))
    with pytest.raises(MetricError, match="a metric returned float"):
        tidy(1.0)  # type: ignore[arg-type]


def test_a_transformer_on_a_group_of_ones_own(tmp_path):
    task = GroupComposition(group="Q8", equals_token=True)
    recipe = Recipe(task, TransformerConfig(1, 2, 8, 4, 16), schedule=Schedule(steps=0))
    run = Run.create(tmp_path / "q8", recipe)
    run.save_weights(0, dict(recipe.model.build(task, 0).named_parameters()))
    assert evaluate_run(run) == []
    assert run.summary()["key_irreps"] == []
    assert run.summary()["key_irreps_rule"].startswith("none: the test accuracy")


def test_a_killed_evaluation_leaves_the_training_status(run):
    run.write_status("done", step=100)
    run.write_status("evaluating", training=run.training_status())  # and then the process is gone
    assert run.status()["state"] == "done"
    evaluate_run(run, final=True)
    assert run.read_json("status.json")["state"] == "done"


@pytest.mark.parametrize(("module", "name"), [("own_plain", "plain"), ("own_loss", "loss/test")])
def test_a_users_metric_takes_no_name_that_is_ours(run, tmp_path, monkeypatch, module, name):
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / f"{module}.py").write_text(f"def own(model, task):\n    return {{{name!r}: 1.0}}\n")
    (problem,) = evaluate_run(run, final=True, metrics=[f"{module}:own"])
    assert f"cannot be named {name!r}" in problem.reason
