"""How runs stand, from their folders and a queue."""

import json
from pathlib import Path

import pytest

from interp.models.config import MLPConfig
from interp.runs.recipe import Recipe
from interp.runs.run import Run
from tasks.composition import GroupComposition
from training.sweep import slurm
from training.sweep.job import Work, jobs_of
from training.sweep.status import Standing, standings

RECIPE = Recipe(GroupComposition(group="C7"), MLPConfig(d_embed=4, d_mlp=6))


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return Run.create(tmp_path / "run", RECIPE)


def standing(run: Run, queued: dict[str, str] | None = None) -> tuple[str, str]:
    (found,) = standings([run.path], queued)
    return found.state, found.details


def submitted(run: Run, log: str = "") -> None:
    run.write_json("slurm.json", {"job": "12_3", "log": str(run.path / "log")})
    (run.path / "log").write_text(log)


def test_a_folder_that_is_not_there_waits(tmp_path: Path) -> None:
    path = tmp_path / "none"
    assert standings([path], None) == [Standing(path, "waiting", "")]


def test_who_holds_the_lock_is_running_and_who_died_was_interrupted(run: Run) -> None:
    with run.locked():
        run.write_status("training", step=3, steps=20)
        assert standing(run) == ("running", "step 3 of 20")
    assert standing(run) == ("waiting", "step 3 of 20; interrupted")


def test_of_an_error_the_last_line_is_told(run: Run) -> None:
    run.write_status("failed", error="Traceback\n  somewhere\nKeyError: 'x'\n")
    assert standing(run) == ("failed", "KeyError: 'x'")


def test_slurm_tells_why_a_run_waits(run: Run) -> None:
    submitted(run)
    queued = {"12_3": "PENDING (Priority)"}
    assert standing(run, queued) == ("waiting", "SLURM job 12_3 is PENDING (Priority)")
    run.write_status("failed", error="the last time")  # it is about to be tried again
    assert standing(run, queued)[0] == "waiting"
    assert standing(run, {}) == ("failed", "the last time")


def test_a_slurm_job_that_is_gone_has_failed(run: Run) -> None:
    submitted(run, log="begun\nerror: *** JOB 12 CANCELLED ***\nbye\n")
    assert standing(run, queued=None) == ("waiting", "")  # who knows?
    state, details = standing(run, queued={"12_4": "RUNNING"})
    assert state == "failed"
    assert details.startswith("SLURM job 12_3 is gone, cancelled or killed: start the sweep again")
    assert details.endswith("error: *** JOB 12 CANCELLED ***")


def test_the_queue_is_read_from_squeue(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    squeue = tmp_path / "squeue"
    squeue.write_text("#!/bin/sh\necho '12_3|PENDING|Resources'\necho '13|RUNNING|None'\n")
    squeue.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")
    assert slurm.queue() == {"12_3": "PENDING (Resources)", "13": "RUNNING"}
    squeue.write_text("#!/bin/sh\necho 'no controller' >&2\nexit 1\n")
    with pytest.raises(slurm.SlurmError, match="squeue does not answer: no controller"):
        slurm.queue()


def test_jobs_in_the_queue_are_not_submitted_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (job,) = jobs_of([RECIPE], tmp_path)
    run = Run.create(job.paths[0], RECIPE)
    submitted(run)
    monkeypatch.setattr(slurm, "queue", lambda: {"12_3": "RUNNING"})
    assert slurm.submit([job], tmp_path, Work("cpu"), {}) == {}
    assert json.loads((run.path / "slurm.json").read_text())["job"] == "12_3"
