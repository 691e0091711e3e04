"""Measuring a run: every metric at every checkpoint, once, in as many processes as wanted."""

import os
import signal
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, field, replace
from functools import cached_property
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch.nn import Module

from analysis.metric_sets import (
    VERSION,
    MetricSet,
    has_representation_metrics,
    metric_sets,
    tidy,
)
from analysis.records import Records
from analysis.representation.key_irreps import KeyIrreps, find_key_irreps
from interp.models.device import resolve_device
from interp.progress import Show
from interp.runs.registry import import_user_module
from interp.runs.run import Run, RunError
from tasks.composition import GroupComposition

WRITE_EVERY = 20.0
"""Seconds between two writes of what was measured."""


@dataclass(frozen=True)
class Problem:
    """Something that could not be measured."""

    run: str
    step: int
    metric: str
    """The metrics or metric set, or `checkpoint` when its weights cannot be used."""
    reason: str

    def __str__(self) -> str:
        return f"{self.run}, step {self.step}, {self.metric}: {self.reason}"


def evaluate_run(
    run: Run,
    *,
    final: bool = False,
    metrics: Sequence[str] = (),
    workers: int = 1,
    device: str = "auto",
    progress: Show | None = None,
) -> list[Problem]:
    """Measure a run's checkpoints and write `metrics.parquet` and `summary.json`.

    What was measured before is not measured again, unless it became stale: the key irreps changed
    with further training, or the source of a user's metric did. Results are written every 20
    seconds and at the end, so an evaluation that was stopped goes on where it was.

    Args:
        run: its folder is locked meanwhile.
        final: measure the newest checkpoint only.
        metrics: the user's own, as `module:function`, see `analysis.metric_sets`.
        workers: processes; each takes a checkpoint at a time.
        device: as in `interp.models.device.resolve_device`.
        progress: told of each checkpoint done.

    Returns:
        What could not be measured: damaged checkpoints, metrics that failed or were not finite.
        All else is written.

    Raises:
        ValueError: a metric or the device does not exist, or no checkpoint can be read.
        LockedError: another process is at work on the run.
    """
    where = resolve_device(device)
    metric_sets(metrics, None)  # names a metric that does not exist before anything is written
    with run.locked():
        training = run.training_status()
        run.write_status("evaluating", training=training)
        try:
            return _evaluate(run, final, tuple(metrics), workers, where, progress)
        finally:
            run.write_json("status.json", training)


def is_evaluated(run: Run, *, final: bool = False) -> bool:
    """Whether `evaluate_run` has nothing to do, as far as its own records tell."""
    summary = run.summary()
    if not run.steps or summary.get("step") != run.final_step:
        return False
    key_irreps = summary.get("key_irreps")
    sets = metric_sets((), None if key_irreps is None else tuple(key_irreps))
    return not _missing(run, sets, Records(run, sets, None), final)


def _evaluate(
    run: Run,
    final: bool,
    metrics: tuple[str, ...],
    workers: int,
    device: torch.device,
    progress: Show | None,
) -> list[Problem]:
    key_irreps = _key_irreps(run, device)
    names = None if key_irreps is None else key_irreps.names
    sets = metric_sets(metrics, names)
    records = Records(run, sets, key_irreps)
    work = _missing(run, sets, records, final)
    problems: list[Problem] = []
    written = time.monotonic()
    try:
        results = _results(Bench(run.path, metrics, names, device), work, workers)
        for done, result in enumerate(results, 1):
            problems += result.problems
            for name, rows in result.rows.items():
                records.add(name, result.step, rows)
            if time.monotonic() - written > WRITE_EVERY:
                records.write()
                written = time.monotonic()
            if progress:
                progress(run.name, done, len(work), f"step {result.step}")
    finally:
        records.write()
    return sorted(problems, key=lambda problem: problem.step)


