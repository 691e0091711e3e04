"""The demo: one network of each kind, from scratch to one report."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from analysis.causal import write_circuit, write_patching
from analysis.evaluate import evaluate_run
from analysis.llc import LLCConfig
from analysis.llc.runs import coefficient_of, write_llc
from analysis.report import write_report
from interp.models.config import CompiledConfig, DecoderConfig, IterationHeadConfig, MLPConfig
from interp.progress import Show
from interp.runs.recipe import AdamW, Recipe, Schedule
from interp.runs.registry import COMPILED_SHAPE, named_model
from interp.runs.run import Run
from tasks.composition import GroupComposition
from tasks.iteration import Polynomial
from tasks.pairs import pairs_of_all_variables
from tasks.sequences import Peak
from training.progress import shown
from training.train import train

COEFFICIENT = LLCConfig(step_size=1e-3, localization=5.0, chains=4, draws=200, thin=2)
"""Of the group network along training."""
PAIRS = 50
"""Of inputs, for causal analysis."""


def demo_recipes(fast: bool = False) -> dict[str, list[Recipe]]:
    """What is trained or made, by the name of its runs; smaller and for fewer steps if `fast`.

    Two seeds of an MLP on C53, which grok; an iteration head, trained and set by hand; the program
    for peaks, compiled, and a network of its shape, trained.
    """
    group = Recipe(
        GroupComposition("C13" if fast else "C53", train_fraction=0.7 if fast else 0.5),
        MLPConfig(d_embed=16, d_mlp=48),
        AdamW(lr=5e-3),
        Schedule(steps=500 if fast else 3000, checkpoints=16 if fast else 40, log_every=50),
    )
    thought = Recipe(
        Polynomial(modulus=5, max_length=4 if fast else 8),
        DecoderConfig(d_model=16 if fast else 32),
        AdamW(lr=3e-3, betas=(0.9, 0.999), weight_decay=0.0),
        Schedule(steps=50 if fast else 1000, batch_size=256, checkpoints=8),
    )
    peak = Peak("0..3", max_length=5, n_sequences=500)
    made = Schedule(steps=0)
    trained_peak = Recipe(
        peak,
        named_model(COMPILED_SHAPE, peak),
        AdamW(lr=1e-2, betas=(0.9, 0.999), weight_decay=0.01),
        Schedule(steps=50 if fast else 600, batch_size=256, checkpoints=12, log_every=10),
    )
    return {
        "group": [group.with_seed(seed) for seed in range(1 if fast else 2)],
        "thought": [thought],
        "thought_by_hand": [replace(thought, model=IterationHeadConfig(), schedule=made)],
        "peak": [trained_peak],
        "peak_compiled": [Recipe(peak, CompiledConfig(), schedule=made, dtype="float64")],
    }


def run_demo(folder: Path, *, fast: bool, progress: Show) -> Path:
    """Train, compile, measure everything and write `report.html`; returns the page's path.

    Training and evaluation that were interrupted go on where they stopped.
    """
    found: list[Run] = []
    for name, recipes in demo_recipes(fast).items():
        runs = train(recipes, folder / "runs", name=name, progress=shown(progress))
        for run in runs:
            evaluate_run(run, progress=progress)
        _analyse(runs[0], "exact" if name.startswith("peak") else "eap", progress)
        found += runs
    which = coefficient_of(found[0], checkpoints="log")
    write_llc(found[0], which, COEFFICIENT, progress)
    page = folder / "report.html"
    write_report(found, page)
    return page


def _analyse(run: Run, method: str, progress: Show) -> None:
    """Patch the final network everywhere, and find its circuit."""
    model: Any = run.model()
    pairs = pairs_of_all_variables(run.recipe.task, PAIRS, "test", seed=0)
    folder = run.path / "causal"
    progress(f"{run.name}, causal", 0, 2, "patching")
    write_patching(run, model, pairs, folder / "patching")
    progress(f"{run.name}, causal", 1, 2, f"circuit by {method}")
    write_circuit(run, model, pairs, folder / f"circuit_{method}", method=method)
    progress(f"{run.name}, causal", 2, 2, "")
