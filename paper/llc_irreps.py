"""The local learning coefficient per irrep, as irreps are learned: `python -m paper.llc_irreps`.

Trains networks on S4, and estimates the coefficient of moves in the isotypic space of each irrep,
of the embeddings and of the unembedding, beside that of random subspaces of equal rank. Writes

- `llc_irreps.csv`: a row for each network, checkpoint, subspace, localization and loss: the number,
  its error, the checks that fail, and the irrep's similarity;
- `llc_irreps.svg`: the numbers along training, beside the similarity;
- `llc_irreps.md`: those of the last checkpoint, and what is different where an irrep is used.
"""

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor

from analysis.evaluate import evaluate_run
from analysis.llc import LLCConfig, LLCEstimate, NetworkLandscape, llc_estimates
from analysis.llc.landscape import Landscape, Loss, unflattened
from analysis.llc.parts import restriction_to
from analysis.llc.restriction import Restriction
from analysis.llc.runs import coefficient_of
from analysis.llc.subspaces import beside
from interp.arguments import UsageError, parse_seeds
from interp.models.config import MLPConfig
from interp.progress import Show
from interp.runs.recipe import AdamW, Recipe, Schedule
from interp.runs.run import Run
from paper.command import Watched, run_watched
from paper.figures import write_static
from paper.llc_irreps_page import irreps_figure, page
from paper.tables import write_files
from tasks.composition import GroupComposition
from tasks.groups import irreps
from training.progress import shown
from training.train import train

RECIPE = Recipe(
    GroupComposition("S4", train_fraction=0.7),
    MLPConfig(d_embed=16, d_mlp=64),
    AdamW(lr=5e-3, weight_decay=1.0),
    Schedule(steps=5000, checkpoints=12, log_every=50),
)
FIRST_STEP = 100
"""Of the checkpoints that are looked at; before it no network has learned its training set."""
CONFIG = LLCConfig(step_size=1e-2, localization=0.5, chains=4, draws=300)
"""Its localization is that of all checkpoints; at the last one there are stronger ones too."""
STRONGER = (1.5, 4.5)
MATRICES, JOINT = ("embed", "unembed"), "embed+unembed"
JOINT_CONFIG = replace(CONFIG, step_size=4e-3, thin=3)
"""Of all matrices together, whose loss is curved more."""


@dataclass(frozen=True)
class Options(Watched):
    """Estimate the coefficients of irreps along training."""

    to: Path = Path("runs")
    """Folder for the run folders."""
    out: Path = Path("tables")
    """Folder for the tables."""
    seeds: str = "0..4"
    """Seeds, such as 0..3 or 1,5,7."""


def followed(run: Run, show: Show) -> pd.DataFrame:
    """The numbers of one network: a row each; none if it uses no irrep."""
    evaluate_run(run)
    key, task = run.summary()["key_irreps"], run.recipe.task
    assert isinstance(task, GroupComposition)
    ranks = {irrep.name: irrep.rank for irrep in irreps(task.finite_group)}
    names = subspaces(task, key)
    largest = max((ranks[name] for name in key), default=0)
    rows = []
    for i, name in enumerate(names):
        show(f"{run.name}, subspaces", i, len(names), name)
        is_followed = name.startswith("irrep:") or name == f"random:{largest}:0"
        rows += _along_training(run, name, is_followed=is_followed)
        if is_followed:
            rows += _about_restricted(run, name)
    table = pd.DataFrame(rows)
    if rows:
        table["kind"] = [_kind(name, key) for name in table["subspace"]]
        table["rank"] = [_rank(name, ranks) for name in table["subspace"]]
        table["similarity"] = _similarities(run, table)
    return table.assign(seed=run.recipe.init_seed)


def subspaces(task: GroupComposition, key: Sequence[str]) -> list[str]:
    """All irreps, and five random subspaces of each rank that one of the key irreps has."""
    named = [f"irrep:{irrep}" for irrep in key]
    return list(dict.fromkeys(other for name in named for other in (name, *beside(name, task))))


def _along_training(run: Run, name: str, *, is_followed: bool) -> Iterator[dict[str, Any]]:
    """At the config's localization, of all checkpoints if it is followed; then at stronger ones."""
    landscape = coefficient_of(run, checkpoints="all").landscape
    last = len(run.steps) - 1
    first = sum(step < FIRST_STEP for step in run.steps) if is_followed else last
    for matrices in MATRICES:
        restriction = restriction_to(f"{name}@{matrices}", landscape, run.recipe.task)
        for localization in (CONFIG.localization, *STRONGER):
            points = range(first if localization == CONFIG.localization else last, last + 1)
            config = replace(CONFIG, localization=localization)
            found = _estimates(landscape.about(points), restriction, config)
            for point, row in zip(points, found, strict=True):
                yield {"step": run.steps[point], "matrices": matrices, "loss": "task", **row}


