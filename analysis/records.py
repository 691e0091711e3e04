"""What was measured of a run: which of it is done, and how it reaches the disk."""

from collections.abc import Sequence
from typing import Any

import pandas as pd

from analysis.metric_sets import MetricSet
from analysis.representation.key_irreps import KeyIrreps, learning_order
from interp.runs.run import Run

ROW = ["step", "metric", "component"]
"""What identifies a measurement."""


class Records:
    """A run's measurements, those on disk and those since.

    `summary.json` remembers under `metric_sets` each set's fingerprint and the names of its
    metrics. A set is done at a step where all of these have rows.
    """

    def __init__(self, run: Run, sets: Sequence[MetricSet], key_irreps: KeyIrreps | None) -> None:
        self.run = run
        self.key_irreps = key_irreps
        self.table: pd.DataFrame = run.metrics()
        self._new: list[pd.DataFrame] = []
        self.sets: dict[str, Any] = run.summary().get("metric_sets", {})
        for wanted in sets:
            known = self.sets.get(wanted.name, {"fingerprint": None, "metrics": []})
            if known["fingerprint"] != wanted.fingerprint:
                self.table = self.table.loc[~self.table["metric"].isin(known["metrics"])]
                self.sets[wanted.name] = {"fingerprint": wanted.fingerprint, "metrics": []}

    def is_done(self, name: str, step: int) -> bool:
        """Whether the table has all metrics of that set at `step`."""
        metrics = set(self.sets[name]["metrics"])
        return bool(metrics) and metrics <= set(
            self.table.loc[self.table["step"] == step, "metric"]
        )

    def add(self, name: str, step: int, rows: pd.DataFrame) -> None:
        """Take up what a set measured."""
        known = self.sets[name]
        known["metrics"] = sorted({*known["metrics"], *rows["metric"]})
        self._new.append(rows.assign(step=step).loc[:, [*ROW, "value"]])

    def write(self) -> None:
        """Replace `metrics.parquet`, then `summary.json`; nothing when nothing was measured.

        In this order a kill in between costs time, but leaves no stale value that looks fresh.
        """
        table = pd.concat([self.table, *self._new]).drop_duplicates(ROW, keep="last")
        self.table, self._new = table.sort_values("step", kind="stable"), []
        if not self.table.empty:
            self.run.write_metrics(self.table)
            self.run.write_json("summary.json", self._summary())

    def _summary(self) -> dict[str, Any]:
        step = int(self.table["step"].to_numpy().max())
        final = self.table.loc[self.table["step"] == step]
        summary: dict[str, Any] = {"step": step}
        if self.key_irreps is not None:
            summary["key_irreps"] = learning_order(self.table, self.key_irreps.names)
            summary["key_irreps_rule"] = self.key_irreps.rule
        return summary | flat(final) | {"metric_sets": self.sets}


def flat(rows: pd.DataFrame) -> dict[str, float]:
    """A step's measurements by the names that they have in `summary.json`."""
    names = zip(rows["metric"], rows["component"], strict=True)
    keys = [f"{metric}[{component}]" if component else metric for metric, component in names]
    return dict(zip(keys, rows["value"].tolist(), strict=True))


def replace_rows(run: Run, metrics: Sequence[str], component: str, rows: pd.DataFrame) -> None:
    """Write measurements that no metric set makes, in place of all of these of that component.

    The summary, where there is one, stays that of its step: what else it holds was measured there.
    """
    table = run.metrics()
    is_old = table["metric"].isin(metrics) & (table["component"] == component)
    kept = [part for part in (table.loc[~is_old], rows) if len(part)]
    table = pd.concat(kept).sort_values("step", kind="stable")
    run.write_metrics(table.loc[:, [*ROW, "value"]])
    if summary := run.summary():
        old = flat(pd.DataFrame({"metric": list(metrics), "component": component, "value": 0.0}))
        left = {name: value for name, value in summary.items() if name not in old}
        new = flat(rows.loc[rows["step"] == summary["step"]])
        run.write_json("summary.json", left | new)
