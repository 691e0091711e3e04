"""The coefficients of a run's checkpoints: rows of its metrics, and files in its folder."""

import dataclasses
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from math import isfinite
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import torch

from analysis.llc.calibrate import Calibration, calibrate_llc
from analysis.llc.config import LLCConfig
from analysis.llc.estimate import LLCEstimate, llc_estimates
from analysis.llc.landscape import Loss, NetworkLandscape
from analysis.llc.parts import restriction_to
from analysis.llc.restriction import Restriction
from analysis.llc.sampling import Trace, joined
from analysis.llc.stored import write_trace
from analysis.metrics import LLC_METRICS
from analysis.plots.llc import calibration_figure, checks_figure, llc_curve_figure, trace_figure
from analysis.plots.page import page
from analysis.records import replace_rows
from interp.models.config import CompiledConfig, IterationHeadConfig
from interp.progress import Show
from interp.runs.run import Run
from tasks.atomic import write_text
from tasks.task import Split

Checkpoints = Literal["all", "final", "log"]
LOG_SPACED = 12
COPIES = 5
"""Vectors of all parameters that a step of a chain needs at a time, at most."""
BYTES, CUDA_BYTES = 2**28, 2**33
"""Of these vectors at a time, on the processor and on a GPU."""
MOST_TRACES = 12
"""Checkpoints whose chains are drawn on the page."""


@dataclass(frozen=True, eq=False)
class Coefficient:
    """Which local learning coefficient of a run: at which checkpoints, of what.

    Attributes:
        steps: of the checkpoints, which are the landscape's centres.
        loss, split: of the landscape.
        restriction: which directions move.
    """

    steps: list[int]
    landscape: NetworkLandscape
    loss: Loss
    split: Split
    restriction: Restriction

    @property
    def name(self) -> str:
        """What is other than all parameters, the task's loss and the training set."""
        usual = {"all": self.restriction.name, "task": self.loss, "train": self.split}
        return ",".join(own for default, own in usual.items() if own != default)

    def title(self, run: Run) -> str:
        """What pictures of it are called."""
        return f"{run.name}, {self.name}" if self.name else run.name

    def path(self, run: Run, suffix: str) -> Path:
        """Where something about it is kept."""
        stem = re.sub(r"[^\w.+@-]+", "_", self.name) or "all"
        return run.path / "llc" / (stem + suffix)


def coefficient_of(
    run: Run,
    *,
    checkpoints: Checkpoints = "final",
    restrict: str | None = None,
    loss: Loss | None = None,
    split: Split = "train",
    dtype: torch.dtype | None = None,
    device: torch.device | str = "cpu",
) -> Coefficient:
    """Which coefficient is meant.

    Args:
        run: the network.
        checkpoints: the newest, all, or `log`: step 0 and about 12, evenly spaced in the logarithm
            of the step, to the newest.
        restrict: what moves, see `analysis.llc.parts`. Not given: `all`; but `body`, all but the
            unembedding, of networks that were made and not trained.
        loss: `task` or `kl`. Not given: `task`; but `kl` for networks that were made and choose
            between answers, whose weights are no minimum of the cross-entropy.
        split: the examples.
        dtype: of the sampling; the run's if not given.
        device: where it is done.

    Raises:
        ValueError: the run has no checkpoint, the split no examples, the network no such part; or
            the loss is the divergence of values.
    """
    is_made = isinstance(run.recipe.model, CompiledConfig | IterationHeadConfig)
    restrict = restrict or ("body" if is_made else "all")
    if loss is None:
        loss = "kl" if is_made and run.recipe.task.loss == "cross_entropy" else "task"
    steps, task = chosen_steps(run, checkpoints), run.recipe.task
    examples = task.examples(split)
    if not len(examples):
        raise ValueError(f"{task.name} has no examples in the split {split!r}")
    model = run.model(steps[-1], dtype).to(device)
    points = [{name: x.to(device) for name, x in run.weights(step).items()} for step in steps]
    kind = next(model.parameters()).dtype
    landscape = NetworkLandscape(model, examples, loss=loss, points=points, dtype=kind)
    return Coefficient(steps, landscape, loss, split, restriction_to(restrict, landscape, task))


def chosen_steps(run: Run, checkpoints: Checkpoints) -> list[int]:
    """The steps of some checkpoints, see `coefficient_of`. Raises `RunError` if there are none."""
    if checkpoints == "final" or run.final_step == 0:
        return [run.final_step]
    if checkpoints == "all":
        return run.steps
    trained = np.array([step for step in run.steps if step])
    wanted = np.geomspace(trained[0], trained[-1], LOG_SPACED)
    nearest = np.abs(np.log(trained / wanted[:, None])).argmin(axis=1)
    return sorted({*trained[nearest].tolist(), *(step for step in run.steps if not step)})


def write_llc(
    run: Run, which: Coefficient, config: LLCConfig, show: Show | None = None
) -> dict[int, LLCEstimate]:
    """Estimate a coefficient at all its checkpoints, and write all of it down.

    Writes the rows `llc/...` of `metrics.parquet`, whose component is the coefficient's name, and
    in the folder `llc` the settings with every check's value (`NAME.json`), the trace (`NAME.zarr`)
    and a page of pictures (`NAME.html`). What an earlier call wrote under this name is replaced.
    The run is locked meanwhile.

    Returns the estimates by step.

    Raises:
        ValueError: as `analysis.llc.sampling.sample` does.
        LockedError: another process is at work on the run.
    """
    with run.locked():
        found, trace = _estimated(which, config, show and partial(show, run.name))
        estimates = dict(zip(which.steps, found, strict=True))
        title = which.title(run)
        write_trace(trace, which.path(run, ".zarr"), [f"step_{step:07d}" for step in estimates])
        write_text(which.path(run, ".html"), page(title, _figures(title, estimates, trace)))
        about = {"settings": _settings(which, trace), "checkpoints": plain(estimates)}
        run.write_json(str(which.path(run, ".json").relative_to(run.path)), about)
        rows = [(step, *row) for step, estimate in estimates.items() for row in _values(estimate)]
        table = pd.DataFrame(rows, columns=["step", "metric", "value"])
        metrics = [metric.name for metric in LLC_METRICS]
        replace_rows(run, metrics, which.name, table.assign(component=which.name))
    return estimates


