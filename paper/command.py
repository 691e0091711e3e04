"""What `python -m paper.X` has in common: flags from a dataclass, mistakes told in one line."""

import sys
from collections.abc import Callable, Collection, Iterable
from typing import TypeVar

from interp import arguments

Options = TypeVar("Options")


def run_module(
    options: type[Options],
    module: str,
    work: Callable[[Options], int],
    given: list[str] | None = None,
) -> int:
    """Do `work` with the flags of the command line; returns the exit status."""
    flags = sys.argv[1:] if given is None else given
    return arguments.run_command(
        lambda: work(arguments.parse(options, module, flags, program="python -m"))
    )


def refuse_unknown(kind: str, names: Iterable[str], allowed: Collection[str]) -> None:
    """Raise `UsageError` for the first of the names of a `kind` of things that is not allowed."""
    for name in names:
        if name not in allowed:
            raise arguments.UsageError(
                f"there is no {kind} {name!r}: there are {', '.join(allowed)}"
                f"{arguments.nearest(name, allowed)}"
            )
