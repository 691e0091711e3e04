"""The command line: `interp COMMAND ...`.

A command's options are a frozen dataclass whose fields are its flags (tyro). Layers are imported
inside the commands, so that `--help` answers at once.
"""

import signal
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, make_dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from tyro.conf import OmitArgPrefixes, Positional, UseAppendAction

from interp.arguments import (
    FAILED,
    UsageError,
    complain,
    nearest,
    parse,
    parse_seeds,
    run_command,
    value_of,
)

if TYPE_CHECKING:
    from interp.progress import Show
    from interp.runs.recipe import Recipe
    from interp.runs.run import Run


@dataclass(frozen=True)
class Common:
    """What every working command offers."""

    device: str = "auto"
    """auto (cuda if there is one, else cpu), cpu, cuda, cuda:1, or mps."""
    quiet: bool = False
    """Show no progress."""
    allow_module: UseAppendAction[tuple[str, ...]] = ()
    """Import a module of your own that a recipe names. May be given several times."""


@dataclass(frozen=True)
class Train(Common):
    """Train one network for each seed."""

    model: str | None = None
    """transformer, small, medium, large, compiled_shape, mlp, bilinear, decoder, iteration_head or
    my_module:MyConfig. Not given: mlp for groups, medium for sequence tasks, decoder for chain of
    thought, transformer for tasks of your own."""
    seeds: str = "0"
    """Seeds, such as 0..3 or 1,5,7. Each draws its initial weights, and its split."""
    to: Path = Path("runs")
    """Folder for the run folders."""
    name: str | None = None
    """Name of the run folders, before _seedN. Made from task and model if not given."""


def train(arguments: list[str]) -> int:
    """Train networks on a task: `interp train S5 --model mlp --seeds 0..3`."""
    from interp.runs.registry import COMPILED_SHAPE, named_model

    task_name, flags = _task_and_flags(arguments, "train", "S5")
    start = _default_recipe(task_name, value_of("--model", flags))
    options, recipe = _parse_recipe(Train, start, "train", flags)
    if options.model == COMPILED_SHAPE:  # of the task that the flags describe
        start = replace(start, model=named_model(COMPILED_SHAPE, recipe.task))
        options, recipe = _parse_recipe(Train, start, "train", flags)
    split_seed = recipe.split_seed if value_of("--split-seed", flags) else None
    recipes = [recipe.with_seed(seed, split_seed) for seed in parse_seeds(options.seeds)]
    return _train(recipes, options)


def _task_and_flags(arguments: list[str], command: str, example: str) -> tuple[str, list[str]]:
    """The name of the task, which comes first, and the rest; help is shown for `example`."""
    if not arguments or arguments[0] in ("-h", "--help"):
        return example, ["--help"]
    if arguments[0].startswith("-"):
        raise UsageError(f"the task comes first: `interp {command} {example}`")
    return arguments[0], arguments[1:]


def _parse_recipe(
    options: type[Any],
    start: "Recipe",
    command: str,
    flags: list[str],
    parts: Sequence[str] = ("task", "model", "optimizer", "schedule", "fine_tuning"),
) -> "tuple[Any, Recipe]":
    """The command's own options, and `start` with the flags' changes to these parts."""
    from interp.runs.registry import import_user_module

    values = {part: getattr(start, part) for part in parts}
    fields: list[Any] = [
        ("options", OmitArgPrefixes[options]),
        *((part, OmitArgPrefixes[type(value)], value) for part, value in values.items()),
        ("dtype", Literal["float32", "float64"], start.dtype),
    ]
    parsed = parse(make_dataclass(options.__name__, fields, frozen=True), f"{command} TASK", flags)
    changed = {part: getattr(parsed, part) for part in (*parts, "dtype")}
    module, is_own, _ = getattr(changed["task"], "program", "").partition(":")
    if is_own:  # a RASP program that was named on this command line
        import_user_module(module)
    return parsed.options, replace(start, **changed)


