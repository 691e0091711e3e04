"""Runs published with "A Toy Model of Universality" (Chughtai et al. 2023), as run folders."""

import json
import pickle
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Shaped
from torch import Tensor

from interp.models.config import BilinearConfig, MLPConfig, ModelConfig, TransformerConfig
from interp.runs.recipe import AdamW, Recipe, Schedule
from interp.runs.run import Run, RunError, load_weights
from tasks.composition import GroupComposition

FAMILIES = {
    "CyclicGroup": "C",
    "DihedralGroup": "D",
    "SymmetricGroup": "S",
    "AlternatingGroup": "A",
}
MODELS: dict[str, Callable[[dict], ModelConfig]] = {
    "OneLayerMLP": lambda layers: MLPConfig(layers["embed_dim"], layers["hidden_dim"]),
    "BilinearNet": lambda layers: BilinearConfig(layers["embed_dim"]),
    "Transformer": lambda layers: TransformerConfig(),  # its `layers` was never read
}
RENAMED = {"W_x": "W_E_a", "W_y": "W_E_b", "W": "W_in"}
NOT_WEIGHTS = ("x_embed", "y_embed", ".attn.mask", ".attn.IGNORE")
"""Suffixes of entries that repeat a parameter or hold none."""


class PublishedRunError(ValueError):
    """A published folder or file that cannot be imported, with the reason."""


@dataclass(frozen=True)
class Imported:
    """What became of one published folder."""

    source: Path
    run: Run | None
    problems: tuple[str, ...]


def import_published(source: Path, to: Path) -> Iterator[Imported]:
    """Turn a published run, or every one in a folder of them, into run folders under `to`.

    Weights are read with `weights_only=True`. A file that is a Git LFS pointer, truncated or
    misshapen is named among the problems and left out; without any weights no run is made.
    Raises `PublishedRunError` when `source` holds no `cfg.json`.
    """
    configs = sorted(source.resolve().rglob("cfg.json"))
    if not configs:
        raise PublishedRunError(
            f"{source} holds no published run: one is a folder with cfg.json and model.pt"
        )
    for config in configs:
        yield _import_one(config.parent, to)


def _import_one(source: Path, to: Path) -> Imported:
    try:
        recipe = published_recipe(json.loads((source / "cfg.json").read_text()))
        template = recipe.model.build(recipe.task, recipe.init_seed)
    except (KeyError, TypeError, ValueError) as error:
        return Imported(source, None, (f"{source / 'cfg.json'}: {error!r}",))
    checkpoints, problems = {}, []
    for step, path in _weight_files(source, recipe.schedule.steps):
        try:
            weights = read_published_weights(path)
            load_weights(template, weights)
            checkpoints[step] = weights
        except ValueError as error:
            problems.append(f"{path}: {error}")
    if not checkpoints:
        return Imported(source, None, (*problems, f"{source}: no usable weights, no run made"))
    try:
        run = Run.create(to / source.name, recipe)
    except RunError as error:
        return Imported(source, None, (*problems, str(error)))
    if run.steps and "imported_from" not in run.read_json("manifest.json"):
        own = f"{run.path} holds a run of your own: choose another --to"
        return Imported(source, None, (*problems, own))
    with run.locked():
        for step, weights in checkpoints.items():
            run.save_weights(step, weights)
        run.write_status("done", step=max(checkpoints), imported_from=str(source.resolve()))
        order = source / "key_reps_in_order.txt"
        run.write_manifest(
            device="unknown",
            imported_from=str(source.resolve()),
            published_learning_order=order.read_text().split() if order.exists() else [],
        )
    return Imported(source, run, tuple(problems))


def published_recipe(config: dict[str, Any]) -> Recipe:
    """The recipe that a published `cfg.json` describes.

    Raises `PublishedRunError` for a model or group that we have no counterpart of.
    """
    for key, known in (("model", MODELS), ("group", FAMILIES)):
        if config[key] not in known:
            raise PublishedRunError(f"{key} {config[key]!r} is unknown: it must be in {[*known]}")
    task = GroupComposition(
        group=f"{FAMILIES[config['group']]}{config['group_parameter']}@published",
        train_fraction=config["frac_train"],
        equals_token=config["model"] == "Transformer",
        split_seed=config["seed"],
    )
    return Recipe(
        task=task,
        model=MODELS[config["model"]](config["layers"]),
        optimizer=AdamW(config["lr"], tuple(config["betas"]), float(config["weight_decay"])),
        schedule=Schedule(steps=config["num_epochs"], checkpoints=1000),
        init_seed=config["seed"],
    )


def _weight_files(source: Path, final_step: int) -> Iterator[tuple[int, Path]]:
    """Files with their step. Epoch N was saved after its update, so it is step N + 1."""
    for path in sorted((source / "checkpoints").glob("epoch_*.pt")):
        if (epoch := path.stem.removeprefix("epoch_")).isdigit():
            yield int(epoch) + 1, path
    yield final_step, source / "model.pt"


def read_published_weights(path: Path) -> dict[str, Shaped[Tensor, "..."]]:
    """The parameters in a published state dict, under our names, on the CPU.

    Raises `PublishedRunError` when the file is missing, a Git LFS pointer, damaged, or holds
    anything but tensors.
    """
    if not path.is_file():
        raise PublishedRunError("the file is missing")
    with path.open("rb") as file:
        if file.read(7) == b"version":
            raise PublishedRunError("a Git LFS pointer, not weights: run `git lfs pull` there")
    try:
        state: dict[str, Tensor] = torch.load(path, map_location="cpu", weights_only=True)
        return {
            RENAMED.get(name, name): tensor
            for name, tensor in state.items()
            if isinstance(tensor, Tensor) and not name.endswith(NOT_WEIGHTS)
        }
    except pickle.UnpicklingError as error:
        raise PublishedRunError("holds more than tensors, or is damaged; not loaded") from error
    except (RuntimeError, EOFError, zipfile.BadZipFile, AttributeError, OSError) as error:
        reason = (str(error) or "the file ends too early").splitlines()[0]
        raise PublishedRunError(f"truncated or damaged ({reason})") from error
