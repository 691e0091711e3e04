"""What `python -m paper.X` has in common: flags from a dataclass, mistakes told in one line."""

import sys
from collections.abc import Callable, Collection, Iterable
from typing import Protocol, TypeVar

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


class Watched(Protocol):
    """Options of a module that shows its progress."""

    @property
    def quiet(self) -> bool:
        """Whether it shows none."""
        ...


def run_watched(
    options: type[WatchedOptions], module: str, work: Callable[[WatchedOptions, Show], int]
) -> int:
    """`run_module` for work that shows its progress."""

    def watched(given: WatchedOptions) -> int:
        with progress(given.quiet) as show:
            return work(given, show)

    return run_module(options, module, watched)


def refuse_unknown(kind: str, names: Iterable[str], allowed: Collection[str]) -> None:
    """Raise `UsageError` for the first of the names of a `kind` of things that is not allowed."""
    for name in names:
        if name not in allowed:
            raise arguments.UsageError(
                f"there is no {kind} {name!r}: there are {', '.join(allowed)}"
                f"{arguments.nearest(name, allowed)}"
            )
