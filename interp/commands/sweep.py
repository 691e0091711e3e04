"""Training many recipes, on one machine or a cluster, and telling how they do."""

from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from tyro.conf import Positional, UseAppendAction

from interp.arguments import FAILED, UsageError, complain, parse
from interp.commands.on_runs import Common, open_runs
from interp.commands.train import recipes_of
from interp.plain_json import json_text

if TYPE_CHECKING:
    from interp.runs.run import Run
    from training.sweep.job import Job, Work
    from training.sweep.status import Standing


EVERY_CORE = -1
"""As many processes as there are cores, in joblib's words."""


@dataclass(frozen=True)
class Sweep(Common):
    """Train what is missing of a sweep. `interp sweep status` tells how it stands."""

    what: Positional[str] = field(kw_only=True)
    """A file such as sweep.yaml, or a preset (`interp list presets`)."""
    to: Path = Path("runs")
    """Folder for the run folders."""
    engine: Literal["here", "processes", "slurm"] = "here"
    """here: one recipe after another, each with all its seeds. processes: several at once. slurm:
    an array of jobs is submitted to SLURM."""
    workers: int | None = None
    """Processes of --engine processes. Not given: one for each core."""
    slurm: UseAppendAction[tuple[str, ...]] = ()
    """An option of sbatch, such as partition=gpu, time=4:00:00 or exclusive. May be given several
    times. A job whose time is up goes on in a new one; without `time` it has an hour."""
    evaluate: Literal["no", "final", "all"] = "no"
    """Measure runs that are trained, in the same jobs: their final checkpoint, or all."""


@dataclass(frozen=True)
class SweepStatus:
    """Tell which runs of a sweep are done, running, failed and waiting."""

    what: Positional[str]
    """As for `interp sweep`, or a folder of runs."""
    to: Path = Path("runs")
    """Folder of the run folders."""
    json: bool = False
    """As JSON, a list with an object for each run."""
    allow_module: UseAppendAction[tuple[str, ...]] = ()
    """Import a module of your own that a recipe names. May be given several times."""


def sweep(arguments: list[str]) -> int:
    """Train many recipes: `interp sweep FILE.yaml`, `interp sweep status FILE.yaml`."""
    if arguments[:1] == ["status"]:
        return _status(parse(SweepStatus, "sweep status", arguments[1:]))
    options = parse(Sweep, "sweep", arguments)
    _refuse_wrong(options)
    from interp.models.device import resolve_device
    from training.sweep.job import refuse_conflicts

    if options.engine != "slurm":  # whose machines may have other devices than this one
        resolve_device(options.device)
    jobs = _jobs(options.what, options.to)
    refuse_conflicts(jobs)
    missing: list[Job] = []
    for job in jobs:
        if _is_over(job, options):
            print(*job.paths, sep="\n")
        else:
            missing.append(job)
    return _submit(missing, options) if options.engine == "slurm" else _work(missing, options)


def _refuse_wrong(options: Sweep) -> None:
    if options.workers is not None and options.workers < 1:
        raise UsageError(f"--workers is {options.workers}: it must be at least 1")
    if options.workers is not None and options.engine != "processes":
        raise UsageError(f"--workers is for --engine processes, not {options.engine}")
    if options.slurm and options.engine != "slurm":
        raise UsageError(f"--slurm is for --engine slurm, not {options.engine}")


def _jobs(what: str, to: Path) -> "list[Job]":
    from training.sweep.file import jobs_of_file
    from training.sweep.job import jobs_of

    if Path(what).suffix in (".yaml", ".yml"):
        return jobs_of_file(Path(what), to, lambda task, flags: recipes_of(task, flags)[1])
    from paper.experiments import chosen

    return [job for found in chosen([what]) for job in jobs_of(found.recipes, to / found.name)]


def _is_over(job: "Job", options: Sweep) -> bool:
    """Whether nothing is left to do."""
    if not job.is_finished or options.evaluate == "no":
        return job.is_finished
    from analysis.evaluate import is_evaluated
    from interp.runs.run import Run

    return all(is_evaluated(Run(path), final=options.evaluate == "final") for path in job.paths)


def _how(options: Sweep) -> "Work":
    from training.sweep.job import Work

    if options.evaluate == "no":
        return Work(options.device)
    return Work(options.device, partial(_measure, final=options.evaluate == "final"))


def _measure(run: "Run", device: str, *, final: bool) -> list[str]:
    """What is done in a job with a run that is trained."""
    from analysis.evaluate import evaluate_run

    return list(map(str, evaluate_run(run, final=final, device=device)))


def _work(jobs: "list[Job]", options: Sweep) -> int:
    """Carry jobs out on this machine; tell of failures when all is done."""
    from interp.progress import progress
    from training.progress import shown
    from training.sweep.engines import here, processes
    from training.sweep.job import has_finished
    from training.sweep.slurm import forget

    for job in jobs:
        forget(job)
    problems: list[str] = []
    unfinished: list[tuple[Job, list[str]]] = []
    with progress(options.quiet) as show:
        if options.engine == "here":
            outcomes = here(jobs, _how(options), shown(show))
        else:
            outcomes = processes(jobs, _how(options), options.workers or EVERY_CORE)
        for done, (job, found) in enumerate(outcomes, start=1):
            if options.engine == "processes":
                show("jobs", done, len(jobs), "")
            if job.is_finished:
                problems += found
            else:
                unfinished.append((job, found))
            for path in filter(has_finished, job.paths):
                print(path, flush=True)
    # What another process had at the time may be done by now.
    problems += [problem for job, found in unfinished if not job.is_finished for problem in found]
    for problem in problems:
        complain(problem)
    return FAILED if problems else 0


def _submit(jobs: "list[Job]", options: Sweep) -> int:
    from training.sweep.slurm import submit

    asked = [option.partition("=") for option in options.slurm]
    flags = {name: value if equals else True for name, equals, value in asked}
    for number, job in submit(jobs, options.to, _how(options), flags).items():
        print(f"SLURM job {number}: {job.folder / job.name}, {len(job.recipes)} seeds")
    return 0


def _status(options: SweepStatus) -> int:
    """Print how the runs stand."""
    from training.sweep.slurm import SlurmError, queue, submitted_as
    from training.sweep.status import standings

    if Path(options.what).is_dir():
        paths = [run.path for run in open_runs([Path(options.what)], options.allow_module)]
    else:
        paths = [path for job in _jobs(options.what, options.to) for path in job.paths]
    queued = None
    if any(map(submitted_as, paths)):
        try:
            queued = queue()
        except SlurmError as error:
            complain(error)
    found = standings(paths, queued)
    print(json_text([asdict(one) for one in found]) if options.json else _in_words(found))
    return 0


def _in_words(found: "list[Standing]") -> str:
    """How many runs are in each state, and where those are that are not done."""
    from training.sweep.status import STATES

    counts = {state: sum(one.state == state for one in found) for state in STATES}
    lines = [f"{len(found)} runs: " + ", ".join(f"{n} {state}" for state, n in counts.items())]
    for state in STATES[1:]:
        these = [one for one in found if one.state == state]
        lines += [f"{state:<8} {one.path}  {one.details}".rstrip() for one in these]
    return "\n".join(lines)
