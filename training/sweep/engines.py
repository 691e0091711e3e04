"""Jobs on this machine: one after another, or several processes at once."""

import time
from collections.abc import Iterator, Sequence
from concurrent.futures.process import BrokenProcessPool
from typing import Any

from joblib import Parallel, delayed

from training.progress import Report
from training.sweep.job import Job, Work, carry_out

Outcome = tuple[Job, list[str]]
"""A job that is over, and a line about each thing that failed."""


def here(jobs: Sequence[Job], work: Work, progress: Report) -> Iterator[Outcome]:
    """One job after another, in this process."""
    for job in jobs:
        yield job, carry_out(job, work, progress)


def processes(jobs: Sequence[Job], work: Work, workers: int) -> Iterator[Outcome]:
    """Several jobs at once, in the order in which they end.

    Each process has its share of the cores as threads, unless OMP_NUM_THREADS says otherwise. One
    that is killed takes the others with it. Those jobs that were in work then are carried out one
    by one, which tells whether it was the job that killed its process; then the others go on.
    """
    left = list(jobs)
    while left:
        begun = time.time()
        try:
            for job, problems in _in_pool(left, work, workers):
                left.remove(job)
                yield job, problems
        except BrokenProcessPool:
            in_work = [job for job in left if _is_locked_since(job, begun)]
            if not in_work:
                raise
            for job in in_work:
                left.remove(job)
                yield job, _by_itself(job, work)


def _in_pool(jobs: Sequence[Job], work: Work, workers: int) -> Iterator[Outcome]:
    parallel = Parallel(n_jobs=workers, backend="loky", return_as="generator_unordered")
    outcomes: Any = parallel(delayed(_outcome)(job, work) for job in list(jobs))
    yield from outcomes


def _by_itself(job: Job, work: Work) -> list[str]:
    """What becomes of a job that is alone in a pool: of two, since one would be this process."""
    try:
        ((_, problems),) = _in_pool([job], work, workers=2)
        return problems
    except BrokenProcessPool:
        return [f"{job.paths[0]}: its process was killed, and again when it was by itself"]


def _outcome(job: Job, work: Work) -> Outcome:
    return job, carry_out(job, work)


def _is_locked_since(job: Job, moment: float) -> bool:
    """Whether the job has a lock, of an owner that may be dead, from after a moment."""
    return job.lock_path.exists() and job.lock_path.stat().st_mtime >= moment
