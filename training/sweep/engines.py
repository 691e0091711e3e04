"""Jobs on this machine: one after another, or several processes at once."""

import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures.process import BrokenProcessPool
from typing import Any

from joblib import Parallel, delayed

from training.progress import Report
from training.sweep.job import Job, carry_out

Outcome = tuple[Job, list[str]]
"""A job that is over, and a line about each of its runs that is not finished."""

LIVES = 2
"""How often a job may be in work when a process dies, before it is given up."""


def here(jobs: Sequence[Job], device: str, progress: Report) -> Iterator[Outcome]:
    """One job after another, in this process."""
    for job in jobs:
        yield job, carry_out(job, device, progress)


def processes(jobs: Sequence[Job], device: str, workers: int) -> Iterator[Outcome]:
    """Several jobs at once, in the order in which they end.

    Each process has its share of the cores as threads, unless OMP_NUM_THREADS says otherwise. One
    that is killed takes the others with it; all but the job that kills them are then begun again.
    """
    left, deaths = list(jobs), Counter[Job]()
    while left:
        begun = time.time()
        parallel = Parallel(n_jobs=workers, backend="loky", return_as="generator_unordered")
        try:
            outcomes: Any = parallel(delayed(_outcome)(job, device) for job in left)
            for job, problems in outcomes:
                left.remove(job)
                yield job, problems
        except BrokenProcessPool:
            in_work = [job for job in left if _is_locked_since(job, begun)]
            if not in_work:
                raise
            deaths.update(in_work)
            for job in in_work:
                if deaths[job] == LIVES:
                    left.remove(job)
                    yield job, [f"{job.paths[0]}: its process was killed, {LIVES} times"]


def _outcome(job: Job, device: str) -> Outcome:
    return job, carry_out(job, device)


def _is_locked_since(job: Job, moment: float) -> bool:
    """Whether the job has a lock, of an owner that may be dead, from after a moment."""
    return job.lock_path.exists() and job.lock_path.stat().st_mtime >= moment
