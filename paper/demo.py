"""The demo: a small group network from scratch to a report."""

from pathlib import Path

from analysis.evaluate import evaluate_run
from analysis.report import write_report
from interp.models.config import MLPConfig
from interp.progress import Show
from interp.runs.recipe import AdamW, Recipe, Schedule
from tasks.composition import GroupComposition
from training.progress import shown
from training.train import train


def demo_recipes(fast: bool = False) -> list[Recipe]:
    """Three seeds of the MLP on C59, which groks with few key frequencies; one on C23 if `fast`."""
    recipe = Recipe(
        task=GroupComposition("C23" if fast else "C59", train_fraction=0.7 if fast else 0.6),
        model=MLPConfig(d_mlp=48),
        optimizer=AdamW(lr=2e-3),
        schedule=Schedule(steps=2_000 if fast else 5_000, checkpoints=30 if fast else 60),
    )
    return [recipe.with_seed(seed) for seed in range(1 if fast else 3)]


def run_demo(folder: Path, *, fast: bool, progress: Show) -> Path:
    """Train, evaluate every checkpoint and write `report.html`; returns the page's path.

    A demo that was interrupted goes on where it stopped.
    """
    runs = train(demo_recipes(fast), folder / "runs", progress=shown(progress))
    for run in runs:
        evaluate_run(run, progress=progress)
    page = folder / "report.html"
    write_report(runs, page)
    return page
