"""Runs that were published, and the tables of the publication."""

from dataclasses import dataclass
from pathlib import Path

from tyro.conf import Positional

from interp.arguments import FAILED, complain, parse


@dataclass(frozen=True)
class Import:
    """Turn published runs into run folders."""

    source: Positional[Path]
    """A published run (cfg.json, model.pt, checkpoints/), or a folder of them."""
    to: Path = Path("runs")
    """Folder for the run folders."""


def import_(arguments: list[str]) -> int:
    """Turn published runs into run folders: `interp import PUBLISHED_DIR --to RUNS`."""
    options = parse(Import, "import", arguments)
    from interp.runs.published import import_published

    made = 0
    for imported in import_published(options.source, options.to):
        for problem in imported.problems:
            complain(problem)
        if imported.run is not None:
            made += 1
            print(imported.run.path)
    return 0 if made else FAILED


def tables(arguments: list[str]) -> int:
    """Write the publication's tables: `interp tables --runs RUNS --out TABLES`."""
    from paper.tables import Options, write_tables

    return write_tables(parse(Options, "tables", arguments))
