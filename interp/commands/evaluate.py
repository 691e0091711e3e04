"""Measuring checkpoints, and pages about what was measured."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tyro.conf import Positional, UseAppendAction

from interp.arguments import UsageError, parse
from interp.commands.on_runs import Common, each_run, open_runs
from interp.plain_json import json_text

if TYPE_CHECKING:
    from interp.runs.run import Run


@dataclass(frozen=True)
class Evaluate(Common):
    """Measure checkpoints of runs; what is measured already is not measured again."""

    runs: Positional[tuple[Path, ...]] = ()
    """Run folders, or folders of them."""
    final: bool = False
    """Only the newest checkpoint."""
    metric: UseAppendAction[tuple[str, ...]] = ()
    """A metric of your own, as my_module:my_metric. May be given several times."""
    workers: int = 1
    """Processes to evaluate checkpoints in."""
    json: bool = False
    """As JSON, a list with an object for each run: what could not be measured, and the numbers of
    the newest checkpoint."""


def evaluate(arguments: list[str]) -> int:
    """Measure every checkpoint of runs: `interp evaluate RUN [RUN ...]`."""
    options = parse(Evaluate, "evaluate", arguments)
    if options.workers < 1:
        raise UsageError(f"--workers is {options.workers}: it must be at least 1")
    from analysis.evaluate import evaluate_run
    from analysis.metric_sets import metric_sets
    from interp.models.device import resolve_device
    from interp.progress import progress

    metric_sets(options.metric, None)  # names a metric that is not there before any work
    resolve_device(options.device)
    measured: list[dict[str, Any]] = []
    with progress(options.quiet) as show:

        def evaluate_one(run: "Run") -> list[Any]:
            problems = evaluate_run(
                run,
                final=options.final,
                metrics=options.metric,
                workers=options.workers,
                device=options.device,
                progress=show,
            )
            told = {"run": str(run.path), "problems": list(map(str, problems))}
            measured.append({**told, "summary": run.summary()})
            return problems

        runs = open_runs(options.runs, options.allow_module)
        status = each_run(runs, evaluate_one, quiet=options.json)
    if options.json:
        print(json_text(measured))
    return status


@dataclass(frozen=True)
class Report:
    """Write one self-contained HTML page about runs."""

    runs: Positional[tuple[Path, ...]] = ()
    """Run folders, or folders of them."""
    to: Path = Path("report.html")
    """The page to write."""
    allow_module: UseAppendAction[tuple[str, ...]] = ()
    """Import a module of your own that a recipe names. May be given several times."""


def report(arguments: list[str]) -> int:
    """Write an HTML page with tables and pictures: `interp report RUN [RUN ...]`."""
    options = parse(Report, "report", arguments)
    from analysis.report import write_report

    if options.to.is_dir():
        raise UsageError(f"--to is the folder {options.to}: name a file such as report.html")
    write_report(open_runs(options.runs, options.allow_module), options.to)
    print(options.to)
    return 0