def _default_recipe(task_name: str, model_name: str | None) -> "Recipe":
    """What the flags of `interp train` then change."""
    from interp.runs.recipe import AdamW, Recipe, Schedule
    from interp.runs.registry import named_model, named_task
    from tasks.composition import GroupComposition
    from tasks.iteration import IterationTask
    from tasks.sequences import SequenceTask

    task = named_task(task_name)
    if isinstance(task, IterationTask):
        if model_name == "iteration_head":  # its weights are set, not trained
            return Recipe(task, named_model(model_name, task), schedule=Schedule(steps=0))
        model = named_model(model_name or "decoder", task)
        optimizer = AdamW(betas=(0.9, 0.999), weight_decay=0.0)
        return Recipe(task, model, optimizer, Schedule(steps=10_000, batch_size=256))
    if isinstance(task, SequenceTask):
        model = named_model(model_name or "medium", task)
        # A shorter memory of the squared gradients lets the loss leap up once it is near zero.
        optimizer = AdamW(lr=3e-3, betas=(0.9, 0.999), weight_decay=0.01)
        return Recipe(task, model, optimizer, Schedule(steps=2000, batch_size=512))
    is_group = isinstance(task, GroupComposition)
    model_name = model_name or ("mlp" if is_group else "transformer")
    if isinstance(task, GroupComposition) and model_name == "transformer":
        task = replace(task, equals_token=True)
    return Recipe(task=task, model=named_model(model_name, task))


def _train(recipes: "list[Recipe]", options: Train) -> int:
    from interp.progress import progress
    from training.progress import shown
    from training.train import train as train_runs

    with progress(options.quiet) as show:
        runs = train_runs(
            recipes, options.to, name=options.name, device=options.device, progress=shown(show)
        )
    for run in runs:
        print(run.path)
    return 0


@dataclass(frozen=True)
class Compile:
    """Compile the program that solves a task into a transformer."""

    to: Path | None = None
    """The run folder to write. Not given: runs/TASK."""
    check_up_to: int | None = None
    """Compare the network with the interpreter on every input of up to this many tokens. Not
    given: as many tokens as have at most 20,000 inputs."""
    check_random: int = 1000
    """And on this many random inputs of any length."""


def compile_(arguments: list[str]) -> int:
    """Compile a RASP program into a transformer: `interp compile peak --max-length 10`."""
    from interp.rasp import check, compile_task, inputs
    from interp.runs.recipe import Recipe, Schedule
    from interp.runs.registry import named_model, named_task
    from interp.runs.run import Run
    from training.train import resume as carry_out

    task_name, flags = _task_and_flags(arguments, "compile", "peak")
    task = named_task(task_name)
    start = Recipe(task, named_model("compiled", task), schedule=Schedule(steps=0))
    options, recipe = _parse_recipe(Compile, start, "compile", flags, parts=("task", "model"))
    if options.check_random < 0 or (options.check_up_to or 0) < 0:
        raise UsageError("--check-random and --check-up-to must be at least 0")
    if not len(recipe.task.examples("train")):
        raise UsageError("there are no training examples: raise --train-fraction or --max-length")
    compiled = compile_task(recipe.task, hardness=recipe.model.hardness, dtype=recipe.dtype)
    print(compiled.explain())
    found = check(compiled, inputs(compiled.encoding, options.check_up_to, options.check_random))
    print(found)
    if found.n_wrong:
        return FAILED
    run = Run.create(options.to or Path("runs") / recipe.task.name, recipe)
    carry_out(run, device="cpu")
    print(run.path)
    return 0


@dataclass(frozen=True)
class Resume(Common):
    """Continue runs that were interrupted."""

    runs: Positional[tuple[Path, ...]] = ()
    """Run folders, or folders of them."""


def resume(arguments: list[str]) -> int:
    """Continue training where it was interrupted: `interp resume RUN [RUN ...]`."""
    options = parse(Resume, "resume", arguments)
    from interp.progress import progress
    from training.progress import shown
    from training.train import resume as resume_run

    with progress(options.quiet) as show:
        report = shown(show)

        def resume_one(run: "Run") -> list[object]:
            resume_run(run, device=options.device, progress=report)
            return []

        return _each(_open_runs(options.runs, options.allow_module), resume_one)


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
    with progress(options.quiet) as show:

        def evaluate_one(run: "Run") -> list[Any]:
            return evaluate_run(
                run,
                final=options.final,
                metrics=options.metric,
                workers=options.workers,
                device=options.device,
                progress=show,
            )

        return _each(_open_runs(options.runs, options.allow_module), evaluate_one)


