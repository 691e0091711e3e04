"""Several processes at once."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from joblib.externals.loky import get_reusable_executor

from interp.models.config import MLPConfig
from interp.runs.recipe import Recipe, Schedule
from interp.runs.registry import import_user_module
from interp.runs.run import Run
from tasks.composition import GroupComposition
from training.sweep.engines import processes
from training.sweep.job import Job, Work, jobs_of

pytestmark = pytest.mark.slow  # every process imports for seconds


@pytest.fixture(autouse=True)
def processes_of_their_own() -> Iterator[None]:
    """joblib keeps processes for the next call, with the import path of the first one."""
    yield
    get_reusable_executor().shutdown(wait=True)


DEADLY = """
import os, signal
from dataclasses import dataclass
from tasks.composition import GroupComposition

@dataclass(frozen=True)
class Deadly(GroupComposition):
    '''A task that kills the process which makes its data.'''

    name = "deadly"

    def examples(self, split="all"):
        os.kill(os.getpid(), signal.SIGKILL)
"""


def job(folder: Path, task: GroupComposition) -> Job:
    schedule = Schedule(steps=20, checkpoints=2)
    recipes = [Recipe(task, MLPConfig(4, 6), schedule=schedule).with_seed(s) for s in (0, 1)]
    return jobs_of(recipes, folder)[0]


def test_jobs_are_done_in_processes_of_few_threads(tmp_path: Path) -> None:
    jobs = [job(tmp_path, GroupComposition(group=group)) for group in ("C5", "C7", "C11")]
    outcomes = dict(processes(jobs, Work("cpu"), workers=2))
    assert list(outcomes.values()) == [[], [], []] and all(job.is_finished for job in jobs)
    pids = {Run(path).status()["pid"] for job in jobs for path in job.paths}
    assert 1 <= len(pids) <= 2
    assert {Run(job.paths[0]).read_json("manifest.json")["threads"] for job in jobs} == {1}


def test_a_job_that_kills_its_process_does_not_stop_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "deadly.py").write_text(DEADLY)
    monkeypatch.syspath_prepend(tmp_path)
    module = import_user_module("deadly")
    monkeypatch.setitem(sys.modules, "deadly", module)
    deadly = job(tmp_path, module.Deadly(group="C7"))
    others = [job(tmp_path, GroupComposition(group=group)) for group in ("C5", "C7", "C11")]
    outcomes = dict(processes([others[0], deadly, *others[1:]], Work("cpu"), workers=2))
    assert outcomes[deadly] == [
        f"{deadly.paths[0]}: its process was killed, and again when it was by itself"
    ]
    assert all(other.is_finished for other in others)
