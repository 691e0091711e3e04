"""What training says while it runs, and what it does when it is told to stop."""

import contextlib
import math
import signal
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import FrameType

from interp.progress import Show


@dataclass(frozen=True)
class Progress:
    """Where a batch of runs is, at a logged step. Losses and accuracies are in order of `runs`."""

    runs: tuple[str, ...]
    step: int
    steps: int
    train_loss: tuple[float, ...]
    test_loss: tuple[float, ...]
    test_accuracy: tuple[float, ...]
    """NaN for a regression task, or without a test split."""


Report = Callable[[Progress], None]


def silent(progress: Progress) -> None:
    """Say nothing."""


def shown(show: Show) -> Report:
    """Tell the command line's display: one line a batch, with the worst of its runs."""

    def report(progress: Progress) -> None:
        first, *others = progress.runs
        title = f"{first} and {len(others)} more" if others else first
        loss, accuracy = max(progress.train_loss), min(progress.test_accuracy)
        details = f"train loss {loss:.2e}"
        details += "" if math.isnan(accuracy) else f"  test accuracy {accuracy:.3f}"
        show(title, progress.step, progress.steps, details)

    return report


@contextlib.contextmanager
def stop_signals() -> Iterator[list[int]]:
    """SIGINT and SIGTERM received inside the block, for it to end at a good moment.

    When it has ended, they have their usual effect: `KeyboardInterrupt`, or `SystemExit` with
    status 143. A second signal of a kind has it at once. Outside the main thread, where Python
    handles no signals, nothing is received.
    """
    received: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield received
        return

    def note(number: int, frame: FrameType | None) -> None:
        received.append(number)
        signal.signal(number, previous[signal.Signals(number)])

    previous = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    for number in previous:
        signal.signal(number, note)
    try:
        yield received
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
    if received:
        raise KeyboardInterrupt if received[0] == signal.SIGINT else SystemExit(128 + received[0])
