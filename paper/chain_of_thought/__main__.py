"""The experiments on chain of thought: `python -m paper.chain_of_thought [EXPERIMENT ...]`.

`[--small] --to RUNS --out OUT` trains what is missing of each experiment's networks in
RUNS/EXPERIMENT, measures them, and writes to OUT `EXPERIMENT.csv` (plain numbers, a row a network
and seed) and for some more rows of each network beside it, `EXPERIMENT.md` (means over seeds) and
its figures. Small experiments are called `EXPERIMENT-small` everywhere.
"""

import json
import sys
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import torch
from tyro.conf import Positional

from analysis.evaluate import evaluate_run
from analysis.plots.page import page
from interp.arguments import FAILED, complain, parse_seeds
from interp.models.device import resolve_device
from interp.progress import Show, progress
from interp.runs.recipe import Recipe
from interp.runs.run import Run
from paper.chain_of_thought import mixed, positions, published, scaling, transfer, variants
from paper.chain_of_thought.experiments import EXPERIMENTS, Cell
from paper.chain_of_thought.report import Report, Results, markdown_page, what_was_trained
from paper.chain_of_thought.scores import Row
from paper.command import refuse_unknown, run_module
from paper.figures import write_static
from paper.tables import write_files
from training.progress import shown
from training.train import train

REPORTS = {
    "published": published.REPORT,
    "scaling": scaling.REPORT,
    "positions": positions.REPORT,
    "slack": variants.SLACK,
    "transfer": transfer.REPORT,
    "mixed": mixed.REPORT,
    "ablations": variants.ABLATIONS,
}
"""How each experiment is told."""


@dataclass(frozen=True)
class Options:
    """Train the networks of experiments, go on where it was interrupted, and tabulate them."""

    experiments: Positional[tuple[str, ...]] = ()
    """published, scaling, positions, slack, transfer, mixed, ablations; all if none is named."""
    small: bool = False
    """Sizes that run in minutes on two cores."""
    to: Path = Path("runs")
    """Folder for the folders of runs, one an experiment."""
    out: Path = Path("tables")
    """Folder for tables and figures."""
    seeds: str = "0..3"
    """Seeds, such as 0..3 or 1,5,7. Each draws the initial weights, and the data."""
    recipes: bool = False
    """Print the recipes as JSON, one a line, with the run folder of each, and do nothing."""
    device: str = "auto"
    """auto (cuda if there is one, else cpu), cpu, cuda, cuda:1, or mps."""
    quiet: bool = False
    """Show no progress."""


@dataclass(frozen=True)
class Experiment:
    """An experiment of one size, with the seeds of each of its networks."""

    kind: str
    options: Options

    @property
    def name(self) -> str:
        """Of its files, and of the folder of its runs."""
        return f"{self.kind}-small" if self.options.small else self.kind

    @property
    def folder(self) -> Path:
        """The folder of its runs."""
        return self.options.to / self.name

    @property
    def cells(self) -> list[Cell]:
        """Its networks; one that begins with another's weights comes after it."""
        return list(EXPERIMENTS[self.kind](self.options.small, self.folder))

    def recipes(self, cell: Cell) -> list[Recipe]:
        """A recipe for every seed."""
        return [cell.recipe.with_seed(seed) for seed in parse_seeds(self.options.seeds)]

    @property
    def command(self) -> str:
        """What repeats it."""
        small = " --small" * self.options.small
        return f"python -m paper.chain_of_thought {self.kind}{small} --seeds {self.options.seeds}"


def trained(experiment: Experiment, cell: Cell, show: Show) -> list[Run]:
    """The cell's runs, one for each seed, trained to the end and evaluated.

    Raises `RuntimeError` when something could not be measured, and what `train` raises.
    """
    device = experiment.options.device
    recipes = experiment.recipes(cell)
    runs = train(recipes, experiment.folder, name=cell.name, device=device, progress=shown(show))
    for run in runs:
        final = not cell.every_checkpoint
        if problems := evaluate_run(run, final=final, device=device, progress=show):
            raise RuntimeError("; ".join(map(str, problems)))
    return runs


def measured(experiment: Experiment, show: Show) -> tuple[Results, list[str]]:
    """Train and measure the networks; also the cells that failed, each with a line on stderr."""
    report, device = REPORTS[experiment.kind], resolve_device(experiment.options.device)
    cells = experiment.cells
    rows, details, failed = [], [pd.DataFrame()], []
    for cell in cells:
        try:
            runs = trained(experiment, cell, show)
            found = [_rows(report, cell, run, device) for run in runs]
        except (ValueError, OSError, RuntimeError) as error:
            complain(f"{experiment.name}, {cell.name}: {error}")
            failed.append(cell.name)
            continue
        rows += [row for row, _ in found]
        details += [more for _, more in found]
    return Results(list(cells[0].labels), pd.DataFrame(rows), pd.concat(details)), failed


def _rows(report: Report, cell: Cell, run: Run, device: torch.device) -> tuple[Row, pd.DataFrame]:
    """A network's row, and its details."""
    where = {**cell.labels, "seed": run.recipe.init_seed}
    more = report.details(run, device) if report.details else pd.DataFrame()
    labelled = pd.DataFrame(where, more.index).join(more)
    return where | report.measure(run, device), labelled


def write_report(experiment: Experiment, results: Results, failed: list[str]) -> None:
    """Write the tables and figures."""
    report, name, out = REPORTS[experiment.kind], experiment.name, experiment.options.out
    files = {f"{name}.csv": results.rows.to_csv(index=False)}
    if report.details:
        files[f"{name}_{report.details_name}.csv"] = results.details.to_csv(index=False)
    said = what_was_trained(experiment.cells, experiment.options.seeds)
    files[f"{name}.md"] = markdown_page(report, results, said, experiment.command, failed)
    figures = {f"{name}_{kind}": drawn for kind, drawn in report.figures(results).items()}
    files[f"{name}.html"] = page(report.title, figures)
    write_files(out, files)
    print(*(out / file for file in files), sep="\n")
    write_static({out / file: drawn for file, drawn in figures.items()})


def print_recipes(experiment: Experiment) -> None:
    """A line of JSON a network: its recipe, and under `run` the folder where it is looked for."""
    for cell in experiment.cells:
        for recipe in experiment.recipes(cell):
            run = experiment.folder / f"{cell.name}_seed{recipe.init_seed}"
            print(json.dumps({"run": str(run), **json.loads(recipe.to_json())}))


def carry_out(options: Options) -> int:
    """Train, measure and write; the work of `python -m paper.chain_of_thought`."""
    refuse_unknown("experiment", options.experiments, EXPERIMENTS)
    parse_seeds(options.seeds)
    resolve_device(options.device)
    experiments = [Experiment(kind, options) for kind in options.experiments or EXPERIMENTS]
    if options.recipes:
        for experiment in experiments:
            print_recipes(experiment)
        return 0
    status = 0
    with progress(options.quiet) as show:
        for experiment in experiments:
            results, failed = measured(experiment, show)
            if len(results.rows):
                write_report(experiment, results, failed)
            status = FAILED if failed else status
    return status


if __name__ == "__main__":
    sys.exit(run_module(Options, "paper.chain_of_thought", carry_out))
