"""The README's picture: `python -m paper.front demo/runs --out docs`, after `interp demo`."""

import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import plotly.graph_objects as go
from tyro.conf import Positional

from analysis.plots.gallery import curve_figures
from analysis.plots.page import read_figures
from interp.runs.run import Run
from paper.chain_of_thought.plots import panels, place
from paper.command import run_module
from paper.figures import write_static


@dataclass(frozen=True)
class Panel:
    """A figure of a run, and what of it is shown."""

    title: str
    run: str
    figure: Callable[[Run], go.Figure]
    labels: dict[str, str] = field(default_factory=dict)
    """Of curves, by their names in the figure; the others are left out, if there are labels."""
    y: str = ""
    """The title of the vertical axis, if it is not the figure's."""


PANELS = (
    Panel(
        "A network groks composition in C53",
        "group_seed0",
        lambda run: curve_figures([run])["hidden_losses"],
        {"train": "train", "test": "test", "excluded": "train, without<br>key irreps"},
    ),
    Panel(
        "Its logits are made of few irreps",
        "group_seed0",
        lambda run: curve_figures([run])["logits_similarity_by_irrep"],
    ),
    Panel(
        "A chain of thought makes an iteration head",
        "thought_seed0",
        lambda run: curve_figures([run])["attention_above_half_by_component"],
        {
            "L0H0:EoI": "first layer, to<br>the input's end",
            "L1H0:x_t": "second layer,<br>to input t",
        },
        "share of attention above 1/2",
    ),
    Panel(
        "The circuit of a compiled program, found",
        "peak_compiled_seed0",
        lambda run: read_figures(run.path / "causal/circuit_exact/circuit.figures.json")["circuit"],
    ),
)
COLUMNS = 2
ROOM_FOR_LABELS = [0, 5]
"""The range of the logarithm of the step where curves have labels."""


@dataclass(frozen=True)
class Options:
    """Draw the README's picture."""

    runs: Positional[Path] = Path("demo/runs")
    """The runs of `interp demo`."""
    out: Path = Path("docs")
    """Folder for front.svg and front.png."""


def front_figure(runs: Path) -> go.Figure:
    """A panel for each kind of network. Raises `RunError` where a run of the demo is missing."""
    titles = [panel.title for panel in PANELS]
    drawn = panels(titles, COLUMNS, "", 300, horizontal_spacing=0.12, vertical_spacing=0.2)
    for i, panel in enumerate(PANELS):
        _add(drawn, panel, panel.figure(Run(runs / panel.run)), place(i, COLUMNS))
    drawn.update_annotations(selector={"yanchor": "bottom"}, font_size=16)
    return drawn.update_layout(title=None, height=760, margin={"t": 50, "b": 60, "r": 30})


def _add(drawn: go.Figure, panel: Panel, figure: go.Figure, where: dict[str, Any]) -> None:
    """The figure's curves, axes, shapes and notes, in a panel."""
    for curve in figure.data:
        if panel.labels and curve.name not in panel.labels:
            continue
        drawn.add_trace(curve.update(showlegend=False), **where)
        if panel.labels:
            _label(drawn, curve, panel.labels[curve.name], where)
    drawn.update_xaxes(_axis(figure.layout.xaxis), **where)
    drawn.update_yaxes(_axis(figure.layout.yaxis), **where)
    if panel.y:
        drawn.update_yaxes(title_text=panel.y, **where)
    if panel.labels:
        drawn.update_xaxes(range=ROOM_FOR_LABELS, **where)
    for shape in figure.layout.shapes:
        drawn.add_shape(shape, **where)
    for note in figure.layout.annotations:
        drawn.add_annotation(note, **where)


def _axis(axis: Any) -> dict[str, Any]:
    kept = ("title", "type", "range", "visible", "dtick")
    return {name: axis[name] for name in kept if axis[name] is not None}


def _label(drawn: go.Figure, curve: Any, label: str, where: dict[str, Any]) -> None:
    """A curve's name, where it ends."""
    drawn.add_scatter(
        x=curve.x[-1:],
        y=curve.y[-1:],
        mode="text",
        text=f" {label}".replace("<br>", "<br> "),
        textposition="bottom right",
        textfont={"color": curve.line.color},
        cliponaxis=False,
        showlegend=False,
        **where,
    )


def draw(options: Options) -> int:
    """Write the picture; the work of `python -m paper.front`."""
    write_static({options.out / "front": front_figure(options.runs)})
    print(options.out / "front.svg")
    return 0


if __name__ == "__main__":
    sys.exit(run_module(Options, "paper.front", draw))
