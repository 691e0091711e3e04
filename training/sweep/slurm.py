"""Jobs on a SLURM cluster: one array of them, each continued when its time is up."""

import contextlib
import io
import json
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from submitit import SlurmExecutor
from submitit.core.utils import FailedJobError
from submitit.helpers import Checkpointable

from interp.runs.lock import locked
from interp.runs.run import Run
from tasks.atomic import write_text
from training.sweep.job import Job, Work, carry_out, last_line

LOGS = "slurm"
"""The folder beside the run folders with what jobs print."""
SUBMITTED = "slurm.json"
"""In a run folder: the SLURM job that was submitted for it."""
MINUTES = 60
"""Time limit of a job, unless sbatch's option `time` is given; it then goes on in a new one."""
CONTINUATIONS = 1000
"""Time limits that a job may run into: in effect, until it is finished."""
LONGEST_ARRAY = 1000
"""SLURM's own limit on an array, as it comes."""


class SlurmError(RuntimeError):
    """SLURM is not there, or refuses."""


@dataclass(frozen=True)
class CarryOut(Checkpointable):
    """What a SLURM job does. When its time is up it is queued again, and goes on."""

    job: Job
    work: Work

    def __call__(self) -> None:
        """Carry the job out, and print what went wrong as the last lines of the log."""
        if problems := carry_out(self.job, self.work):
            raise SystemExit("\n".join(problems))


def submit(
    jobs: Sequence[Job], folder: Path, work: Work, options: Mapping[str, str | bool]
) -> dict[str, Job]:
    """Submit those jobs that are not in SLURM's queue; returns them by SLURM's numbers for them.

    `options` are sbatch's, such as {"partition": "gpu", "time": "4:00:00"}.

    Raises `SlurmError`, and `LockedError` when another process submits from this folder.
    """
    submitted: dict[str, Job] = {}
    with locked(folder / "submit.lock"):
        queued = queue()
        waiting = [job for job in jobs if not any(submitted_as(p) in queued for p in job.paths)]
        for begin in range(0, len(waiting), LONGEST_ARRAY):
            submitted |= _submit_array(
                waiting[begin : begin + LONGEST_ARRAY], folder, work, options
            )
    return submitted


def queue() -> dict[str, str]:
    """SLURM's numbers of the user's jobs that wait or run, with state and reason.

    Raises `SlurmError` when SLURM does not answer.
    """
    command = ["squeue", "--me", "--array", "--noheader", "--format=%i|%T|%r"]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    except (OSError, subprocess.SubprocessError) as error:
        said = last_line(getattr(error, "stderr", None) or str(error))
        raise SlurmError(f"squeue does not answer: {said}") from error
    rows = [line.split("|", 2) for line in answer.stdout.splitlines()]
    return {
        number: state if reason == "None" else f"{state} ({reason})"
        for number, state, reason in rows
    }


def submitted_as(path: Path) -> str | None:
    """SLURM's number for the job that was last submitted for a run folder."""
    file = path / SUBMITTED
    return json.loads(file.read_text())["job"] if file.exists() else None


def last_words(path: Path) -> str:
    """What the SLURM job of a run folder, or SLURM about it, last printed as an error."""
    log = Path(json.loads((path / SUBMITTED).read_text())["log"])
    lines = log.read_text(errors="replace").splitlines() if log.exists() else []
    return next((line for line in reversed(lines) if "error" in line), "")


def forget(job: Job) -> None:
    """The job is carried out without SLURM from now on."""
    for path in job.paths:
        (path / SUBMITTED).unlink(missing_ok=True)


def _submit_array(
    jobs: Sequence[Job], folder: Path, work: Work, options: Mapping[str, str | bool]
) -> dict[str, Job]:
    executor = SlurmExecutor(folder / LOGS, max_num_timeout=CONTINUATIONS)
    executor.update_parameters(job_name="interp", time=MINUTES, additional_parameters=dict(options))
    try:
        # submitit prints what sbatch says of a refusal.
        with contextlib.redirect_stderr(io.StringIO()), executor.batch():
            handles = [executor.submit(CarryOut(job, work)) for job in jobs]
    except FailedJobError as error:
        raise SlurmError(str(error).partition("\n")[0]) from error
    for handle, job in zip(handles, jobs, strict=True):
        text = json.dumps({"job": handle.job_id, "log": str(handle.paths.stderr)})
        for path, recipe in zip(job.paths, job.recipes, strict=True):
            write_text(Run.create(path, recipe).path / SUBMITTED, text)
    return {handle.job_id: job for handle, job in zip(handles, jobs, strict=True)}
