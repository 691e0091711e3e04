"""The local learning coefficient along training: `python -m paper.llc_training p53 --to RUNS`.

Trains what is missing in RUNS, estimates the coefficient at every checkpoint of every seed (what a
run folder has already, by the same settings, is not estimated again), and writes for each
experiment, with p53 for its name,

- `p53_llc.csv`: a row for each seed and checkpoint: losses, other measures, and the number that was
  sampled by each setting, with its error and the checks that fail;
- `p53_llc.svg`: the curves;
- `p53_llc.md`: when each of them changes, seed by seed, and what foretells the test loss.
"""

import dataclasses
import json
import sys
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from tyro.conf import Positional

from analysis.evaluate import evaluate_run
from analysis.llc import Landscape, LLCConfig, llc_estimates
from analysis.llc.curvature import hessian_trace
from analysis.llc.posterior import Posterior
from analysis.llc.restriction import Restriction
from analysis.llc.runs import coefficient_of, tell_estimate
from interp.arguments import parse_seeds
from interp.models.config import MLPConfig
from interp.progress import Show
from interp.runs.recipe import AdamW, Recipe, Schedule
from interp.runs.registry import COMPILED_SHAPE, named_model
from interp.runs.run import Run
from paper.command import Watched, refuse_unknown, run_watched
from paper.figures import write_static
from paper.llc_changes import changes_page
from paper.llc_curves import training_figure
from paper.tables import counted, write_files
from tasks.composition import GroupComposition
from tasks.sequences import Palindrome, Peak, SequenceTask
from training.progress import shown
from training.train import train

STRONGER = 5.0
"""Times the localization, to see whether the shape of the curve depends on it."""
PUBLISHED = LLCConfig(
    "sgld", step_size=3e-3, nbeta=2.0, localization=5.0, chains=2, draws=150, burn_in=0
)
"""Of the earlier work, which had the first of these chains; too hot, too short, and never settled.
"""
KEPT = "llc/along_training.json"
"""What was found of a run, in its folder."""
METRICS = ("loss/train", "loss/test", "hidden/restricted_loss")
"""What is measured of every checkpoint, where a network has it."""


@dataclass(frozen=True)
class Experiment:
    """Networks, and how their coefficients are estimated."""

    recipe: Recipe
    config: LLCConfig
    first: int = 0
    """The step of the first checkpoint that is followed; those before it change little."""
    compares: bool = False
    """Whether a stronger localization and the settings of earlier work are tried too."""

    @property
    def settings(self) -> dict[str, LLCConfig]:
        """By the names of columns."""
        if not self.compares:
            return {"estimate": self.config}
        stronger = replace(self.config, localization=STRONGER * self.config.localization)
        return {"estimate": self.config, "stronger": stronger, "published": PUBLISHED}


def _group(group: str, train_fraction: float, model: MLPConfig, steps: int) -> Recipe:
    """A network that groks."""
    return Recipe(
        GroupComposition(group, train_fraction=train_fraction),
        model,
        AdamW(lr=5e-3, weight_decay=1.0),
        Schedule(steps=steps, checkpoints=24, log_every=50),
    )


def _sequences(task: SequenceTask, steps: int) -> Recipe:
    """A network of the compiled one's shape, trained on sequences."""
    return Recipe(
        task,
        named_model(COMPILED_SHAPE, task),
        AdamW(lr=5e-3, betas=(0.9, 0.999), weight_decay=0.1),
        Schedule(steps=steps, checkpoints=16, log_every=50),
    )


EXPERIMENTS = {
    "p53": Experiment(
        _group("C53", 0.5, MLPConfig(d_embed=16, d_mlp=48), steps=5000),
        LLCConfig(step_size=1e-3, localization=2.5, chains=4, draws=400, thin=2),
        compares=True,
    ),
    "p113": Experiment(
        _group("C113", 0.4, MLPConfig(d_embed=24, d_mlp=64), steps=3500),
        LLCConfig(step_size=5e-4, localization=2.5, chains=4, draws=150, thin=2),
        first=50,
    ),
    "s5": Experiment(
        _group("S5", 0.6, MLPConfig(d_embed=32, d_mlp=96), steps=3000),
        LLCConfig(step_size=2.5e-4, localization=2.5, chains=4, draws=150, thin=2),
        first=80,
    ),
    "peak": Experiment(
        _sequences(Peak("0..4", max_length=6, n_sequences=400), steps=800),
        LLCConfig(step_size=2e-4, localization=50.0, chains=4, draws=400, thin=2),
        first=5,
    ),
    "palindrome": Experiment(
        _sequences(Palindrome("a..c", max_length=6, n_sequences=400), steps=1500),
        LLCConfig(step_size=5e-5, localization=50.0, chains=4, draws=150, thin=2),
        first=5,
    ),
}