def _about_restricted(run: Run, name: str) -> Iterator[dict[str, Any]]:
    """Of all three matrices together, about the network that has them in the subspace alone."""
    for loss in ("task", "kl"):
        landscape, restriction = restricted(run, f"{name}@{JOINT}", loss)
        (row,) = _estimates(landscape, restriction, JOINT_CONFIG)
        yield {"step": run.final_step, "matrices": JOINT, "loss": loss, **row}


def restricted(run: Run, name: str, loss: Loss) -> tuple[NetworkLandscape, Restriction]:
    """The landscape about the last checkpoint with the matrices of a subspace projected on it."""
    trained = coefficient_of(run, restrict=name)
    centres = projected(trained.landscape.centres, trained.restriction)
    parameters = unflattened(trained.landscape.layout, centres[:, None])
    point = {parameter: values[0, 0] for parameter, values in parameters.items()}
    examples = run.recipe.task.examples("train")
    landscape = NetworkLandscape(run.model(), examples, loss=loss, points=[point])
    return landscape, trained.restriction


def projected(
    centres: Float[Tensor, "point parameter"], restriction: Restriction
) -> Float[Tensor, "point parameter"]:
    """The parameters that a subspace moves, projected on it; all others as they are."""
    index, basis = restriction.index, restriction.basis
    assert index is not None and basis is not None
    moved = centres[:, index].unflatten(1, (len(basis), -1))
    found = centres.clone()
    found[:, index] = (basis @ (basis.T @ moved)).flatten(1)
    return found


def _estimates(
    landscape: Landscape, restriction: Restriction, config: LLCConfig
) -> Iterator[dict[str, Any]]:
    estimates, trace = llc_estimates(landscape, config, restriction)
    subspace = restriction.name.partition("@")[0]
    for estimate in estimates:
        yield {
            "subspace": subspace,
            "dimensions": trace.last.shape[-1],
            "localization": config.localization,
            **_plain(estimate),
        }


def _plain(estimate: LLCEstimate) -> dict[str, Any]:
    return {
        "initial_loss": estimate.initial_loss,
        "estimate": estimate.value,
        "error": estimate.standard_error,
        "failures": estimate.failed_checks,
    }


def _kind(subspace: str, key: Sequence[str]) -> str:
    """key, unused, trivial or random."""
    what, _, irrep = subspace.partition(":")
    if what == "random":
        return what
    return "trivial" if irrep == "trivial" else "key" if irrep in key else "unused"


def _rank(subspace: str, ranks: dict[str, int]) -> int:
    what, which = subspace.split(":")[:2]
    return int(which) if what == "random" else ranks[which]


def _similarities(run: Run, table: pd.DataFrame) -> list[float]:
    metrics = run.metrics().query("metric == 'logits/similarity'")
    found = metrics.set_index(["component", "step"])["value"].to_dict()
    keys = zip(table["subspace"], table["step"], strict=True)
    return [found.get(key, float("nan")) for key in keys]


def compare(options: Options, show: Show) -> int:
    """Train, estimate and write; the work of `python -m paper.llc_irreps`."""
    torch.set_num_threads(1)  # the networks are small
    recipes = [RECIPE.with_seed(seed) for seed in parse_seeds(options.seeds)]
    runs = train(recipes, options.to, name="irreps", progress=shown(show))
    tables = {run.name: followed(run, show) for run in runs}
    unused = [name for name, table in tables.items() if table.empty]
    if len(unused) == len(runs):
        raise UsageError("no network generalised: there is nothing to compare")
    table = pd.concat([table for table in tables.values() if not table.empty], ignore_index=True)
    write_files(options.out, {"llc_irreps.csv": table.to_csv(index=False, float_format="%.6g")})
    about = f"`{RECIPE.model}`, `{RECIPE.optimizer}`, {RECIPE.schedule.steps:,} steps; `{CONFIG}`"
    write_files(options.out, {"llc_irreps.md": page(table, about, len(unused))})
    write_static({options.out / "llc_irreps": irreps_figure(table)})
    print(*(options.out / f"llc_irreps.{form}" for form in ("csv", "md")), sep="\n")
    return 0


if __name__ == "__main__":
    sys.exit(run_watched(Options, "paper.llc_irreps", compare))
