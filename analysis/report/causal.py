"""What causal analyses of a run found, from what `interp patch` and `interp circuit` wrote."""

from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import plotly.graph_objects as go

from analysis.causal import FAITHFUL, fewest_faithful
from analysis.plots.page import read_figures
from interp.runs.run import Run


def causal_figures(run: Run) -> dict[str, go.Figure]:
    """The pictures of all its analyses, by the names of their folders and their own."""
    return {
        f"{path.parent.name}_{name}": figure
        for path in sorted((run.path / "causal").glob("*/*.figures.json"))
        for name, figure in read_figures(path).items()
    }


def on_circuits(run: Run) -> list[str]:
    """A sentence about each circuit that was looked for."""
    return [_sentence(folder) for folder in _circuits(run)]


def _circuits(run: Run) -> Iterator[Path]:
    yield from (path.parent for path in sorted((run.path / "causal").glob("*/curve.csv")))


def _sentence(folder: Path) -> str:
    curve = pd.read_csv(folder / "curve.csv")
    sentence = (
        f"Circuit ({folder.name.removeprefix('circuit_').replace('_', ' ')}): "
        f"{fewest_faithful(curve)} of {len(curve) - 1} edges do {FAITHFUL:.0%} of what "
        "the network does"
    )
    if (folder / "truth.csv").exists():
        truth = pd.read_csv(folder / "truth.csv").iloc[0]
        sentence += f"; against the true circuit, the area under the ROC is {truth['auroc']:.3f}"
    return sentence + "."