@dataclass(frozen=True)
class Causal(Common):
    """What the commands of causal analysis have in common."""

    runs: Positional[tuple[Path, ...]] = ()
    """Run folders, or folders of them."""
    step: int | None = None
    """The checkpoint. Not given: the newest."""
    variable: str | None = None
    """What differs between the inputs of a pair, such as first (operand), x_t, mirror or example
    (all of it). Not given: each of the task's variables, in pairs of its own."""
    pairs: int = 100
    """Pairs of inputs for each variable."""
    split: Literal["train", "test", "all"] = "test"
    """Where they are drawn from."""
    metric: str = "logit_difference"
    """logit_difference, margin, loss, probability, accuracy or kl."""
    seed: int = 0
    """Draws the pairs, and what is resampled."""


@dataclass(frozen=True)
class Patch(Causal):
    """Patch activations between the inputs of pairs, one layer, head and position at a time."""

    hook: UseAppendAction[tuple[str, ...]] = ()
    """A hook point, such as z, q, pattern or resid_pre. May be given several times. Not given:
    resid_pre, attn_out, mlp_out and z."""
    direction: Literal["noise", "denoise"] = "noise"
    """noise: from the corrupted run into the clean one. denoise: the other way round."""


def patch(arguments: list[str]) -> int:
    """Patch activations, everywhere: `interp patch RUN [RUN ...]`."""
    options = parse(Patch, "patch", arguments)
    from analysis.causal import write_patching

    given = {"hooks": options.hook, "metric": options.metric, "direction": options.direction}
    return _each_causally(options, f"patching_{options.direction}", write_patching, given)


@dataclass(frozen=True)
class FindCircuit(Causal):
    """Score every edge of networks, and judge the circuits of the highest scores."""

    method: str = "exact"
    """exact, eap, eap_ig_inputs, eap_ig_activations, node_attribution, acdc or random."""
    ablation: str = "corrupted"
    """What a cut edge carries: corrupted, zero, mean, position_mean or resample."""
    edges: int | None = None
    """Edges to draw. Not given: as few as do nine tenths of what the network does."""


def circuit(arguments: list[str]) -> int:
    """Find the circuit of a network: `interp circuit RUN --method exact`."""
    options = parse(FindCircuit, "circuit", arguments)
    from analysis.causal import write_circuit

    given = {
        "method": options.method,
        "ablation": options.ablation,
        "metric": options.metric,
        "n_edges": options.edges,
        "seed": options.seed,
    }
    name = f"circuit_{options.method}_{options.ablation}"
    return _each_causally(options, name, write_circuit, given)


def _each_causally(
    options: Causal, name: str, write: Callable[..., None], asked: dict[str, Any]
) -> int:
    """Write a folder of files about each run's checkpoint, and print it."""
    from interp.models.device import resolve_device
    from tasks.pairs import pairs_of_all_variables

    device = resolve_device(options.device)

    def analyse(run: "Run") -> list[object]:
        model = run.model(options.step).to(device)
        task, n = run.recipe.task, options.pairs
        if options.variable:
            pairs = task.pairs(options.variable, n, options.split, options.seed)
        else:
            pairs = pairs_of_all_variables(task, n, options.split, options.seed)
        step = run.final_step if options.step is None else options.step
        folder = run.path / "causal" / f"{name}_{pairs.variable}_step_{step:07d}"
        write(run, model, pairs, folder, **asked)
        print(folder)
        return []

    return _each(_open_runs(options.runs, options.allow_module), analyse)


@dataclass(frozen=True)
class Coefficient(Common):
    """Which local learning coefficient is meant."""

    runs: Positional[tuple[Path, ...]] = ()
    """Run folders, or folders of them."""
    restrict: str | None = None
    """What moves: all, body (all but the unembedding), live (what is not 0), l0, l0h1, l0attn,
    l0mlp, embed, pos_embed, unembed, a parameter by name, some of these joined by +, or by @ what
    is in both (live@body), irrep:standard or random:9 (a rank). Not given: all, but body for
    networks that were made and not trained."""
    loss: Literal["task", "kl"] | None = None
    """task, or kl: the divergence from what the network says at the checkpoint. Not given: task,
    but kl for networks that were made and not trained."""
    split: Literal["train", "test", "all"] = "train"
    """The examples."""
    dtype: Literal["float32", "float64"] | None = None
    """Precision of the sampling. Not given: the run's."""