@dataclass(frozen=True)
class Options(Watched):
    """Train networks, and follow their local learning coefficients."""

    experiments: Positional[tuple[str, ...]] = ()
    """Such as p53; all of them if none is named."""
    to: Path = Path("runs")
    """Folder for the run folders."""
    out: Path = Path("tables")
    """Folder for the tables."""
    seeds: str = "0..9"
    """Seeds, such as 0..3 or 1,5,7."""


def course(run: Run, experiment: Experiment, show: Show | None = None) -> pd.DataFrame:
    """Everything that is followed of one run: a row for each checkpoint.

    Kept in the run's folder, so that it is done once for the same settings.
    """
    settings: dict[str, Any] = {"first": experiment.first}
    settings |= {name: dataclasses.asdict(own) for name, own in experiment.settings.items()}
    if (run.path / KEPT).exists():
        found = run.read_json(KEPT)
        if found["settings"] == settings:
            return pd.DataFrame(found["rows"])
    table = _followed(run, experiment, show)
    rows = json.loads(table.to_json(orient="records", double_precision=15) or "")
    (run.path / KEPT).parent.mkdir(exist_ok=True)
    run.write_json(KEPT, {"settings": settings, "rows": rows})
    return table


def _followed(run: Run, experiment: Experiment, show: Show | None) -> pd.DataFrame:
    evaluate_run(run)
    which = coefficient_of(run, checkpoints="all")
    steps = [step for step in which.steps if step >= experiment.first]
    landscape = which.landscape.about([which.steps.index(step) for step in steps])
    table = pd.DataFrame({"seed": run.recipe.init_seed, "step": steps})
    metrics = run.metrics()
    totals = metrics[metrics["component"] == ""].set_index(["metric", "step"])["value"]
    for name in METRICS:
        if name in totals:
            table[name] = totals[name].loc[steps].to_numpy()
    table["weight_norm"] = landscape.centres.norm(dim=-1).tolist()
    table["hessian_trace"] = _hessian_traces(landscape)
    for name, config in experiment.settings.items():
        told = show and partial(tell_estimate, partial(show, run.name), name, 0, 1)
        found, _ = llc_estimates(landscape, config, show=told)
        if name == "published":
            table[name] = [float(estimate.chains[0]) for estimate in found]
            continue
        table[name] = [estimate.value for estimate in found]
        table[f"{name}_error"] = [estimate.standard_error for estimate in found]
        table[f"{name}_failures"] = [estimate.failed_checks for estimate in found]
    return table


def _hessian_traces(landscape: Landscape) -> list[float]:
    one = landscape.centres.new_ones(len(landscape.centres), 1, 1)
    posterior = Posterior(landscape, Restriction(), one, 0.0)
    return hessian_trace(posterior, posterior.start(1), 1e-2 * one, seed=0)[:, 0].tolist()


def page(name: str, experiment: Experiment, table: pd.DataFrame) -> str:
    """Markdown: what was done, the curves, and when they change."""
    passed = (table["estimate_failures"] == "").sum()
    stronger = ""
    if experiment.compares:
        stronger = f" The stronger localization is {STRONGER * experiment.config.localization:g}."
    return (
        f"# {_title(name)}\n\n"
        f"`{experiment.config}`\n\n"
        f"{table['seed'].nunique()} seeds, {table['step'].nunique()} checkpoints; {passed} of "
        f"{len(table)} numbers pass all checks, the others are hollow "
        f"({counted(table['estimate_failures'])}).{stronger}\n\n"
        f"![curves]({name}_llc.svg)\n\n"
        f"{changes_page(table)}"
    )


def _title(name: str) -> str:
    return f"{EXPERIMENTS[name].recipe.task.name}: the local learning coefficient along training"


def follow(options: Options, show: Show) -> int:
    """Train, estimate and write; the work of `python -m paper.llc_training`."""
    refuse_unknown("experiment", options.experiments, EXPERIMENTS)
    torch.set_num_threads(1)  # the networks are small
    for name in options.experiments or tuple(EXPERIMENTS):
        experiment = EXPERIMENTS[name]
        recipes = [experiment.recipe.with_seed(seed) for seed in parse_seeds(options.seeds)]
        runs = train(recipes, options.to, name=name, progress=shown(show))
        table = pd.concat([course(run, experiment, show) for run in runs], ignore_index=True)
        files = {
            f"{name}_llc.csv": table.to_csv(index=False),
            f"{name}_llc.md": page(name, experiment, table),
        }
        write_files(options.out, files)
        write_static({options.out / f"{name}_llc": training_figure(table, _title(name))})
        print(*(options.out / file for file in files), sep="\n")
    return 0


if __name__ == "__main__":
    sys.exit(run_watched(Options, "paper.llc_training", follow))
