"""How right the estimates of learning coefficients are: `python -m paper.llc_accuracy --out OUT`.

Losses whose answer is known at finite temperature, ours beside devinterp's two generations, each of
which runs in an environment of its own (`--devinterp-1`, `--devinterp-2`). Writes
`llc_accuracy.csv` (plain numbers) and `llc_accuracy.md`.
"""

import sys
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Bool
from tyro.conf import Positional

from analysis.llc.checks import reach
from interp.progress import Show
from paper.command import Watched, refuse_unknown, run_watched
from paper.llc_cases import CASES, Reference, Setting, reference
from paper.llc_engines import Devinterp, PerChain, ours
from paper.tables import Table, markdown, write_files

DEVINTERP_REPETITIONS = 5
PAGE = """`estimate` is the mean over repetitions, `spread` a repetition's standard error.
`coverage` is how often its nominal 95% interval holds the reference, to be read where the bias of
the step, in such errors, is below 0.2; `passed` is how many repetitions pass all checks, and
`coverage passed` the coverage of those.

"""


@dataclass(frozen=True)
class Options(Watched):
    """Estimate learning coefficients that are known, many times over."""

    cases: Positional[tuple[str, ...]] = ()
    """Such as regular or crossing_11; all of them if none is named."""
    out: Path = Path("tables")
    """Folder for the tables."""
    repetitions: int = 400
    """Of ours, independent ones."""
    devinterp_1: Path | None = None
    """Python of an environment with devinterp 1.3.2."""
    devinterp_2: Path | None = None
    """The same with devinterp 2.0.1."""


def devinterp(setting: Setting, engines: dict[str, Devinterp], show: Show) -> dict[str, PerChain]:
    """Of each engine, the chains of several repetitions, taken in turns."""
    found: dict[str, list[list[float]]] = {name: [] for name in engines}
    for seed in range(DEVINTERP_REPETITIONS if engines else 0):
        for name, engine in engines.items():
            show(f"{setting.case} by devinterp", seed, DEVINTERP_REPETITIONS, name)
            found[name].append(engine.estimates(setting, seed))
    return {name: np.array(chains) for name, chains in found.items()}


def row(
    setting: Setting,
    engine: str,
    chains: PerChain,
    truth: Reference,
    passed: Bool[np.ndarray, "repetition"] | None = None,
) -> dict[str, Any]:
    """A line of the table. The interval is Student's, from the chains of a repetition."""
    config, coefficient = setting.config, setting.known.coefficient
    estimates, n_chains = chains.mean(axis=1), chains.shape[1]
    half = reach(1.0, n_chains) * chains.std(axis=1, ddof=1) / n_chains**0.5
    covered = abs(estimates - truth.value) <= half
    bias, spread = float(estimates.mean()) - truth.value, float(estimates.std(ddof=1))
    return {
        "case": setting.case,
        "loss": str(setting.known),
        "engine": engine,
        "sampler": config.sampler,
        "step_size": config.step_size,
        "nbeta": config.nbeta,
        "localization": config.localization,
        "batch_size": config.batch_size or "all",
        "chains": n_chains,
        "burn_in": config.burn_in_steps,
        "draws": config.draws,
        "thin": config.thin,
        "repetitions": len(chains),
        "estimate": float(estimates.mean()),
        "standard_error": spread / len(chains) ** 0.5,
        "reference": truth.value,
        "reference_error": truth.standard_error,
        "reference_kind": truth.kind,
        "relative_error": bias / truth.value,
        "lambda": coefficient.lambda_,
        "multiplicity": coefficient.multiplicity,
        "bias": bias,
        "spread": spread,
        "step_bias_in_errors": (float(estimates.mean()) - truth.exact) / spread,
        "coverage": float(covered.mean()),
        "passed": None if passed is None else float(passed.mean()),
        "coverage_passed": float(covered[passed].mean()) if np.any(passed) else None,
    }


def rows(
    setting: Setting, repetitions: int, engines: dict[str, Devinterp], show: Show
) -> list[dict[str, Any]]:
    """Ours, and where the setting is for them too, the other engines'."""
    truth = reference(setting.known, setting.config)
    chains, passed = ours(setting, max(2, round(repetitions * setting.share)))
    others = devinterp(setting, engines, show) if setting.beside else {}
    return [
        row(setting, "ours", chains, truth, passed),
        *(row(setting, name, found, truth) for name, found in others.items()),
    ]


def page(table: pd.DataFrame) -> str:
    """Markdown: what was estimated, how far off, and how often the interval holds the reference."""
    settings = ["sampler", "step_size", "batch_size", "draws", "thin"]
    columns = ["case", "engine", *settings, "repetitions", "estimate", "standard_error"]
    columns += ["reference", "reference_kind", "relative_error", "lambda", "multiplicity"]
    columns += ["spread", "step_bias_in_errors", "coverage", "passed", "coverage_passed"]
    printed = pd.DataFrame(table[columns].map(_cell))
    return PAGE + markdown(Table("accuracy", printed.rename(columns=lambda c: c.replace("_", " "))))


def _cell(value: Any) -> str:
    if pd.isna(value):
        return ""
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def accuracy(options: Options, show: Show) -> int:
    """Estimate and write, case by case; the work of `python -m paper.llc_accuracy`."""
    refuse_unknown("case", options.cases, CASES)
    settings = [setting for name in options.cases or CASES for setting in CASES[name]]
    found: list[dict[str, Any]] = []
    with ExitStack() as stack:
        pythons = {"1.3.2": options.devinterp_1, "2.0.1": options.devinterp_2}
        engines = {
            f"devinterp {version}": Devinterp(python, stack)
            for version, python in pythons.items()
            if python is not None
        }
        for done, setting in enumerate(settings):
            show("settings", done, len(settings), setting.case)
            found += rows(setting, options.repetitions, engines, show)
            table = pd.DataFrame(found)
            files = {"llc_accuracy.csv": table.to_csv(index=False), "llc_accuracy.md": page(table)}
            write_files(options.out, files)
    show("settings", len(settings), len(settings), "")
    print(options.out / "llc_accuracy.csv", options.out / "llc_accuracy.md", sep="\n")
    return 0


if __name__ == "__main__":
    sys.exit(run_watched(Options, "paper.llc_accuracy", accuracy))
