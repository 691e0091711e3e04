"""Networks of the compiled models' shapes, trained from scratch on the sequence tasks.

`python -m paper.sequences [TASK ...] --to RUNS --out OUT` trains what is missing of them in RUNS,
evaluates it, and writes `sequences.csv` (plain numbers) and `sequences.md`.
"""

import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from tyro.conf import Positional

from analysis.evaluate import evaluate_run
from interp.arguments import parse_seeds
from interp.models.config import TransformerConfig
from interp.progress import Show, progress
from interp.runs.recipe import AdamW, Recipe, Schedule
from interp.runs.registry import COMPILED_SHAPE, named_model
from interp.runs.run import Run
from paper.command import refuse_unknown, run_module
from paper.tables import ABSENT, Table, markdown, write_files
from tasks.sequences import (
    DominantPeak,
    FractionClasses,
    Histogram,
    Palindrome,
    Peak,
    Reverse,
    SequenceTask,
    Sort,
    Triplets,
)
from training.progress import shown
from training.train import train

GOAL = 0.99
"""The test accuracy to be reached."""


@dataclass(frozen=True)
class Network:
    """A network of the table, and how it is trained."""

    task: SequenceTask
    steps: int
    lr: float = 3e-3
    weight_decay: float = 0.01
    model: str = COMPILED_SHAPE

    @property
    def name(self) -> str:
        """The name of its run folders, before _seedN."""
        return f"{self.task.name}_{self.model}"

    def recipes(self, seeds: Sequence[int]) -> list[Recipe]:
        """A recipe for every seed. One checkpoint after the first step is enough here."""
        recipe = Recipe(
            task=self.task,
            model=named_model(self.model, self.task),
            optimizer=AdamW(self.lr, betas=(0.9, 0.999), weight_decay=self.weight_decay),
            schedule=Schedule(self.steps, batch_size=256, checkpoints=1, log_every=50),
        )
        return [recipe.with_seed(seed) for seed in seeds]


NETWORKS = (
    Network(Peak(), steps=500, lr=1e-2),
    Network(Palindrome(), steps=1500, weight_decay=0.1),
    Network(Histogram(), steps=2000),
    Network(Reverse(), steps=1000),
    Network(Sort(), steps=600),
    Network(DominantPeak(), steps=1500, model="medium"),
    Network(Triplets(), steps=1200, model="medium"),
    Network(FractionClasses(), steps=500, model="medium"),
)
"""The rows of the table."""


@dataclass(frozen=True)
class Options:
    """Train networks on the sequence tasks, go on where it was interrupted, and tabulate them."""

    tasks: Positional[tuple[str, ...]] = ()
    """Tasks, such as peak; all of them if none is named."""
    to: Path = Path("runs")
    """Folder for the run folders."""
    out: Path = Path("tables")
    """Folder for the table."""
    seeds: str = "0..2"
    """Seeds, such as 0..3 or 1,5,7. Each draws the initial weights, and the split."""
    device: str = "auto"
    """auto (cuda if there is one, else cpu), cpu, cuda, cuda:1, or mps."""
    quiet: bool = False
    """Show no progress."""


def trained(network: Network, options: Options, show: Show) -> list[Run]:
    """The network's runs, one for each seed, trained to the end and evaluated."""
    recipes = network.recipes(parse_seeds(options.seeds))
    runs = train(
        recipes, options.to, name=network.name, device=options.device, progress=shown(show)
    )
    for run in runs:
        if problems := evaluate_run(run, final=True, device=options.device, progress=show):
            raise RuntimeError("; ".join(map(str, problems)))
    return runs


def network_row(network: Network, runs: Sequence[Run]) -> dict[str, Any]:
    """What the network is, and how well its seeds have learned."""
    cfg = runs[0].recipe.model
    assert isinstance(cfg, TransformerConfig)
    parameters = [p.numel() for p in runs[0].model().parameters() if p.requires_grad]
    accuracies = [run.summary()["accuracy/test"] for run in runs]
    reached = [first_step_at_goal(run) for run in runs]
    return {
        "task": network.task.name,
        "shape": network.model.removesuffix("_shape"),
        "layers": cfg.n_layers,
        "heads": cfg.n_heads,
        "d_head": cfg.d_head,
        "d_mlp": cfg.d_mlp,
        "d_model": cfg.d_model,
        "parameters": sum(parameters),
        "steps": network.steps,
        "seeds": len(runs),
        "accuracy_mean": np.mean(accuracies),
        "accuracy_min": min(accuracies),
        "accuracy_max": max(accuracies),
        "first_step_min": np.min(reached),
        "first_step_max": np.max(reached),
        "seconds": np.mean([seconds(run) for run in runs]),
    }


def first_step_at_goal(run: Run) -> float:
    """The first recorded step with the test accuracy `GOAL`; NaN if it was never reached."""
    history = run.history()
    is_there = (history["split"] == "test") & (history["accuracy"] >= GOAL)
    return float(min(history.loc[is_there, "step"], default=math.nan))


def seconds(run: Run) -> float:
    """Wall time from first to last checkpoint, pauses too, shared by runs computed together."""
    start, end = (run.checkpoint_path(step).stat().st_mtime for step in (0, run.final_step))
    return (end - start) / len(run.read_json("manifest.json")["batch"])


def page(table: pd.DataFrame) -> str:
    """Markdown: the accuracy and the first step at the goal as ranges over the seeds."""
    cells = table.loc[:, :"seeds"].astype(str)
    cells["parameters"] = [f"{count:,}" for count in table["parameters"]]
    accuracies = table[["accuracy_mean", "accuracy_min", "accuracy_max"]]
    cells["test accuracy"] = [
        f"{mean:.2%} ({_range(low, high, '.2%')})"
        for mean, low, high in accuracies.itertuples(index=False)
    ]
    steps = table[["first_step_min", "first_step_max"]].itertuples(index=False)
    cells[f"first step at {GOAL:.0%}"] = [_range(low, high, "d") for low, high in steps]
    cells["seconds"] = [f"{value:.0f}" for value in table["seconds"]]
    return markdown(Table("sequences", cells))


def _range(low: Any, high: Any, form: str) -> str:
    if pd.isna(low):
        return ABSENT
    ends = dict.fromkeys((format(low, form), format(high, form)))  # one, if they are equal
    return " to ".join(ends)


def write_table(options: Options) -> int:
    """Train, evaluate and write the table; the work of `python -m paper.sequences`."""
    names = list(dict.fromkeys(network.task.name for network in NETWORKS))
    refuse_unknown("task", options.tasks, names)
    picked = [n for n in NETWORKS if n.task.name in (options.tasks or names)]
    with progress(options.quiet) as show:
        rows = [network_row(network, trained(network, options, show)) for network in picked]
    table = pd.DataFrame(rows).astype(dict.fromkeys(("first_step_min", "first_step_max"), "Int64"))
    files = {"sequences.csv": table.to_csv(index=False), "sequences.md": page(table)}
    write_files(options.out, files)
    print(*(options.out / name for name in files), sep="\n")
    return 0


if __name__ == "__main__":
    sys.exit(run_module(Options, "paper.sequences", write_table))
