"""The local learning coefficient along training: `python -m paper.llc_training p53 --to RUNS`.

Trains what is missing in RUNS, estimates the coefficient at every checkpoint of every seed (what a
run folder has already, by the same settings, is not estimated again), and writes for each
experiment, with p53 for its name,

- `p53_llc.csv`: a row for each seed and checkpoint: losses, weight norm, trace of the Hessian, the
  number that was sampled with its interval and the checks that fail, and the number that one chain
  has by the settings of earlier work;
- `p53_llc.svg`: the curves;
- `p53_llc.md`: when each of them changes, seed by seed.
"""

import dataclasses
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float
from tyro.conf import Positional

from analysis.llc import LLCConfig, llc_estimates
from analysis.llc.curvature import hessian_trace
from analysis.llc.posterior import Posterior
from analysis.llc.restriction import Restriction
from analysis.llc.runs import Coefficient, coefficient_of, write_llc
from analysis.scores import split_scores
from interp.arguments import complain, parse_seeds
from interp.models.config import MLPConfig
from interp.progress import Show, progress
from interp.runs.recipe import AdamW, Recipe, Schedule
from interp.runs.run import Run
from paper.command import refuse_unknown, run_module
from paper.figures import write_static
from paper.llc_curves import training_figure
from paper.tables import Table, markdown, write_files
from tasks.composition import GroupComposition
from training.progress import shown
from training.train import train


@dataclass(frozen=True)
class Experiment:
    """Networks, and how their coefficients are estimated."""

    recipe: Recipe
    config: LLCConfig


EXPERIMENTS = {
    "p53": Experiment(
        Recipe(
            GroupComposition("C53", train_fraction=0.5),
            MLPConfig(d_embed=16, d_mlp=48),
            AdamW(lr=5e-3, weight_decay=1.0),
            Schedule(steps=5000, checkpoints=12, log_every=50),
        ),
        LLCConfig(
            step_size=2e-4,
            localization=3.0,
            chains=4,
            draws=500,
            thin=80,
            batch_size=128,
            full_every=5,
        ),
    )
}
PUBLISHED = LLCConfig(step_size=3e-3, nbeta=2.0, localization=5.0, chains=2, draws=150, burn_in=0)
"""Of the earlier work, which had the first of these chains; too hot, too short, and never settled.
"""
CURVES = ("unchecked", "loss_test", "weight_norm", "hessian_trace")
"""What changes in the course of training."""
DRAWS = 1000
"""Of the bootstrap."""


@dataclass(frozen=True)
class Options:
    """Train networks, and follow their local learning coefficients."""

    experiments: Positional[tuple[str, ...]] = ()
    """Such as p53; all of them if none is named."""
    to: Path = Path("runs")
    """Folder for the run folders."""
    out: Path = Path("tables")
    """Folder for the tables."""
    seeds: str = "0..9"
    """Seeds, such as 0..3 or 1,5,7."""
    quiet: bool = False
    """Show no progress."""


def course(run: Run, config: LLCConfig, show: Show) -> pd.DataFrame:
    """Everything that is followed of one run: a row for each checkpoint."""
    which = coefficient_of(run, checkpoints="all")
    if not _is_stored(run, which, config):
        write_llc(run, which, config, show)
    stored = json.loads(which.path(run, ".json").read_text())["checkpoints"]
    published = llc_estimates(which.landscape, PUBLISHED)[0]
    traces = _hessian_traces(which)
    rows = []
    for i, point in enumerate(stored):
        model: Any = run.model(point["step"])
        chains = np.array(point["chains"], dtype=float)
        rows.append(
            {
                "seed": run.recipe.init_seed,
                "step": point["step"],
                "loss_train": split_scores(model, run.recipe.task, "train").loss,
                "loss_test": split_scores(model, run.recipe.task, "test").loss,
                "weight_norm": float(which.landscape.centres[i].norm()),
                "hessian_trace": traces[i],
                "unchecked": chains.mean(),
                "standard_error": chains.std(ddof=1) / len(chains) ** 0.5,
                "failures": " ".join(c["name"] for c in point["checks"] if not c["passed"]),
                "published_settings": float(published[i].chains[0]),
            }
        )
    return pd.DataFrame(rows)


