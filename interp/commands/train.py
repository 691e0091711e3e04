"""Training networks, and taking up what was interrupted."""

from collections.abc import Sequence
from dataclasses import dataclass, make_dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from tyro.conf import OmitArgPrefixes, Positional, arg

from interp.arguments import UsageError, parse, parse_seeds, value_of
from interp.commands.on_runs import Common, each_run, open_runs

if TYPE_CHECKING:
    from interp.runs.recipe import Recipe
    from interp.runs.run import Run


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


_Dtype = Annotated[Literal["float32", "float64"], arg(help="Precision of the weights in training.")]


def train(arguments: list[str]) -> int:
    """Train networks on a task: `interp train S5 --model mlp --seeds 0..3`."""
    options, recipes = recipes_of(*task_and_flags(arguments, "train", "S5"))
    return _train(recipes, options)


def recipes_of(task: str, flags: list[str]) -> "tuple[Train, list[Recipe]]":
    """The command's options, and a recipe for each seed, of a task's name and flags.

    Raises `ValueError` for what cannot be understood or carried out.
    """
    from interp.runs.registry import COMPILED_SHAPE, named_model

    start = _default_recipe(task, value_of("--model", flags))
    options, recipe = parse_recipe(Train, start, "train", flags)
    if options.model == COMPILED_SHAPE:  # of the task that the flags describe
        start = replace(start, model=named_model(COMPILED_SHAPE, recipe.task))
        options, recipe = parse_recipe(Train, start, "train", flags)
    split_seed = recipe.split_seed if value_of("--split-seed", flags) else None
    return options, [recipe.with_seed(seed, split_seed) for seed in parse_seeds(options.seeds)]


def task_and_flags(arguments: list[str], command: str, example: str) -> tuple[str, list[str]]:
    """The name of the task, which comes first, and the rest; help is shown for `example`."""
    if not arguments or arguments[0] in ("-h", "--help"):
        return example, ["--help"]
    if arguments[0].startswith("-"):
        raise UsageError(f"the task comes first: `interp {command} {example}`")
    return arguments[0], arguments[1:]


def parse_recipe(
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
        ("run", OmitArgPrefixes[options]),
        *((part, OmitArgPrefixes[type(value)], value) for part, value in values.items()),
        ("dtype", _Dtype, start.dtype),
    ]
    parsed = parse(make_dataclass(options.__name__, fields, frozen=True), f"{command} TASK", flags)
    changed = {part: getattr(parsed, part) for part in (*parts, "dtype")}
    module, is_own, _ = getattr(changed["task"], "program", "").partition(":")
    if is_own:  # a RASP program that was named on this command line
        import_user_module(module)
    return parsed.run, replace(start, **changed)


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

        return each_run(open_runs(options.runs, options.allow_module), resume_one)
