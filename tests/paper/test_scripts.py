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


@pytest.mark.parametrize(("script", "more"), [("checkpoints", ""), ("final", " --final")])
def test_all_runs_are_evaluated(script, more, stand_in):
    runs = ["some runs", "others", "--workers", "2"]
    done, log = run(f"evaluate_{script}.sh", *runs, python=stand_in)
    assert done.returncode == 0, done.stderr
    assert log == [f"-m interp.cli evaluate some runs others --workers 2{more}"]
    done, _ = run(f"evaluate_{script}.sh", "bad", python=stand_in)
    assert done.returncode == 1


@pytest.mark.parametrize("script", ["evaluate_checkpoints.sh", "evaluate_final.sh", "run_all.sh"])
def test_without_arguments_the_usage_is_told(script, stand_in):
    done, log = run(script, python=stand_in)
    assert done.returncode == 2 and done.stderr.startswith("usage: ") and not log


def test_run_all_trains_evaluates_and_tabulates(tmp_path, stand_in):
    to = tmp_path / "to"
    given = {"PUBLISHED": "/published", "SWEEP_FLAGS": "--engine processes"}
    done, log = run("run_all.sh", to, python=stand_in, **given)
    assert done.returncode == 0, done.stderr
    assert log == [
        f"-m interp.cli sweep universality --to {to}/runs --evaluate all --engine processes",
        f"-m interp.cli tables --runs {to}/runs --out {to}/tables --published /published",
    ]


def test_run_all_goes_on_after_a_failed_experiment(tmp_path, stand_in):
    done, log = run("run_all.sh", tmp_path / "to", "bad", "S5_mlp", python=stand_in)
    assert done.returncode == 1
    assert [line.split()[2:4] for line in log] == [
        ["sweep", "bad"],
        ["sweep", "S5_mlp"],
        ["tables", "--runs"],
    ]
