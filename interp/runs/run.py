"""A run: the folder of one network, with everything that was computed about it."""

import contextlib
import json
import os
import platform
import re
import socket
from collections.abc import Iterator, Mapping
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from jaxtyping import Shaped
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.nn import Module

from interp.plain_json import json_text
from interp.runs.lock import is_locked, locked
from interp.runs.recipe import Recipe, recipe_from_json
from tasks.atomic import atomic_path, write_text

METRIC_COLUMNS = {"step": "int64", "metric": "str", "component": "str", "value": "float64"}


class RunError(ValueError):
    """A run folder that is missing something, or holds something damaged."""


class Run:
    """One network's folder. Every write is whole or not there; see the design of run folders.

    `Run(path)` opens an existing folder and raises `RunError` when it holds no recipe;
    `Run.create` makes one.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        if not self._recipe_path.is_file():
            raise RunError(
                f"{self.path} is no run folder: it has no recipe.json (`interp train` and "
                "`interp import` make run folders)"
            )

    @classmethod
    def create(cls, path: str | os.PathLike[str], recipe: Recipe) -> "Run":
        """Make the folder, or open it if it holds an equal recipe already.

        Raises `RunError` when it holds another one.
        """
        folder = Path(path)
        if (folder / "recipe.json").exists():
            run = cls(folder)
            if run.recipe != recipe:
                raise RunError(
                    f"{folder} holds a run with another recipe: choose another --name or --to, or "
                    "remove that folder"
                )
            return run
        write_text(folder / "recipe.json", recipe.to_json())
        return cls(folder)

    @property
    def name(self) -> str:
        """The folder's name."""
        return self.path.name

    @property
    def _recipe_path(self) -> Path:
        return self.path / "recipe.json"

    @cached_property
    def recipe(self) -> Recipe:
        """What the run was made from."""
        try:
            return recipe_from_json(self._recipe_path.read_text())
        except ValueError as error:
            raise RunError(f"{self._recipe_path}: {error}") from error

    # Weights

    @property
    def steps(self) -> list[int]:
        """The steps that have a checkpoint, ascending. A step counts completed updates."""
        found = (
            re.fullmatch(r"step_(\d+)\.safetensors", path.name)
            for path in (self.path / "checkpoints").glob("step_*.safetensors")
        )
        return sorted(int(match[1]) for match in found if match)

    @property
    def final_step(self) -> int:
        """The newest checkpoint's step. Raises `RunError` when there is none."""
        if not self.steps:
            raise RunError(f"{self.path} has no checkpoints: `interp resume {self.path}` trains it")
        return self.steps[-1]

    def checkpoint_path(self, step: int) -> Path:
        """Where the weights after `step` updates are, or go."""
        return self.path / "checkpoints" / f"step_{step:07d}.safetensors"

    def save_weights(self, step: int, weights: Mapping[str, Tensor]) -> None:
        """Write a checkpoint."""
        save_tensors(self.checkpoint_path(step), weights)

    def weights(self, step: int | None = None) -> dict[str, Shaped[Tensor, "..."]]:
        """The parameters of a checkpoint (the newest if no step is given), on the CPU."""
        return load_tensors(self.checkpoint_path(self.final_step if step is None else step))

    def model(self, step: int | None = None, dtype: torch.dtype | None = None) -> Module:
        """The network of a checkpoint, in evaluation mode, on the CPU.

        Raises `RunError` when the weights do not fit the recipe's model.
        """
        step = self.final_step if step is None else step
        weights = self.weights(step)
        model = self.recipe.model.build(self.recipe.task, self.recipe.init_seed)
        model = model.to(getattr(torch, self.recipe.dtype))
        try:
            load_weights(model, weights)
        except ValueError as error:
            raise RunError(f"{self.checkpoint_path(step)}: {error}") from error
        return model.to(dtype).eval() if dtype else model.eval()

    # Records

    def history(self) -> pd.DataFrame:
        """Loss, accuracy and weight norm along training; empty when none was written."""
        return self._table("history.parquet", {})

    def write_history(self, table: pd.DataFrame) -> None:
        """Replace the history."""
        self._write_table("history.parquet", table)

    def metrics(self) -> pd.DataFrame:
        """What was measured: rows of step, metric, component, value; empty when nothing was."""
        return self._table("metrics.parquet", METRIC_COLUMNS)

    def write_metrics(self, table: pd.DataFrame) -> None:
        """Replace the measurements."""
        self._write_table("metrics.parquet", table)

    def summary(self) -> dict[str, Any]:
        """The final step's measurements, flat; empty when nothing was measured."""
        return self.read_json("summary.json")

    def status(self) -> dict[str, Any]:
        """What was last said about the run: `state` and more; a dead owner reads `interrupted`."""
        status = self.read_json("status.json")
        if status.get("state") == "evaluating" and is_locked(self._lock_path):
            return status
        return self.training_status()

    def training_status(self) -> dict[str, Any]:
        """How its training stands, whatever is done with the run now."""
        status = self.read_json("status.json")
        status = status.get("training", status)
        if status.get("state") == "training" and not is_locked(self._lock_path):
            status["state"] = "interrupted"
        return status

    def write_status(self, state: str, **details: Any) -> None:
        """Say what is happening, with when, where and any details."""
        now = pd.Timestamp.now(tz="UTC").isoformat(timespec="seconds")
        where = {"host": socket.gethostname(), "pid": os.getpid()}
        self.write_json("status.json", {"state": state, "since": now, **where, **details})

    def write_manifest(self, **details: Any) -> None:
        """Record what the numbers depend on: versions, device, threads."""
        packages = ("interp", "torch", "transformer-lens", "numpy")
        manifest = {
            "versions": {"python": platform.python_version(), **{p: version(p) for p in packages}},
            "machine": platform.machine(),
            "threads": torch.get_num_threads(),
            **details,
        }
        self.write_json("manifest.json", manifest)

    def read_json(self, name: str) -> dict[str, Any]:
        """A JSON file of the folder, or an empty dict when it is not there."""
        path = self.path / name
        try:
            data = json.loads(path.read_text()) if path.exists() else {}
        except json.JSONDecodeError as error:
            raise RunError(f"{path} is damaged: {error}") from error
        if not isinstance(data, dict):
            raise RunError(f"{path} is damaged: it holds no JSON object")
        return data

    def write_json(self, name: str, data: Mapping[str, Any]) -> None:
        """Write a JSON file of the folder."""
        write_text(self.path / name, json_text(data) + "\n")

    # One writer at a time

    @property
    def _lock_path(self) -> Path:
        return self.path / "lock"

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other processes from writing to this run. Raises `LockedError` if one does."""
        with locked(self._lock_path):
            yield

    def _table(self, name: str, columns: dict[str, str]) -> pd.DataFrame:
        path = self.path / name
        if not path.exists():
            return pd.DataFrame({c: pd.Series(dtype=kind) for c, kind in columns.items()})
        try:
            table = pd.read_parquet(path)
        except (OSError, ValueError) as error:
            raise RunError(f"{path} is damaged ({error}): remove it") from error
        if missing := [column for column in columns if column not in table]:
            raise RunError(f"{path} is damaged (it has no column {missing[0]!r}): remove it")
        return table

    def _write_table(self, name: str, table: pd.DataFrame) -> None:
        with atomic_path(self.path / name) as temporary:
            table.to_parquet(temporary, index=False)


def find_runs(folder: str | os.PathLike[str]) -> list[Run]:
    """The runs in a folder's subfolders at any depth, by name; or the folder, if it is one.

    Raises `RunError` when there are none.
    """
    recipes = sorted(Path(folder).rglob("recipe.json"))
    if not recipes:
        raise RunError(f"there is no run (a folder with a recipe.json) in {folder}")
    return [Run(path.parent) for path in recipes]


def load_weights(model: Module, weights: Mapping[str, Tensor]) -> None:
    """Copy weights into a model. Raises `ValueError` naming what is missing or does not fit."""
    parameters = dict(model.named_parameters())
    problems = [
        *(f"{name} is missing" for name in parameters if name not in weights),
        *(f"{name} is unknown" for name in weights if name not in parameters),
        *(
            f"{name} has shape {tuple(weights[name].shape)}, not {tuple(parameter.shape)}"
            for name, parameter in parameters.items()
            if name in weights and weights[name].shape != parameter.shape
        ),
    ]
    if problems:
        more = f"; and {len(problems) - 3} more" if len(problems) > 3 else ""
        raise ValueError("the weights do not fit the model: " + "; ".join(problems[:3]) + more)
    with torch.no_grad():
        for name, parameter in parameters.items():
            parameter.data = weights[name].to(parameter.dtype, copy=True)


def save_tensors(
    path: Path, tensors: Mapping[str, Tensor], metadata: dict[str, str] | None = None
) -> None:
    """Write tensors as safetensors, whole or not at all."""
    with atomic_path(path) as temporary:
        whole = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
        save_file(whole, temporary, metadata=metadata)


def load_tensors(path: Path) -> dict[str, Shaped[Tensor, "..."]]:
    """Read safetensors to the CPU. Raises `RunError` when the file is missing or damaged."""
    try:
        return load_file(path)
    except FileNotFoundError as error:
        raise RunError(f"there is no {path}") from error
    except SafetensorError as error:
        raise RunError(
            f"{path} is damaged ({error}): remove it and train or import again"
        ) from error
