"""What commands about runs have in common: their options, and doing it for each of them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tyro.conf import UseAppendAction

from interp.arguments import FAILED, UsageError, complain

if TYPE_CHECKING:
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


def each_run(
    runs: "Sequence[Run]", work: "Callable[[Run], list[Any]]", *, quiet: bool = False
) -> int:
    """Do `work`, which returns what went wrong, for each run; print the run when it is done.

    Of several, one that fails does not stop the others. Nothing is printed if `quiet`.
    """
    failed = 0
    for run in runs:
        try:
            problems = work(run)
            if not quiet:
                print(run.path)
        except (ValueError, RuntimeError, OSError) as error:
            if len(runs) == 1:
                raise
            problems = [error]
        for problem in problems:
            complain(problem)
        failed += bool(problems)
    return FAILED if failed else 0


def open_runs(paths: Sequence[Path], allow_modules: Sequence[str] = ()) -> "list[Run]":
    """The runs in these folders, each once. Raises `UsageError` if no folder is named."""
    from interp.runs.registry import import_user_module
    from interp.runs.run import find_runs

    if not paths:
        raise UsageError("name at least one run folder")
    for module in allow_modules:
        import_user_module(module)
    runs = [run for path in paths for run in find_runs(path)]
    return list({run.path.resolve(): run for run in runs}.values())