def write_calibration(
    run: Run, which: Coefficient, config: LLCConfig, budget: int, show: Show | None = None
) -> Calibration:
    """Choose settings for a coefficient, at its first checkpoint.

    Writes the sweep about them, `llc/NAME_calibration.csv`, and its picture (`.html`). Raises
    `ValueError` as `calibrate_llc` does.
    """
    told = show and partial(tell_estimate, partial(show, run.name), "calibrating", 0, 1)
    found = calibrate_llc(which.landscape, config, which.restriction, budget=budget, show=told)
    title = f"{which.title(run)}, step {which.steps[0]}"
    figures = {"sweep": calibration_figure(found.table, title=title)}
    write_text(which.path(run, "_calibration.csv"), found.table.to_csv(index=False))
    write_text(which.path(run, "_calibration.html"), page(title, figures))
    return found


def estimate_table(estimates: Mapping[int, LLCEstimate]) -> pd.DataFrame:
    """The estimates as `llc_curve_figure` draws them: step, value, low, high, failures."""
    rows = [
        (step, e.value, *e.interval, "; ".join(check.reason for check in e.failures))
        for step, e in estimates.items()
    ]
    return pd.DataFrame(rows, columns=["step", "value", "low", "high", "failures"])


def _estimated(which: Coefficient, config: LLCConfig, show: Any) -> tuple[list[LLCEstimate], Trace]:
    """The points in groups whose chains fit the memory together."""
    centres, estimates, traces = which.landscape.centres, [], []
    each = config.chains * centres.shape[1] * centres.element_size() * COPIES
    size = max(1, (CUDA_BYTES if centres.is_cuda else BYTES) // each)
    starts = range(0, len(centres), size)
    for i, start in enumerate(starts):
        group = range(start, min(start + size, len(centres)))
        told = show and partial(tell_estimate, show, f"step {which.steps[start]}", i, len(starts))
        landscape = which.landscape.about(group)
        found, trace = llc_estimates(landscape, config, which.restriction, show=told)
        estimates += found
        traces.append(trace)
    if show:
        show(len(starts) * config.steps, len(starts) * config.steps, "")
    return estimates, joined(traces, dim=0)


def tell_estimate(
    show: Callable[[int, int, str], None],
    what: str,
    group: int,
    groups: int,
    done: int,
    total: int,
    value: float,
) -> None:
    """Pass on how far a group of points is, with the running estimate of the first of them."""
    so_far = f": {value:.4g} so far" if isfinite(value) else ""  # it is not in burn-in
    show(group * total + done, groups * total, what + so_far)


def _values(estimate: LLCEstimate) -> Iterator[tuple[str, float]]:
    """The estimate's metrics; a number that failed is never called an estimate."""
    if not estimate.failures:
        low, high = estimate.interval
        yield "llc/estimate", estimate.value
        yield "llc/standard_error", estimate.standard_error
        yield "llc/low", low
        yield "llc/high", high
    yield "llc/failed_checks", float(len(estimate.failures))
    if isfinite(estimate.value):
        yield "llc/unchecked", estimate.value


def _settings(which: Coefficient, trace: Trace) -> dict[str, Any]:
    centres = which.landscape.centres
    return {
        **dataclasses.asdict(trace.config),
        "nbeta": float(trace.nbeta[0]),
        "burn_in": trace.config.burn_in_steps,
        "restriction": which.restriction.name,
        "moved": trace.last.shape[-1],
        "loss": which.loss,
        "split": which.split,
        "n_examples": trace.n_examples,
        "dtype": str(centres.dtype).removeprefix("torch."),
        "device": str(centres.device),
        "seconds": round(trace.seconds, 1),
        "versions": {package: version(package) for package in ("interp", "torch", "numpy")},
    }


def plain(estimates: Mapping[int, LLCEstimate]) -> list[dict[str, Any]]:
    """The estimates of checkpoints, by step, with every check, in values that JSON knows."""
    return [
        {
            "step": step,
            "says": str(estimate),
            **dict(_values(estimate)),
            "initial_loss": estimate.initial_loss,
            "chains": estimate.chains.tolist(),
            "checks": [dataclasses.asdict(check) for check in estimate.checks],
        }
        for step, estimate in estimates.items()
    ]


def _figures(
    title: str, estimates: Mapping[int, LLCEstimate], trace: Trace
) -> dict[str, go.Figure]:
    steps = list(estimates)
    shown = np.linspace(0, len(steps) - 1, min(MOST_TRACES, len(steps))).round().astype(int)
    traces = {
        f"trace {steps[i]}": trace_figure(trace, i, title=f"Chains at step {steps[i]}")
        for i in shown.tolist()
    }
    return {
        "curve": llc_curve_figure({title: estimate_table(estimates)}, title=title),
        "checks": checks_figure({f"step {step}": e.checks for step, e in estimates.items()}),
        **traces,
    }
