"""Compiling programs into transformers."""

from dataclasses import dataclass
from pathlib import Path

from interp.arguments import FAILED, UsageError
from interp.commands.train import parse_recipe, task_and_flags


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

    task_name, flags = task_and_flags(arguments, "compile", "peak")
    task = named_task(task_name)
    start = Recipe(task, named_model("compiled", task), schedule=Schedule(steps=0))
    options, recipe = parse_recipe(Compile, start, "compile", flags, parts=("task", "model"))
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
