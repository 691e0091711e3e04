"""The table of trained networks, on tiny tasks."""

import math
import os

import pandas as pd
import pytest
import torch

import paper.sequences
from interp.rasp import compiled_shape
from interp.runs.registry import COMPILED_SHAPE
from interp.runs.run import Run, find_runs
from paper.command import run_module
from paper.sequences import (
    NETWORKS,
    Network,
    Options,
    first_step_at_goal,
    page,
    seconds,
    write_table,
)
from tasks.sequences import Histogram, Reverse

HISTOGRAM = Histogram("a,b", max_length=5)


@pytest.fixture
def tabulate(tmp_path, monkeypatch):
    """Runs the command on small networks: the table and the page."""
    reverse = Network(Reverse("a,b", max_length=3), steps=1, model="small")
    networks = (Network(HISTOGRAM, steps=60, lr=1e-2), reverse)
    monkeypatch.setattr(paper.sequences, "NETWORKS", networks)

    def run(*arguments):
        given = [*arguments, "--to", str(tmp_path / "runs"), "--out", str(tmp_path), "--quiet"]
        assert run_module(Options, "paper.sequences", write_table, given) == 0
        table = pd.read_csv(tmp_path / "sequences.csv").set_index("task")
        return table, (tmp_path / "sequences.md").read_text()

    return run


def test_networks_are_trained_measured_and_tabulated(tmp_path, tabulate):
    table, text = tabulate("histogram", "--seeds", "3,5")
    runs = find_runs(tmp_path / "runs")
    assert [run.name for run in runs] == [f"histogram_compiled_shape_seed{s}" for s in (3, 5)]
    assert all(run.steps == [0, 1, 60] and run.recipe.schedule.steps == 60 for run in runs)
    assert runs[0].recipe.model == compiled_shape(HISTOGRAM)
    accuracies = [run.summary()["accuracy/test"] for run in runs]
    (row,) = table.to_dict(orient="records")
    assert row["accuracy_mean"] == pytest.approx(sum(accuracies) / 2)
    assert [row["accuracy_min"], row["accuracy_max"]] == sorted(accuracies)
    assert row["shape"] == "compiled" and row["seeds"] == 2 and row["steps"] == 60
    weights = runs[0].weights()
    trained = [w.numel() for n, w in weights.items() if not n.rpartition(".")[2].startswith("b_")]
    assert row["parameters"] == sum(trained)
    assert "| histogram | compiled | 1 | 1 |" in text


def test_what_is_trained_is_not_trained_again(tmp_path, tabulate):
    tabulate("histogram", "--seeds", "0")
    (run,) = find_runs(tmp_path / "runs")
    before = run.checkpoint_path(60).stat().st_mtime_ns
    table, _ = tabulate("--seeds", "0..1")
    assert run.checkpoint_path(60).stat().st_mtime_ns == before
    assert list(table.index) == ["histogram", "reverse"] and set(table["seeds"]) == {2}
    assert table.loc["reverse", "shape"] == "small"
    assert len(find_runs(tmp_path / "runs")) == 4


def test_the_five_tasks_are_learned_at_the_compiled_shape():
    compiled = {network.task.name for network in NETWORKS if network.model == COMPILED_SHAPE}
    assert compiled == {"peak", "palindrome", "histogram", "reverse", "sort"}


def history(run: Run, accuracies: list[float]) -> Run:
    rows = [
        {"step": 10 * i, "split": split, "accuracy": accuracy}
        for i, test in enumerate(accuracies)
        for split, accuracy in (("train", 1.0), ("test", test))
    ]
    run.write_history(pd.DataFrame(rows))
    return run


def test_the_first_step_at_the_goal(made_run):
    assert first_step_at_goal(history(made_run("a"), [0.2, 0.98, 0.99, 0.5, 1.0])) == 20
    assert math.isnan(first_step_at_goal(history(made_run("b"), [0.2, 0.98])))


def test_seconds_are_shared_by_the_runs_computed_together(made_run):
    run = made_run("a")
    run.save_weights(0, {"weights": torch.zeros(1)})
    for step, time in ((0, 1000.0), (run.final_step, 1030.0)):
        os.utime(run.checkpoint_path(step), (time, time))
    run.write_manifest(batch=["a", "b", "c"])
    assert seconds(run) == 10.0


def test_a_goal_that_a_seed_did_not_reach_is_left_out():
    row = {"task": "sort", "parameters": 12345, "seeds": 2, "accuracy_mean": 0.975}
    row |= {"accuracy_min": 0.95, "accuracy_max": 1.0, "seconds": 1.6}
    steps = pd.DataFrame({"first_step_min": [50, None], "first_step_max": [50, None]})
    text = page(pd.DataFrame([row, row]).join(steps.astype("Int64")))
    reached, missed = text.splitlines()[2:]
    assert reached == "| sort | 12,345 | 2 | 97.50% (95.00% to 100.00%) | 50 | 2 |"
    assert missed == "| sort | 12,345 | 2 | 97.50% (95.00% to 100.00%) | – | 2 |"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["palindrom"], "did you mean 'palindrome'?"),
        (["palindrom"], "there is no task 'palindrom': there are peak, "),
        (["--seeds", "0..x"], "write them as 0..3 or 1,5,7"),
        (["--device", "tpu"], "tpu"),
        (["--seed", "3"], "did you mean '--seeds'?"),
    ],
)
def test_a_wrong_request_is_told_in_one_line(arguments, message, tmp_path, capsys):
    given = [*arguments, "--to", str(tmp_path / "to"), "--out", str(tmp_path / "to"), "--quiet"]
    assert run_module(Options, "paper.sequences", write_table, given) == 2
    told = capsys.readouterr().err
    assert message in told and len(told.splitlines()) == 1
    assert not (tmp_path / "to").exists()
