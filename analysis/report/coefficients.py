"""Local learning coefficients of runs, from what `interp llc` wrote."""

from collections.abc import Sequence
from typing import Any

import pandas as pd
import plotly.graph_objects as go

from analysis.plots.llc import llc_curve_figure
from interp.runs.run import Run


def coefficient_figures(runs: Sequence[Run]) -> dict[str, go.Figure]:
    """A figure for each coefficient with a curve for each run, hollow where a check failed."""
    return {
        f"llc_{name}": llc_curve_figure(curves, title=f"Local learning coefficient{_of(name)}")
        for name, curves in _curves(runs).items()
    }


def on_coefficients(runs: Sequence[Run]) -> list[str]:
    """A sentence about each coefficient."""
    return [_sentence(name, pd.concat(curves.values())) for name, curves in _curves(runs).items()]


def _curves(runs: Sequence[Run]) -> dict[str, dict[str, pd.DataFrame]]:
    """By the coefficient's name and the run's, the estimates as `llc_curve_figure` draws them."""
    found: dict[str, dict[str, pd.DataFrame]] = {}
    for run in runs:
        for path in sorted((run.path / "llc").glob("*.json")):
            checkpoints = run.read_json(f"llc/{path.name}").get("checkpoints", [])
            rows = [_row(checkpoint) for checkpoint in checkpoints]
            if rows:
                found.setdefault(path.stem, {})[run.name] = pd.DataFrame(rows)
    return found


def _row(checkpoint: dict[str, Any]) -> dict[str, Any]:
    missing = float("nan")
    return {
        "step": checkpoint["step"],
        "value": checkpoint.get("llc/unchecked", missing),
        "low": checkpoint.get("llc/low", missing),
        "high": checkpoint.get("llc/high", missing),
        "failures": "; ".join(c["reason"] for c in checkpoint["checks"] if not c["passed"]),
    }


def _sentence(name: str, table: pd.DataFrame) -> str:
    passed = sum(failure == "" for failure in table["failures"])
    if len(table) > 1:
        others = "" if passed == len(table) else "; the others are hollow in the picture"
        return (
            f"Of {len(table)} local learning coefficients{_of(name)}, over checkpoints and runs, "
            f"{passed} pass all checks{others}."
        )
    row = table.iloc[0]
    if not passed:
        return f"There is no local learning coefficient{_of(name)}: {row['failures']}."
    interval = f"95% interval {row['low']:.4g} to {row['high']:.4g}"
    return f"Its local learning coefficient{_of(name)} is {row['value']:.4g} ({interval})."


def _of(name: str) -> str:
    return "" if name == "all" else f" ({name})"
