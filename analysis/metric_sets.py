"""Sets of metrics: which of them fit a run, and how a user adds one.

A metric set is a function of (model, task) that returns its metrics by name: each a number, or
numbers by component, or all as a tidy table with the columns metric, component, value.
"""

import hashlib
import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import cast

import pandas as pd
from torch.nn import Module

from analysis.iteration import iteration_metrics
from analysis.metrics import METRICS
from analysis.representation.measure import representation_metrics
from analysis.scores import standard_metrics
from interp.arguments import nearest
from interp.models.anatomy import hidden_layer
from interp.models.transformer import TaskTransformer
from interp.runs.registry import import_user_module
from tasks.composition import GroupComposition
from tasks.iteration import IterationTask
from tasks.task import Task

VERSION = "1"
"""To be raised when a built-in metric changes, so that runs are measured again."""

Measured = Mapping[str, float] | Mapping[str, Mapping[str, float]] | pd.DataFrame
Measure = Callable[[Module, Task], Measured]


class MetricError(ValueError):
    """A metric that cannot be found, or whose result cannot be read."""


@dataclass(frozen=True)
class MetricSet:
    """Metrics that are measured together at a checkpoint."""

    name: str
    measure: Measure
    fingerprint: str
    """What the values depend on besides checkpoint and task: when it changes they are stale."""


def metric_sets(
    references: Sequence[str], key_irreps: tuple[str, ...] | None
) -> tuple[MetricSet, ...]:
    """The metrics of a run: those built in, then the user's, given as `module:function`.

    `key_irreps` are those of the run's final checkpoint, whatever checkpoint is measured; None
    for a run that has no representation metrics.

    Raises `MetricError` for a function that is not there.
    """
    if key_irreps is None:
        built_in = MetricSet("standard", _task_metrics, VERSION)
    else:
        measure = cast(Measure, partial(representation_metrics, key_irreps=key_irreps))
        built_in = MetricSet("representation", measure, f"{VERSION}:{','.join(sorted(key_irreps))}")
    return built_in, *map(_user_set, references)


def has_representation_metrics(model: Module, task: Task) -> bool:
    """Whether `task` is composition in a group and `model` of a known architecture."""
    if not isinstance(task, GroupComposition):
        return False
    try:
        hidden_layer(model)
    except ValueError:
        return False
    return True


def _task_metrics(model: Module, task: Task) -> Measured:
    """Those of chain of thought, where that is the task, else loss and accuracy."""
    if isinstance(task, IterationTask) and isinstance(model, TaskTransformer):
        return iteration_metrics(model, task)
    return standard_metrics(model, task)


def _user_set(reference: str) -> MetricSet:
    """The function that `module:function` names, whose module is imported."""
    module_name, _, name = reference.partition(":")
    if not (module_name and name):
        raise MetricError(f"the metric {reference!r} must be given as module:function")
    module = import_user_module(module_name)
    function = getattr(module, name, None)
    if not callable(function):
        choices = [n for n, _ in inspect.getmembers(module, inspect.isfunction)]
        raise MetricError(f"{module_name} has no function {name!r}{nearest(name, choices)}")
    try:
        source = inspect.getsource(module)
    except (OSError, TypeError) as error:
        raise MetricError(f"{module_name} is no module of Python source") from error
    fingerprint = hashlib.sha256(source.encode()).hexdigest()[:16]
    return MetricSet(reference, partial(_user_metrics, cast(Measure, function)), fingerprint)


def _user_metrics(function: Measure, model: Module, task: Task) -> pd.DataFrame:
    """What a user's metric returned, if its names are not taken."""
    rows = tidy(function(model, task))
    taken = {metric.name for metric in METRICS}
    for name in rows["metric"]:
        if "/" not in name or name in taken:
            raise MetricError(f"a metric cannot be named {name!r}: name it such as mine/{name}")
    return rows


def tidy(measured: object) -> pd.DataFrame:
    """What a metric set returned, as rows of metric, component, value.

    Raises `MetricError` when it returned something else.
    """
    columns = ["metric", "component", "value"]
    if isinstance(measured, pd.DataFrame):
        if missing := [column for column in columns if column not in measured]:
            raise MetricError(f"a table of metrics needs the column {missing[0]!r}")
        return measured.loc[:, columns].astype({"value": "float64"})
    if not isinstance(measured, Mapping):
        raise MetricError(
            f"a metric returned {type(measured).__name__}: it must return a mapping of names to "
            "numbers (or to mappings of components to numbers) or a table"
        )
    rows = [
        (metric, component, float(value))
        for metric, values in measured.items()
        for component, value in (values if isinstance(values, Mapping) else {"": values}).items()
    ]
    return pd.DataFrame(rows, columns=columns)
