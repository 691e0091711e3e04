"""What trained networks do, by intervention.

`python -m paper.trained_circuits --to RUNS --out OUT` trains what is missing in RUNS, and writes
to OUT

- `group_patching.csv` and `.svg`: of transformers on a cyclic group, along training, by how much
  the answer follows each position of the residual stream and each head;
- `iteration_edges.csv` and `palindrome_edges.csv`: every edge of trained networks, beside those of
  the network of equal shape that is set by hand or compiled;
- `trained_circuits.md`, which tells both.
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor

from analysis.circuits import ModelGraph, against_truth, setting
from analysis.circuits.exact import exact
from interp.arguments import parse_seeds
from interp.known_circuit import known_circuit
from interp.models.config import (
    CompiledConfig,
    DecoderConfig,
    IterationHeadConfig,
    ModelConfig,
    TransformerConfig,
)
from interp.progress import Show
from interp.rasp.tasks import compiled_shape
from interp.runs.recipe import AdamW, Recipe, Schedule
from interp.runs.run import Run
from paper.chain_of_thought.averages import mean_and_sd
from paper.command import Watched, run_watched
from paper.figures import write_static
from paper.group_patching import group_figure, group_page, patched_along_training
from paper.tables import Table, markdown, write_files
from tasks.composition import GroupComposition
from tasks.iteration import Polynomial
from tasks.pairs import Pairs, pairs_of_all_variables
from tasks.sequences import Palindrome
from training.progress import shown
from training.train import train

N_PAIRS = 100
"""For each variable."""
SMALL = 0.01
"""Edges with less are not printed."""
GROUP = Recipe(
    GroupComposition("C31", train_fraction=0.7, equals_token=True),
    TransformerConfig(n_heads=2, d_model=64, d_head=32, d_mlp=128),
    AdamW(lr=1e-3, weight_decay=1.0),
    Schedule(steps=3000, checkpoints=16, log_every=50),
)
ITERATION = Recipe(
    Polynomial(modulus=5, max_length=8),
    DecoderConfig(d_model=32),
    AdamW(lr=3e-3, betas=(0.9, 0.999), weight_decay=0.0),
    Schedule(steps=1500, batch_size=256, checkpoints=1),
)


def palindrome() -> Recipe:
    """The shape of the compiled palindrome, to be trained."""
    task = Palindrome("a..e", max_length=8)
    schedule = Schedule(steps=1500, batch_size=256, checkpoints=1)
    optimizer = AdamW(lr=3e-3, betas=(0.9, 0.999), weight_decay=0.1)
    return Recipe(task, compiled_shape(task), optimizer, schedule)


@dataclass(frozen=True)
class Options(Watched):
    """Train small networks, intervene in them, and tabulate what that does."""

    to: Path = Path("runs")
    """Folder for the run folders."""
    out: Path = Path("tables")
    """Folder for the tables."""
    seeds: str = "0..3"
    """Seeds, such as 0..3 or 1,5,7."""


def beside_made(runs: Sequence[Run], made: ModelConfig) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The edges of trained networks and of one that is made, and how alike they are.

    Returns a row for each edge: what it truly is in the made network, what cutting it does there
    (`made`) and in each run (`seed0`, ...), as a share of what cutting all edges does; and a row
    for each run: how well its edges would find the made network's circuit.
    """
    task = runs[0].recipe.task
    pairs = pairs_of_all_variables(task, N_PAIRS)
    kinds = known_circuit(task, pairs).kinds
    graph, shares = relative_effects(made.build(task, 0), pairs)
    table = pd.DataFrame({"edge": list(map(str, graph.edges))})
    table["truth"], table["made"] = [kinds[edge] for edge in graph.edges], shares.tolist()
    rows = []
    for run in runs:
        seed = f"seed{run.recipe.init_seed}"
        graph, shares = relative_effects(run.model(), pairs)
        table[seed] = shares.tolist()
        rows.append({"seed": seed, **against_truth(graph.edges, shares, kinds)})
    return table.sort_values("made", ascending=False, kind="stable"), pd.DataFrame(rows)


def relative_effects(model: Any, pairs: Pairs) -> tuple[ModelGraph, Float[Tensor, "edge"]]:
    """The mean absolute effect of cutting each edge, over that of cutting all of them."""
    on = setting(model, pairs)
    everything = on.cut(torch.ones(1, len(on.graph.edges)).to(on.run.logits)) - on.whole
    return on.graph, exact(on).abs().mean(dim=0) / everything.abs().mean()


def edges_page(table: pd.DataFrame) -> str:
    """The edges that do anything in the made network, or more than a hundredth in a trained one."""
    seeds = [column for column in table if str(column).startswith("seed")]
    trained = table[seeds].mean(axis=1)
    printed = table.loc[(table["made"] > SMALL) | (trained > SMALL)]
    rows = {
        "edge": printed["edge"],
        "truth": printed["truth"],
        "made": printed["made"].map("{:.2f}".format),
        "trained": [mean_and_sd(row) for _, row in printed[seeds].iterrows()],
    }
    return markdown(Table("edges", pd.DataFrame(rows)))


def write_tables(options: Options, show: Show) -> int:
    """Train, intervene and write; the work of `python -m paper.trained_circuits`."""

    def trained(recipe: Recipe, name: str) -> list[Run]:
        recipes = [recipe.with_seed(seed) for seed in parse_seeds(options.seeds)]
        return train(recipes, options.to, name=name, progress=shown(show))

    group = pd.concat(
        [
            patched_along_training(run, N_PAIRS).assign(seed=run.recipe.init_seed)
            for run in trained(GROUP, "group")
        ]
    )
    files = {"group_patching.csv": group.to_csv(index=False)}
    picture = "![Effects by step](group_patching.svg)"
    parts = ["## A transformer on C31, along training", picture, group_page(group)]
    twins = {
        "iteration": (ITERATION, IterationHeadConfig()),
        "palindrome": (palindrome(), CompiledConfig()),
    }
    for name, (recipe, made) in twins.items():
        edges, alike = beside_made(trained(recipe, name), made)
        files[f"{name}_edges.csv"] = edges.to_csv(index=False)
        agreement = ", ".join(f"{row.seed} {row.auroc:.3f}" for row in alike.itertuples())
        parts += [
            f"## {name.capitalize()}: trained beside made",
            edges_page(edges),
            f"AUROC of the trained networks' edges against the made one's circuit: {agreement}.\n",
        ]
    files["trained_circuits.md"] = "\n\n".join(parts)
    write_files(options.out, files)
    print(*(options.out / name for name in files), sep="\n")
    figure = group_figure(group, "Where the answer of a transformer on C31 comes from")
    write_static({options.out / "group_patching": figure})
    return 0


if __name__ == "__main__":
    sys.exit(run_watched(Options, "paper.trained_circuits", write_tables))