@dataclass(frozen=True)
class LLC(Coefficient):
    """Estimate local learning coefficients, of all chosen checkpoints at once."""

    checkpoints: Literal["all", "final", "log"] = "final"
    """final: the newest. log: step 0 and about 12, log-spaced, to the newest."""


@dataclass(frozen=True)
class Calibrate(Coefficient):
    """Choose the sampler's settings for the newest checkpoint of runs."""

    budget: int = 5000
    """Steps that a chain may take in the end."""
    sampler: Literal["sgnht", "sgld", "rmsprop_sgld", "mala"] = "sgnht"
    """As of `interp llc`, like the options that follow."""
    chains: int = 8
    """Independent chains."""
    batch_size: int | None = None
    """Examples of a step. Not given: all of them."""
    nbeta: float | None = None
    """Inverse temperature times the number of examples n. Not given: n / log n."""
    seed: int = 0
    """Of the chains."""


def llc(arguments: list[str]) -> int:
    """Estimate local learning coefficients: `interp llc RUN`, `interp llc calibrate RUN`."""
    from analysis.llc.config import LLCConfig

    if arguments[:1] == ["calibrate"]:
        return _calibrate(parse(Calibrate, "llc calibrate", arguments[1:]))
    fields = [("coefficient", OmitArgPrefixes[LLC]), ("sampler", OmitArgPrefixes[LLCConfig])]
    parsed: Any = parse(make_dataclass("LLC", fields, frozen=True), "llc", arguments)
    options: LLC = parsed.coefficient

    def estimate(run: "Run", which: Any, show: "Show") -> None:
        from analysis.llc.runs import write_llc

        for step, found in write_llc(run, which, parsed.sampler, show).items():
            print(f"step {step}: {found}")

    return _each_coefficient(options, estimate, checkpoints=options.checkpoints)


def _calibrate(options: Calibrate) -> int:
    from analysis.llc.config import LLCConfig

    given = ("sampler", "chains", "batch_size", "nbeta", "seed")
    config = LLCConfig(**{name: getattr(options, name) for name in given})

    def calibrate(run: "Run", which: Any, show: "Show") -> None:
        from analysis.llc.runs import write_calibration

        found = write_calibration(run, which, config, options.budget, show)
        print(f"pilot: {found.pilot}")
        chosen = replace(found.config, nbeta=options.nbeta)
        asked = _flags(options, ("restrict", "loss", "split", "dtype"))
        print(" ".join(["interp llc", str(run.path), *_flags(chosen, vars(chosen)), *asked]))
        if not found.is_affordable:
            complain(f"{found.config.steps} steps are more than the budget of {options.budget}")

    return _each_coefficient(options, calibrate)


def _flags(values: Any, names: Iterable[str]) -> list[str]:
    """What to type for those values that are not there anyway, in as many digits as matter."""
    default = type(values)()
    return [
        f"--{name.replace('_', '-')} {f'{value:.3g}' if isinstance(value, float) else value}"
        for name in names
        if (value := getattr(values, name)) != getattr(default, name)
    ]


def _each_coefficient(
    options: Coefficient, work: "Callable[[Run, Any, Show], None]", **chosen: Any
) -> int:
    """Do something with the coefficient of each run."""
    import torch

    from analysis.llc.runs import coefficient_of
    from interp.models.device import resolve_device
    from interp.progress import progress

    chosen |= {name: getattr(options, name) for name in ("restrict", "loss", "split")}
    chosen["dtype"] = getattr(torch, options.dtype) if options.dtype else None
    chosen["device"] = resolve_device(options.device)
    with progress(options.quiet) as show:

        def one(run: "Run") -> list[object]:
            work(run, coefficient_of(run, **chosen), show)
            return []

        return _each(_open_runs(options.runs, options.allow_module), one)


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
    write_report(_open_runs(options.runs, options.allow_module), options.to)
    print(options.to)
    return 0


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