def _is_stored(run: Run, which: Coefficient, config: LLCConfig) -> bool:
    """Whether the run has estimates by these settings at all of these checkpoints."""
    path = which.path(run, ".json")
    if not path.exists():
        return False
    found = json.loads(path.read_text())
    asked = dataclasses.asdict(config)
    chosen = {name: value for name, value in asked.items() if value is not None}
    steps = [point["step"] for point in found["checkpoints"]]
    return steps == which.steps and chosen.items() <= found["settings"].items()


def _hessian_traces(which: Coefficient) -> list[float]:
    one = which.landscape.centres.new_ones(len(which.steps), 1, 1)
    posterior = Posterior(which.landscape, Restriction(), one, 0.0)
    return hessian_trace(posterior, posterior.start(1), 1e-2 * one, seed=0)[:, 0].tolist()


def change_point(steps: Sequence[int], values: Float[np.ndarray, "checkpoint"]) -> float:
    """The step at which a curve changes most: where two levels, one before it and one from it on,
    come closest to the curve in the least squares. Halfway, in the logarithm, between checkpoints;
    NaN if there is but one.
    """
    if len(values) < 2:
        return float("nan")
    rests = [
        ((values[:i] - values[:i].mean()) ** 2).sum()
        + ((values[i:] - values[i:].mean()) ** 2).sum()
        for i in range(1, len(values))
    ]
    i = int(np.argmin(rests)) + 1
    return float(np.sqrt(steps[i - 1] * steps[i]))


def change_points(table: pd.DataFrame) -> pd.DataFrame:
    """When each curve of each seed changes, from the largest test loss on.

    That of the coefficient with a 95% interval, by a bootstrap of the numbers within their errors.
    """
    rows = []
    for seed, of_seed in table.groupby("seed"):
        late = of_seed[of_seed["step"] >= of_seed.loc[of_seed["loss_test"].idxmax(), "step"]]
        steps = late["step"].tolist()
        logs = late.assign(
            loss_test=np.log(late["loss_test"]),
            hessian_trace=np.log(late["hessian_trace"].to_numpy().clip(1e-9)),
        )
        row: dict[str, Any] = {"seed": seed}
        row |= {name: change_point(steps, logs[name].to_numpy()) for name in CURVES}
        noise = np.random.default_rng(0).normal(size=(DRAWS, len(late)))
        drawn = logs["unchecked"].to_numpy() + noise * logs["standard_error"].to_numpy()
        found = [change_point(steps, values) for values in drawn]
        row["unchecked_low"], row["unchecked_high"] = np.quantile(found, [0.025, 0.975])
        rows.append(row)
    return pd.DataFrame(rows)


def page(name: str, experiment: Experiment, table: pd.DataFrame) -> str:
    """Markdown: what was done, the curves, and when they change."""
    changes = change_points(table)
    printed = pd.DataFrame(
        {
            "seed": changes["seed"],
            "LLC": [
                f"{row.unchecked:.0f} ({row.unchecked_low:.0f} to {row.unchecked_high:.0f})"
                for row in changes.itertuples()
            ],
            **{column: changes[column].map("{:.0f}".format) for column in CURVES[1:]},
        }
    )
    passed = (table["failures"] == "").sum()
    return (
        f"# {_title(name)}\n\n"
        f"`{experiment.config}`\n\n"
        f"{table['seed'].nunique()} seeds, {table['step'].nunique()} checkpoints; {passed} of "
        f"{len(table)} numbers pass all checks, the others are hollow.\n\n"
        f"![curves]({name}_llc.svg)\n\n"
        "The step at which each curve changes most, after the largest test loss:\n\n"
        f"{markdown(Table('changes', printed))}"
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
        table = pd.concat([course(run, experiment.config, show) for run in runs])
        files = {
            f"{name}_llc.csv": table.to_csv(index=False),
            f"{name}_llc.md": page(name, experiment, table),
        }
        write_files(options.out, files)
        try:
            write_static({options.out / f"{name}_llc": training_figure(table, _title(name))})
        except RuntimeError as error:
            complain(error)
        print(*(options.out / file for file in files), sep="\n")
    return 0


def _work(options: Options) -> int:
    with progress(options.quiet) as show:
        return follow(options, show)


if __name__ == "__main__":
    sys.exit(run_module(Options, "paper.llc_training", _work))
