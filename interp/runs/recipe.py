"""A recipe: all that is needed to repeat one run, as a frozen value and as JSON."""

import dataclasses
import json
import math
import re
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from interp.arguments import nearest
from interp.models.config import ModelConfig
from interp.runs.registry import MODELS, TASKS, kind_of, model_class, task_class
from tasks.task import Task

FORMAT = 1


class RecipeError(ValueError):
    """A recipe that cannot be read, or asks for something impossible."""


@dataclass(frozen=True)
class AdamW:
    """Adam with decoupled weight decay on every trained parameter (Loshchilov and Hutter 2019)."""

    lr: float = 1e-3
    """Learning rate."""
    betas: tuple[float, float] = (0.9, 0.98)
    """Decay of the running mean of the gradient and of its square, per step."""
    weight_decay: float = 1.0
    """Weight decay; a step shrinks each weight by lr times this."""
    eps: float = 1e-8
    """Added to the root of the running square."""

    def __post_init__(self) -> None:
        for name in ("lr", "weight_decay", "eps"):
            if not 0 <= getattr(self, name) < math.inf:
                raise RecipeError(f"{name} is {getattr(self, name)}: it must be at least 0")
        if not all(0 <= beta < 1 for beta in self.betas):
            raise RecipeError(f"betas are {self.betas}: both must be at least 0 and below 1")


@dataclass(frozen=True)
class Schedule:
    """How long to train and when to write something down. The unit is the optimiser's step."""

    steps: int = 50_000
    """Optimiser steps in all. 0 leaves the initial network."""
    batch_size: int | None = None
    """Examples a step, drawn without replacement epoch by epoch; all of them if not given."""
    checkpoints: int = 100
    """Checkpoints between the first step and the last, log-spaced, duplicates merged."""
    checkpoint_every: int | None = None
    """Instead: a checkpoint every so many steps."""
    log_every: int = 100
    """Steps between two rows of the history."""

    def __post_init__(self) -> None:
        for name in ("batch_size", "checkpoints", "checkpoint_every", "log_every"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise RecipeError(f"{name} is {value}: it must be at least 1")
        if self.steps < 0:
            raise RecipeError(f"steps is {self.steps}: it must be at least 0")

    def checkpoint_steps(self) -> list[int]:
        """Step 0, the last step, and those between: `checkpoints` log-spaced ones, or periodic."""
        if self.checkpoint_every is not None:
            return [*range(0, self.steps, self.checkpoint_every), self.steps]
        if self.steps == 0:
            return [0]
        spaced = np.logspace(0, math.log10(self.steps), self.checkpoints)
        # The last power is the number of steps up to rounding, on either side.
        return sorted({0, *np.floor(spaced + 1e-6).astype(int).tolist(), self.steps})


@dataclass(frozen=True)
class FineTuning:
    """What training begins from, and which part of it is trained."""

    start_from: str | None = None
    """A checkpoint whose weights are the initial ones, seen from where the command runs; {seed} in
    it stands for the run's seed."""
    trained: tuple[str, ...] = ()
    """The parameters to train, such as blocks.1.mlp.* (quoted); all of them if not given."""


@dataclass(frozen=True)
class Recipe:
    """Task, model, optimiser, schedule and seeds of one network."""

    task: Task
    model: ModelConfig
    optimizer: AdamW = field(default_factory=AdamW)
    schedule: Schedule = field(default_factory=Schedule)
    fine_tuning: FineTuning = field(default_factory=FineTuning)
    init_seed: int = 0
    """Draws the initial weights, and the order of minibatches."""
    dtype: Literal["float32", "float64"] = "float32"
    """Precision of the weights in training."""

    @property
    def split_seed(self) -> int:
        """The seed of the task's train/test split."""
        return self.task.split_seed

    @property
    def name(self) -> str:
        """The run folder's name: task, model and seed, in characters that suit every disk."""
        model = kind_of(self.model, MODELS).rpartition(":")[2]
        task = re.sub(r"[^\w.-]+", "_", self.task.name)[:60].strip("_")
        return f"{task}_{model}_seed{self.init_seed}"

    @property
    def start_path(self) -> Path | None:
        """The checkpoint to start from, of this recipe's seed."""
        start = self.fine_tuning.start_from
        return None if start is None else Path(start.replace("{seed}", str(self.init_seed)))

    def with_seed(self, seed: int, split_seed: int | None = None) -> "Recipe":
        """The same recipe with other weights, and the split of `split_seed` or else of `seed`."""
        split_seed = seed if split_seed is None else split_seed
        return replace(self, init_seed=seed, task=replace(self.task, split_seed=split_seed))

    def to_json(self) -> str:
        """JSON that `recipe_from_json` reads back to an equal recipe."""
        data = {
            "format": FORMAT,
            "task": _with_kind(self.task, TASKS),
            "model": _with_kind(self.model, MODELS),
            "optimizer": dataclasses.asdict(self.optimizer),
            "schedule": dataclasses.asdict(self.schedule),
            "fine_tuning": dataclasses.asdict(self.fine_tuning),
            "init_seed": self.init_seed,
            "dtype": self.dtype,
        }
        return json.dumps(data, indent=2) + "\n"


def _with_kind(value: Any, builtin: dict[str, str]) -> dict[str, Any]:
    data = dataclasses.asdict(value)
    if "kind" in data:
        raise RecipeError(f"{type(value).__name__} has a field `kind`: call it something else")
    return {"kind": kind_of(value, builtin), **data}


def recipe_from_json(text: str) -> Recipe:
    """Read a recipe. Raises `RecipeError` with the field at fault, or `UnknownKindError`."""
    try:
        data = json.loads(text)
        if data["format"] != FORMAT:
            raise RecipeError(
                f"the recipe has format {data['format']!r}, this version reads format {FORMAT}"
            )
        task, model = dict(data["task"]), dict(data["model"])
        return Recipe(
            task=_construct(task_class(task.pop("kind")), task),
            model=_construct(model_class(model.pop("kind")), model),
            optimizer=_construct(AdamW, data["optimizer"]),
            schedule=_construct(Schedule, data["schedule"]),
            fine_tuning=_construct(FineTuning, data.get("fine_tuning", {})),
            init_seed=data["init_seed"],
            dtype=data["dtype"],
        )
    except json.JSONDecodeError as error:
        raise RecipeError(f"the recipe is not JSON: {error}") from error
    except KeyError as error:
        raise RecipeError(f"the recipe has no {error}") from error
    except (TypeError, AttributeError) as error:
        raise RecipeError(f"the recipe holds a value of the wrong kind ({error})") from error


def _construct(cls: type, data: dict[str, Any]) -> Any:
    names = [f.name for f in dataclasses.fields(cls)]
    for name in data:
        if name not in names:
            raise RecipeError(f"{cls.__name__} has no field {name!r}{nearest(name, names)}")
    for field_ in dataclasses.fields(cls):
        plain = {"int": int, "float": (int, float), "str": str, "bool": bool}.get(
            getattr(field_.type, "__name__", str(field_.type))
        )
        if plain and field_.name in data and not isinstance(data[field_.name], plain):
            raise RecipeError(f"{field_.name} is {data[field_.name]!r}: it must be {field_.type}")
    return cls(**{name: _frozen(value) for name, value in data.items()})


def _frozen(value: Any) -> Any:
    return tuple(map(_frozen, value)) if isinstance(value, list) else value
