"""How the runs of a sweep stand, from their folders and, where there is one, SLURM's queue."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from interp.runs.run import Run
from training.sweep.job import has_finished, last_line
from training.sweep.slurm import last_words, submitted_as

State = Literal["done", "running", "failed", "waiting"]
STATES: tuple[State, ...] = ("done", "running", "failed", "waiting")


@dataclass(frozen=True)
class Standing:
    """Where one run is."""

    path: Path
    state: State
    details: str
    """How far it is, what it waits for, or the last line of its error."""


def standings(paths: Iterable[Path], queued: Mapping[str, str] | None) -> list[Standing]:
    """How runs stand whose folders are there or not yet.

    `queued` is SLURM's queue, state by job; None where nobody knows it.
    """
    return [Standing(path, *_standing(path, queued)) for path in paths]


def _standing(path: Path, queued: Mapping[str, str] | None) -> tuple[State, str]:
    if has_finished(path):
        return "done", ""
    status = Run(path).training_status() if (path / "recipe.json").exists() else {}
    state, reached = status.get("state"), _reached(status)
    if state == "training":
        return "running", reached
    number = submitted_as(path)
    if number is not None and queued is not None and number in queued:
        return "waiting", _joined(reached, f"SLURM job {number} is {queued[number]}")
    if state == "failed":
        return "failed", last_line(status["error"])
    if number is not None and queued is not None:
        gone = f"SLURM job {number} is gone, cancelled or killed: start the sweep again"
        return "failed", _joined(reached, gone, last_words(path))
    return "waiting", _joined(reached, "interrupted" if state == "interrupted" else "")


def _reached(status: Mapping[str, object]) -> str:
    return f"step {status['step']} of {status['steps']}" if "steps" in status else ""


def _joined(*parts: str) -> str:
    return "; ".join(part for part in parts if part)
