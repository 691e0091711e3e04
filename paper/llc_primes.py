"""Does the local learning coefficient grow with the modulus? `python -m paper.llc_primes --to DIR`.

Trains networks on C_p for several primes p, all by one recipe, estimates the coefficient at the end
of those that generalise, at two localizations, and writes

- `llc_primes.csv`: a row for each network: accuracy, key frequencies, parameters, and the number at
  each localization, with its error and the checks that fail;
- `llc_primes.svg`: the number against p;
- `llc_primes.md`: means by p, and slopes against p and against the number of key frequencies.
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import torch
from jaxtyping import Float64
from tyro.conf import Positional

from analysis.llc import LLCConfig, llc_estimates
from analysis.llc.runs import coefficient_of
from analysis.plots.style import SEQUENTIAL
from analysis.representation.key_irreps import find_key_irreps
from analysis.scores import split_scores
from interp.arguments import UsageError, parse_seeds
from interp.models.config import MLPConfig
from interp.progress import Show
from interp.runs.recipe import AdamW, Recipe, Schedule
from interp.runs.run import Run
from paper.chain_of_thought.plots import panels, place
from paper.command import Watched, run_watched
from paper.figures import write_static
from paper.tables import ABSENT, Table, counted, markdown, write_files
from tasks.composition import GroupComposition
from training.progress import shown
from training.train import train

TITLE = "The local learning coefficient of modular addition, by modulus"
PRIMES = (23, 29, 31, 37, 41, 43, 47, 53, 59, 61)
STEPS = 5000
FRACTION = 0.7
"""Of the pairs that are trained on. With half of them no network below p = 37 generalises."""
ACCURATE = 0.99
"""Test accuracy above which a network has generalised."""
CONFIG = LLCConfig(step_size=1e-3, localization=2.5, chains=4, draws=400, thin=2)
LOCALIZATIONS = {"estimate": CONFIG.localization, "stronger": 5 * CONFIG.localization}
"""By the names of columns."""
RESAMPLES = 2000
"""Of the networks, for the intervals of slopes."""


@dataclass(frozen=True)
class Options(Watched):
    """Estimate the coefficients of networks on cyclic groups of several primes."""

    primes: Positional[tuple[int, ...]] = PRIMES
    """Orders of the groups."""
    to: Path = Path("runs")
    """Folder for the run folders."""
    out: Path = Path("tables")
    """Folder for the tables."""
    seeds: str = "0..4"
    """Seeds, such as 0..3 or 1,5,7."""


def recipe(p: int) -> Recipe:
    """How a network on C_p is trained: as in `paper.llc_training`, on more of the pairs."""
    return Recipe(
        GroupComposition(f"C{p}", train_fraction=FRACTION),
        MLPConfig(d_embed=16, d_mlp=48),
        AdamW(lr=5e-3, weight_decay=1.0),
        Schedule(steps=STEPS, checkpoint_every=STEPS),
    )


def row(run: Run) -> dict[str, Any]:
    """What is found of one network; no estimates where it has not generalised."""
    model, task = run.model(), run.recipe.task
    assert isinstance(task, GroupComposition)
    found: dict[str, Any] = {
        "p": task.finite_group.order,
        "seed": run.recipe.init_seed,
        "accuracy": split_scores(model, task, "test").accuracy,
        "frequencies": len(find_key_irreps(model, task).names),
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
    }
    if found["accuracy"] <= ACCURATE:
        return found
    landscape = coefficient_of(run).landscape
    for name, localization in LOCALIZATIONS.items():
        (estimate,), _ = llc_estimates(landscape, replace(CONFIG, localization=localization))
        found[name] = estimate.value
        found[f"{name}_error"] = estimate.standard_error
        found[f"{name}_failures"] = estimate.failed_checks
    return found


def slopes(table: pd.DataFrame, column: str, predictors: Sequence[str]) -> pd.DataFrame:
    """Least squares of a column on predictors: each one's slope, and its 95% interval.

    The interval is that of a bootstrap of the networks, without the resamples whose predictors do
    not vary independently. NaN where those of the networks themselves do not.
    """
    y = table[column].to_numpy(dtype=float)
    x = np.column_stack([np.ones(len(table)), table[list(predictors)].to_numpy(dtype=float)])
    picks = np.random.default_rng(0).integers(len(table), size=(RESAMPLES, len(table)))
    drawn = np.array([_least_squares(x[pick], y[pick]) for pick in picks])
    low, high = pd.DataFrame(drawn).quantile([0.025, 0.975]).to_numpy()
    found = {"slope": _least_squares(x, y), "low": low, "high": high}
    return pd.DataFrame(found, index=["", *predictors]).iloc[1:]


def _least_squares(
    x: Float64[np.ndarray, "network predictor"], y: Float64[np.ndarray, "network"]
) -> Float64[np.ndarray, "predictor"]:
    found, _, rank, _ = np.linalg.lstsq(x, y, rcond=None)
    return found if rank == x.shape[1] else np.full_like(found, np.nan)


def page(table: pd.DataFrame) -> str:
    """Markdown: what was done, means by p, and slopes."""
    good = table.loc[table["accuracy"] > ACCURATE]
    others = table.drop(good.index)
    passed = {
        name: f"{(good[f'{name}_failures'] == '').sum()} at {localization:g}"
        for name, localization in LOCALIZATIONS.items()
    }
    shared, (weak, strong) = recipe(PRIMES[0]), LOCALIZATIONS.values()
    change = good["stronger"] / good["estimate"] - 1
    return (
        f"# {TITLE}\n\n"
        f"`{shared.model}`, `{shared.optimizer}`, {STEPS:,} steps, {FRACTION:.0%} of the pairs; "
        f"`{CONFIG}`, and localization {strong:g} beside it.\n\n"
        f"{len(good)} of {len(table)} networks generalised (test accuracy above {ACCURATE:.0%})"
        f"{_listed(others)}. Of their numbers {' and '.join(passed.values())} pass all checks, the "
        f"others are hollow (at {weak:g}: "
        f"{counted(good['estimate_failures'])}). The number "
        f"depends on the localization: from {weak:g} to {strong:g} it changes by "
        f"{change.mean():+.0%} in the mean ({change.min():+.0%} to {change.max():+.0%}).\n\n"
        "![The number against p](llc_primes.svg)\n\n"
        "Means over the networks that generalised, ± one standard deviation:\n\n"
        f"{markdown(Table('primes', _by_prime(good)))}\n"
        "Slopes with 95% intervals, by a bootstrap of the networks: against p alone; against p and "
        "the number of key frequencies together; and, of the number for each 1,000 parameters, of "
        "which there are 80 p + 1,536, against p:\n\n"
        f"{markdown(Table('slopes', _slopes(good)))}"
    )


def _listed(others: pd.DataFrame) -> str:
    """The networks that did not generalise."""
    columns = zip(others["p"], others["seed"], others["accuracy"], strict=True)
    named = [f"p = {p}, seed {seed}: {accuracy:.1%}" for p, seed, accuracy in columns]
    return f"; the others are not in what follows ({'; '.join(named)})" if named else ""


def _by_prime(good: pd.DataFrame) -> pd.DataFrame:
    rows = []
    for p, nets in good.groupby("p"):
        row = {"p": p, "networks": len(nets), "parameters": nets["parameters"].iloc[0]}
        row["key frequencies"] = _spread(nets, "frequencies", ".1f")
        for name, localization in LOCALIZATIONS.items():
            row[f"LLC at {localization:g}"] = _spread(nets, name, ".0f")
        rows.append(row)
    return pd.DataFrame(rows)


def _spread(nets: pd.DataFrame, column: str, form: str) -> str:
    deviation = f"{nets[column].std():{form}}" if len(nets) > 1 else ABSENT
    return f"{nets[column].mean():{form}} ± {deviation}"


def _slopes(good: pd.DataFrame) -> pd.DataFrame:
    rows = []
    for name, localization in LOCALIZATIONS.items():
        each = good.assign(per_thousand=1000 * good[name] / good["parameters"])
        together = slopes(good, name, ["p", "frequencies"])
        found = {
            "p": slopes(good, name, ["p"]).loc["p"],
            "p, at fixed frequencies": together.loc["p"],
            "frequencies, at fixed p": together.loc["frequencies"],
            "p, for 1,000 parameters": slopes(each, "per_thousand", ["p"]).loc["p"],
        }
        printed = {
            against: f"{slope['slope']:.3g} ({slope['low']:.3g} to {slope['high']:.3g})"
            for against, slope in found.items()
        }
        rows.append({"localization": f"{localization:g}", **printed})
    return pd.DataFrame(rows)


def primes_figure(table: pd.DataFrame) -> go.Figure:
    """The numbers against p, a panel for each localization; hollow where a check fails."""
    good = table.loc[table["accuracy"] > ACCURATE]
    titles = [f"localization {localization:g}" for localization in LOCALIZATIONS.values()]
    drawn = panels(titles, 2, TITLE, 300, horizontal_spacing=0.14)
    jitter = 0.25 * (good["seed"] - good["seed"].mean())
    for i, name in enumerate(LOCALIZATIONS):
        passed = good[f"{name}_failures"] == ""
        drawn.add_scatter(
            x=good["p"] + jitter,
            y=good[name],
            mode="markers",
            marker={
                "size": 9,
                "symbol": np.where(passed, "circle", "circle-open").tolist(),
                "color": good["frequencies"],
                "coloraxis": "coloraxis",
            },
            hovertext=good[f"{name}_failures"],
            showlegend=False,
            **place(i, 2),
        )
    drawn.update_xaxes(title_text="p")
    drawn.update_yaxes(title_text="estimate", rangemode="tozero")
    # Not from white on, on which the fewest could not be seen.
    colors = [color for _, color in SEQUENTIAL[1:]]
    scale = {"colorscale": colors, "colorbar": {"title": "key<br>frequencies", "dtick": 1}}
    return drawn.update_layout(coloraxis=scale)


def compare(options: Options, show: Show) -> int:
    """Train, estimate and write; the work of `python -m paper.llc_primes`."""
    torch.set_num_threads(1)  # the networks are small
    rows = []
    for p in options.primes:
        recipes = [recipe(p).with_seed(seed) for seed in parse_seeds(options.seeds)]
        for run in train(recipes, options.to, name=f"primes_{p}", progress=shown(show)):
            rows.append(row(run))
            show("networks", len(rows), len(options.primes) * len(recipes), run.name)
    table = pd.DataFrame(rows)
    if not any(table["accuracy"] > ACCURATE):
        raise UsageError(f"no network has a test accuracy above {ACCURATE:.0%}: train others")
    files = {"llc_primes.csv": table.to_csv(index=False), "llc_primes.md": page(table)}
    write_files(options.out, files)
    write_static({options.out / "llc_primes": primes_figure(table)})
    print(*(options.out / file for file in files), sep="\n")
    return 0


if __name__ == "__main__":
    sys.exit(run_watched(Options, "paper.llc_primes", compare))
