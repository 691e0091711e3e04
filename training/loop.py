"""The loop: train the runs of one batch from where they are to their last step."""

import math
import time
from collections.abc import Sequence

import torch
from jaxtyping import Float64
from torch import Tensor

from interp.runs.run import Run
from training.data import stack_examples
from training.errors import DivergedError, failures_recorded
from training.history import History
from training.progress import Progress, Report, stop_signals
from training.resume import RESUME, load_state, save_state
from training.state import State
from training.step import make_step

SECONDS_BETWEEN_SAVES = 30.0


def train_together(runs: Sequence[Run], device: torch.device, report: Report) -> None:
    """Train runs whose recipes differ in their seeds only, as one computation.

    They continue from their resume files. On SIGINT or SIGTERM the current step is finished and
    kept, and the signal then has its usual effect. A run that diverges is given up where it last
    was well, its status says so, and the others go on to the end, unaffected: no instance's
    numbers enter another's.

    Raises `DivergedError` in the end if any did, and `DiskFullError`.
    """
    batch = Batch(runs, device, report)
    with failures_recorded(batch.alive):
        batch.begin()
        with stop_signals() as signals:
            while batch.alive and not batch.visit_step(stopping=bool(signals)):
                batch.advance()
        batch.raise_if_diverged()


class Batch:
    """The runs of one batch, and what is known about them."""

    def __init__(self, runs: Sequence[Run], device: torch.device, report: Report) -> None:
        self.runs = runs
        self.alive = {i: run for i, run in enumerate(runs) if not diverged_before(run)}
        self.recipes = [run.recipe for run in runs]
        self.schedule = self.recipes[0].schedule
        self.checkpoints = set(self.schedule.checkpoint_steps())
        self.device = device
        self.report = report

    def begin(self) -> None:
        """Read or make everything that the loop changes."""
        for run in self.alive.values():
            run.write_manifest(device=str(self.device), batch=[run.name for run in self.runs])
        begun = any((run.path / RESUME).exists() for run in self.alive.values())
        self.state = State(self.recipes, self.device, load_start=not begun)
        load_state(self.state, self.alive)
        train = stack_examples(self.recipes, "train", self.device)
        test = stack_examples(self.recipes, "test", self.device)
        self.splits = {"train": train, "test": test} if test.n_examples else {"train": train}
        self.history = History(self.runs, before=self.state.step)
        self.advance = make_step(self.state, train, self.recipes)
        self._write_status("training")
        self.saved_at = time.monotonic()

    def visit_step(self, *, stopping: bool) -> bool:
        """Write what is due at the present step. Returns whether it was the last."""
        step = self.state.step
        last = step == self.schedule.steps
        logging = last or step % self.schedule.log_every == 0
        saving = last or stopping or time.monotonic() - self.saved_at > SECONDS_BETWEEN_SAVES
        if logging or saving or step in self.checkpoints:
            self._give_up(self.state.weight_norms(), "a weight")
        if logging:
            self._log()
        if saving:
            self._save()
        if step in self.checkpoints:
            for instance, run in self.alive.items():
                run.save_weights(step, self.state.weights(instance))
        if last or stopping:
            self._write_status("done" if last else "interrupted")
        return last or stopping

    def raise_if_diverged(self) -> None:
        """Raise `DivergedError` naming the runs that were given up, now or before."""
        errors = [run.training_status()["error"] for run in self.runs if diverged_before(run)]
        if errors:
            raise DivergedError("; ".join(errors))

    def _log(self) -> None:
        results = {split: self.state.evaluate(data) for split, data in self.splits.items()}
        norms = self.state.weight_norms().tolist()
        for split, (losses, accuracies) in results.items():
            self.history.add(self.state.step, split, losses.tolist(), accuracies.tolist(), norms)
        self._give_up(results["train"][0], "its training loss")
        unknown = torch.full_like(results["train"][0], math.nan)
        test_loss, test_accuracy = results.get("test", (unknown, unknown))
        self.report(
            Progress(
                runs=tuple(run.name for run in self.runs),
                step=self.state.step,
                steps=self.schedule.steps,
                train_loss=tuple(results["train"][0].tolist()),
                test_loss=tuple(test_loss.tolist()),
                test_accuracy=tuple(test_accuracy.tolist()),
            )
        )

    def _save(self) -> None:
        # History first: a row too many is dropped on resuming, a missing one would stay missing.
        self.history.write(self.alive)
        save_state(self.state, self.alive)
        self._write_status("training")
        self.saved_at = time.monotonic()

    def _write_status(self, status: str) -> None:
        for run in self.alive.values():
            run.write_status(status, step=self.state.step, steps=self.schedule.steps)

    def _give_up(self, values: Float64[Tensor, "instance"], what: str) -> None:
        """Go on without the instances whose value is not finite."""
        step, lr = self.state.step, self.recipes[0].optimizer.lr
        for instance, value in enumerate(values.tolist()):
            if instance in self.alive and not math.isfinite(value):
                run = self.alive.pop(instance)
                error = (
                    f"{run.name} diverged: {what} is {value} at step {step}; lower --lr (it is "
                    f"{lr:g}) and train it under another --name"
                )
                run.write_status(
                    "failed", error=error, diverged=True, step=step, steps=self.schedule.steps
                )


def diverged_before(run: Run) -> bool:
    """Whether the run was given up. It would diverge again."""
    return run.training_status().get("diverged", False)