def _key_irreps(run: Run, device: torch.device) -> KeyIrreps | None:
    """Those of the newest readable checkpoint, if the run has representation metrics."""
    summary = run.summary()
    known = summary.get("metric_sets", {}).get("representation", {}).get("fingerprint", "")
    if known.startswith(f"{VERSION}:") and summary["step"] == run.final_step:
        return KeyIrreps(tuple(summary["key_irreps"]), summary["key_irreps_rule"])
    model, task = _newest_model(run).to(device), run.recipe.task
    if isinstance(task, GroupComposition) and has_representation_metrics(model, task):
        return find_key_irreps(model, task)
    return None


def _newest_model(run: Run) -> Module:
    """The newest checkpoint that can be read. Raises the newest one's error if none can."""
    error = None
    for step in sorted([*run.steps, run.final_step], reverse=True):
        try:
            return run.model(step)
        except RunError as found:
            error = error or found
    assert error is not None
    raise error


@dataclass(frozen=True)
class Work:
    """What is to be measured at a step."""

    step: int
    sets: tuple[str, ...]


@dataclass
class Result:
    """What came of it, by metric set."""

    step: int
    rows: dict[str, pd.DataFrame] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)


@dataclass(frozen=True)
class Bench:
    """Measures one checkpoint after another. Each worker has its own."""

    path: Path
    metrics: tuple[str, ...]
    key_irreps: tuple[str, ...] | None
    device: torch.device

    @cached_property
    def run(self) -> Run:
        return Run(self.path)

    @cached_property
    def sets(self) -> tuple[MetricSet, ...]:
        return metric_sets(self.metrics, self.key_irreps)

    def __call__(self, work: Work) -> Result:
        result = Result(work.step)
        try:
            model = self.run.model(work.step).to(self.device)
        except RunError as error:
            result.problems.append(Problem(self.run.name, work.step, "checkpoint", str(error)))
            return result
        for metric_set in self.sets:
            if metric_set.name in work.sets:
                self._measure(metric_set, model, result)
        return result

    def _measure(self, metric_set: MetricSet, model: Module, result: Result) -> None:
        try:
            rows = tidy(metric_set.measure(model, self.run.recipe.task))
        except Exception as error:  # a user's metric may raise anything
            reason = f"{type(error).__name__}: {error}"
            result.problems.append(Problem(self.run.name, result.step, metric_set.name, reason))
            return
        finite = np.isfinite(rows["value"])
        if not finite.all():
            names = ", ".join(rows.loc[~finite, "metric"].unique())
            result.problems.append(Problem(self.run.name, result.step, names, "not finite"))
        result.rows[metric_set.name] = rows.loc[finite]


def _missing(run: Run, sets: Sequence[MetricSet], records: Records, final: bool) -> list[Work]:
    """What is to be done, the final step first: what is looked at first is there first."""
    return [
        Work(step, missing)
        for step in ([run.final_step] if final else run.steps[::-1])
        if (missing := tuple(s.name for s in sets if not records.is_done(s.name, step)))
    ]


def _results(bench: Bench, work: Sequence[Work], workers: int) -> Iterator[Result]:
    """In the order of `work`, or with several workers as they come."""
    workers = min(workers, len(work))
    if workers <= 1:
        yield from map(bench, work)
        return
    threads = max(1, _cores() // workers)
    recipe = bench.run.recipe
    modules = (type(recipe.task).__module__, type(recipe.model).__module__)
    arguments = (replace(bench), modules, threads)  # without what this process has cached
    pool = ProcessPoolExecutor(workers, get_context("spawn"), _start_worker, arguments)
    try:
        for future in as_completed([pool.submit(_measure_in_worker, one) for one in work]):
            yield future.result()
    finally:
        pool.shutdown(cancel_futures=True)


_bench: Bench | None = None
"""A worker's own."""


def _start_worker(bench: Bench, modules: Sequence[str], threads: int) -> None:
    global _bench
    _bench = bench
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent hears it too, and says what to do
    torch.set_num_threads(threads)
    for module in modules:  # the user allowed them where the run was opened
        import_user_module(module)


def _measure_in_worker(work: Work) -> Result:
    assert _bench is not None
    return _bench(work)


def _cores() -> int:
    affinity = getattr(os, "sched_getaffinity", None)  # what this process may use; Linux only
    return len(affinity(0)) if affinity else os.cpu_count() or 1
