"""The publication's figures for runs: `python -m paper.figures RUN ... --out DIR`.

Each run gets a folder with `figures.html` (all its figures, interactive, in one file that needs no
other) and every figure as PNG and SVG; runs that differ in their seeds alone get another folder
with their common figures.
"""

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import plotly.graph_objects as go
from tyro.conf import Positional

from analysis.describe import same_but_seeds
from analysis.plots.gallery import Figures, curve_figures, model_figures, seed_figures
from analysis.plots.page import page
from interp.arguments import UsageError, complain
from interp.runs.run import Run, find_runs
from paper.command import run_module
from tasks.atomic import write_text

WIDTH = 900
"""Of static pictures, in pixels; a PNG has twice as many."""


@dataclass(frozen=True)
class Options:
    """Draw the publication's figures for runs."""

    runs: Positional[tuple[Path, ...]] = ()
    """Run folders, or folders of them."""
    out: Path = Path("figures")
    """Folder for the pictures."""
    static: bool = True
    """Write PNG and SVG beside the HTML (needs Chromium)."""


def figures_of(runs: list[Run]) -> dict[str, Figures]:
    """Figures by the folder they go to: one a run, and one for each set of seeds."""
    names = [run.name for run in runs]
    folders = {
        run.name if names.count(run.name) == 1 else f"{run.path.parent.name}_{run.name}": (
            curve_figures([run]) | model_figures(run)
        )
        for run in runs
    }
    for group in same_but_seeds(runs):
        if len(group) > 1:
            name = f"{group[0].name.rpartition('_seed')[0] or group[0].name}_{len(group)}_seeds"
            if name in folders:  # the same names, but other recipes, in another folder
                name = f"{group[0].path.parent.name}_{name}"
            folders[name] = curve_figures(group) | seed_figures(group)
    return folders


def write_static(figures: Mapping[Path, go.Figure]) -> None:
    """Write each figure beside its path without suffix as PNG and SVG, all in one browser.

    Without a Chromium that works there are none, and a line on stderr says so.
    """
    import kaleido
    from choreographer.errors import BrowserFailedError, ChromeNotFoundError

    pictures = [
        {
            "fig": figure,
            "path": path.with_name(f"{path.name}.{form}"),
            "opts": {
                "format": form,
                "width": WIDTH,
                "height": figure.layout.height or 440,
                "scale": 2 if form == "png" else 1,
            },
        }
        for path, figure in figures.items()
        for form in ("png", "svg")
    ]
    try:
        # Without MathJax, which would come from the network.
        kaleido.write_fig_from_object_sync(pictures, kopts={"mathjax": False})
    except (ChromeNotFoundError, BrowserFailedError):
        complain(
            "static pictures need Chromium or Chrome (`apt-get install chromium`; BROWSER_PATH "
            "names one elsewhere); all else is written"
        )


def draw(options: Options) -> int:
    """Write the figures; the work of `python -m paper.figures`."""
    if not options.runs:
        raise UsageError("name at least one run folder")
    runs = [run for path in options.runs for run in find_runs(path)]
    static: dict[Path, go.Figure] = {}
    for folder, figures in figures_of(runs).items():
        if not figures:
            complain(f"{folder} has no history, measurements or checkpoints: nothing to draw")
            continue
        write_text(options.out / folder / "figures.html", page(folder, figures))
        print(options.out / folder / "figures.html")
        static |= {options.out / folder / name: figure for name, figure in figures.items()}
    if options.static and static:
        write_static(static)
    return 0


if __name__ == "__main__":
    sys.exit(run_module(Options, "paper.figures", draw))
