"""The batch scripts, with a stand-in for Python that notes what it is asked."""

import os
import subprocess
from pathlib import Path

import pytest

PAPER = Path(__file__).parents[2] / "paper"


@pytest.fixture
def stand_in(tmp_path):
    """Notes its arguments, and fails for runs and experiments called `bad`."""
    path = tmp_path / "python"
    path.write_text(f'#!/bin/sh\necho "$@" >> {tmp_path}/log\ncase "$*" in *bad*) exit 1; esac\n')
    path.chmod(0o755)
    return path


def run(script: str, *arguments: object, python: Path, **variables: str):
    environment = os.environ | {"PYTHON": str(python)} | variables
    command = [PAPER / script, *map(str, arguments)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    log = python.parent / "log"
    return done, log.read_text().splitlines() if log.exists() else []


def folder(path: Path) -> Path:
    path.mkdir(parents=True)
    (path / "recipe.json").write_text("{}")
    return path


def test_every_run_is_evaluated_though_one_fails(tmp_path, stand_in):
    runs = [folder(tmp_path / "runs" / name) for name in ("a b", "bad", "c")]
    done, log = run("evaluate_checkpoints.sh", tmp_path / "runs", python=stand_in)
    assert done.returncode == 1
    assert log == [f"-m interp.cli evaluate {path}" for path in runs]


def test_a_missing_folder_does_not_stop_the_others(tmp_path, stand_in):
    there = folder(tmp_path / "there")
    script = "evaluate_checkpoints.sh"
    done, log = run(script, tmp_path / "gone", there, python=stand_in, EVALUATE_FLAGS="--final")
    assert done.returncode == 1 and "there is no run in" in done.stderr
    assert log == [f"-m interp.cli evaluate {there} --final"]
    done, _ = run(script, there, python=stand_in)
    assert done.returncode == 0


@pytest.mark.parametrize("script", ["evaluate_checkpoints.sh", "run_all.sh"])
def test_without_arguments_the_usage_is_told(script, stand_in):
    done, log = run(script, python=stand_in)
    assert done.returncode == 2 and done.stderr.startswith("usage: ") and not log


def test_run_all_trains_evaluates_and_tabulates(tmp_path, stand_in):
    path = folder(tmp_path / "to/runs/S5_mlp/one")
    to = tmp_path / "to"
    done, log = run("run_all.sh", to, python=stand_in, PUBLISHED="/published")
    assert done.returncode == 0, done.stderr
    assert log == [
        f"-m paper.experiments universality --to {to}/runs",
        f"-m interp.cli evaluate {path}",
        f"-m paper.tables --runs {to}/runs --out {to}/tables --published /published",
    ]


def test_run_all_goes_on_after_a_failed_experiment(tmp_path, stand_in):
    folder(tmp_path / "to/runs/one")
    done, log = run("run_all.sh", tmp_path / "to", "bad", "S5_mlp", python=stand_in)
    assert done.returncode == 1 and len(log) == 3
    assert log[0] == f"-m paper.experiments bad S5_mlp --to {tmp_path}/to/runs"
