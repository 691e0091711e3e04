"""What the command line shows while it works: a bar on a terminal, plain lines elsewhere."""

import contextlib
import sys
import time
from collections.abc import Callable, Iterator

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

Show = Callable[[str, int, int, str], None]
"""`show(title, done, total, details)`: one call a step that is worth telling."""

LINE_EVERY = 10.0
"""Seconds between two plain lines about the same work."""


@contextlib.contextmanager
def progress(quiet: bool = False) -> Iterator[Show]:
    """Show work in progress on stderr inside the block; nothing at all if `quiet`."""
    console = Console(stderr=True)
    if quiet:
        yield lambda title, done, total, details: None
    elif console.is_terminal:
        with _bars(console) as show:
            yield show
    else:
        yield _Lines()


@contextlib.contextmanager
def _bars(console: Console) -> Iterator[Show]:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[details]}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console) as bars:
        tasks = {}

        def show(title: str, done: int, total: int, details: str) -> None:
            if title not in tasks:
                tasks[title] = bars.add_task(title, total=total, details=details)
            bars.update(tasks[title], completed=done, total=total, details=details)

        yield show


class _Lines:
    def __init__(self) -> None:
        self._last: dict[str, float] = {}

    def __call__(self, title: str, done: int, total: int, details: str) -> None:
        now = time.monotonic()
        if done >= total or now - self._last.get(title, now - LINE_EVERY) >= LINE_EVERY:
            self._last[title] = now
            print(f"{title} {done}/{total} {details}".rstrip(), file=sys.stderr, flush=True)