@dataclass(frozen=True)
class Cache:
    """See to the tensors of groups that are kept on disk."""

    action: Positional[Literal["list", "verify", "clear"]] = "list"
    """list what is kept, verify it against its checksums, or clear it."""


def cache(arguments: list[str]) -> int:
    """List, verify or clear the cached tensors of groups: `interp cache list`."""
    options = parse(Cache, "cache", arguments)
    from tasks.groups import cache_entries, cache_folder, clear_cache, verify_cache

    if options.action == "clear":
        print(f"removed {clear_cache()} entries from {cache_folder()}")
        return 0
    damaged = 0
    states = verify_cache() if options.action == "verify" else [(e, "") for e in cache_entries()]
    for entry, state in states:
        damaged += state == "damaged"
        print(f"{entry.group:<12} {entry.bytes / 2**20:8.2f} MiB  {entry.path}  {state}".rstrip())
    return FAILED if damaged else 0


@dataclass(frozen=True)
class Demo:
    """Train networks on C59 until they grok, measure every checkpoint, write a report."""

    to: Path = Path("demo")
    """Folder for the runs and report.html."""
    fast: bool = False
    """A smaller group and one seed, to see that everything works."""
    quiet: bool = False
    """Show no progress."""


def demo(arguments: list[str]) -> int:
    """Train, measure and report a small group network: `interp demo`."""
    options = parse(Demo, "demo", arguments)
    from interp.progress import progress
    from paper.demo import run_demo

    with progress(options.quiet) as show:
        page = run_demo(options.to, fast=options.fast, progress=show)
    print(page)
    return 0


COMMANDS: dict[str, Callable[[list[str]], int]] = {
    "demo": demo,
    "train": train,
    "compile": compile_,
    "resume": resume,
    "evaluate": evaluate,
    "patch": patch,
    "circuit": circuit,
    "llc": llc,
    "report": report,
    "import": import_,
    "cache": cache,
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; returns the exit status: 0, 1 the work failed, 2 the request was wrong."""
    name, *rest = (sys.argv[1:] if arguments is None else list(arguments)) or ["--help"]
    if name in ("-h", "--help"):
        print(_help())
        return 0
    # A job scheduler's stop is an orderly one: what was done until then is written.
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    return run_command(lambda: _command(name)(rest))


def _command(name: str) -> Callable[[list[str]], int]:
    if name not in COMMANDS:
        raise UsageError(f"there is no command {name!r}{nearest(name, COMMANDS)}")
    return COMMANDS[name]


def _help() -> str:
    lines = [f"  {name:<10}{_first_line(command)}" for name, command in COMMANDS.items()]
    return "\n".join(
        [
            "interp: mechanistic interpretability of small networks on algorithmic tasks",
            "",
            "usage: interp COMMAND [OPTIONS]",
            "",
            *lines,
            "",
            "`interp COMMAND --help` tells a command's options.",
        ]
    )


def _first_line(command: Callable[..., object]) -> str:
    return (command.__doc__ or "").splitlines()[0]


def _each(runs: "Sequence[Run]", work: "Callable[[Run], list[Any]]") -> int:
    """Do `work`, which returns what went wrong, for each run; print the run when it is done.

    Of several, one that fails does not stop the others.
    """
    failed = 0
    for run in runs:
        try:
            problems = work(run)
            print(run.path)
        except (ValueError, RuntimeError, OSError) as error:
            if len(runs) == 1:
                raise
            problems = [error]
        for problem in problems:
            complain(problem)
        failed += bool(problems)
    return FAILED if failed else 0


def _open_runs(paths: Sequence[Path], allow_modules: Sequence[str] = ()) -> "list[Run]":
    from interp.runs.registry import import_user_module
    from interp.runs.run import find_runs

    if not paths:
        raise UsageError("name at least one run folder")
    for module in allow_modules:
        import_user_module(module)
    runs = [run for path in paths for run in find_runs(path)]
    return list({run.path.resolve(): run for run in runs}.values())


if __name__ == "__main__":
    sys.exit(main())
