"""Jobs on this machine: one after another, or several processes at once."""

import time
from collections.abc import Iterator, Sequence
from concurrent.futures.process import BrokenProcessPool
from typing import Any

from joblib import Parallel, delayed

from training.progress import Report
from training.sweep.job import Job, carry_out

Outcome = tuple[Job, list[str]]
"""A job that is over, and a line about each of its runs that is not finished."""


def here(jobs: Sequence[Job], device: str, progress: Report) -> Iterator[Outcome]:
    """One job after another, in this process."""
    for job in jobs:
        yield job, carry_out(job, device, progress)


def processes(jobs: Sequence[Job], device: str, workers: int) -> Iterator[Outcome]:
    """Several jobs at once, in the order in which they end.

    Each process has its share of the cores as threads, unless OMP_NUM_THREADS says otherwise. One
    that is killed takes the others with it. Those jobs that were in work then are carried out one
    by one, which tells whether it was the job that killed its process; then the others go on.
    """
    left = list(jobs)
    while left:
        begun = time.time()
        try:
            for job, problems in _in_pool(left, device, workers):
                left.remove(job)
                yield job, problems
        except BrokenProcessPool:
            in_work = [job for job in left if _is_locked_since(job, begun)]
            if not in_work:
                raise
            for job in in_work:
                left.remove(job)
                yield job, _by_itself(job, device)


def _in_pool(jobs: Sequence[Job], device: str, workers: int) -> Iterator[Outcome]:
    parallel = Parallel(n_jobs=workers, backend="loky", return_as="generator_unordered")
    outcomes: Any = parallel(delayed(_outcome)(job, device) for job in list(jobs))
    yield from outcomes


def _by_itself(job: Job, device: str) -> list[str]:
    """What becomes of a job that is alone in a pool: of two, since one would be this process."""
    try:
        ((_, problems),) = _in_pool([job], device, workers=2)
        return problems
    except BrokenProcessPool:
        return [f"{job.paths[0]}: its process was killed, and again when it was by itself"]


def _outcome(job: Job, device: str) -> Outcome:
    return job, carry_out(job, device)


def _is_locked_since(job: Job, moment: float) -> bool:
    """Whether the job has a lock, of an owner that may be dead, from after a moment."""
    return job.lock_path.exists() and job.lock_path.stat().st_mtime >= moment
