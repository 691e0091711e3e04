"""What `python -m paper.X` has in common: flags from a dataclass, mistakes told in one line."""

import sys
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from typing import TypeVar

from interp import arguments
from interp.progress import Show, progress

Options = TypeVar("Options")
WatchedOptions = TypeVar("WatchedOptions", bound="Watched")


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


@dataclass(frozen=True, kw_only=True)
class Watched:
    """Options of a module that shows its progress."""

    quiet: bool = False
    """Show no progress."""


def run_watched(
    options: type[WatchedOptions],
    module: str,
    work: Callable[[WatchedOptions, Show], int],
    given: list[str] | None = None,
) -> int:
    """`run_module` for work that shows its progress."""

    def watched(parsed: WatchedOptions) -> int:
        with progress(parsed.quiet) as show:
            return work(parsed, show)

    return run_module(options, module, watched, given)


def refuse_unknown(kind: str, names: Iterable[str], allowed: Collection[str]) -> None:
    """Raise `UsageError` for the first of the names of a `kind` of things that is not allowed."""
    for name in names:
        if name not in allowed:
            raise arguments.UsageError(
                f"there is no {kind} {name!r}: there are {', '.join(allowed)}"
                f"{arguments.nearest(name, allowed)}"
            )
