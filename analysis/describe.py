"""A run in words and numbers: what was trained, what was found."""

import dataclasses
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import pandas as pd

from interp.models.config import (
    BilinearConfig,
    CompiledConfig,
    DecoderConfig,
    IterationHeadConfig,
    MLPConfig,
    TransformerConfig,
)
from interp.runs.recipe import Recipe
from interp.runs.registry import about
from interp.runs.run import Run
from tasks.composition import GroupComposition
from tasks.groups import find_irrep

GENERALISED = 0.99
"""Test accuracy from which a network counts as having generalised."""


@dataclass(frozen=True)
class Findings:
    """The numbers of one run that a summary table shows; None where they were not measured."""

    name: str
    path: str
    seed: int
    step: int | None
    loss_train: float | None
    loss_test: float | None
    accuracy_test: float | None
    generalised_at: int | None
    key_irreps: list[str] | None
    key_rule: str
    dimension_share: float | None
    values: dict[str, float]
    state: str


def findings(run: Run) -> Findings:
    """What is known of a run, from its summary and else from its history."""
    summary = run.summary()
    final = _final_scores(run.history()) | summary
    key_irreps = summary.get("key_irreps")
    return Findings(
        name=run.name,
        path=str(run.path),
        seed=run.recipe.init_seed,
        step=summary.get("step", run.steps[-1] if run.steps else None),
        loss_train=final.get("loss/train"),
        loss_test=final.get("loss/test"),
        accuracy_test=final.get("accuracy/test"),
        generalised_at=_generalised_at(run),
        key_irreps=key_irreps,
        key_rule=str(summary.get("key_irreps_rule", "")),
        dimension_share=None if key_irreps is None else dimension_share(run, key_irreps),
        values={k: float(v) for k, v in summary.items() if "/" in k},
        state=_state(run),
    )


def _final_scores(history: pd.DataFrame) -> dict[str, float]:
    if history.empty:
        return {}
    last = history.loc[history["step"] == history["step"].to_numpy().max()]
    return {
        f"{quantity}/{split}": float(value)
        for quantity in ("loss", "accuracy")
        if quantity in last
        for split, value in zip(last["split"], last[quantity], strict=True)
        if value == value  # not NaN
    }


def _generalised_at(run: Run) -> int | None:
    """The first recorded step with a test accuracy of 0.99, if there was any training."""
    if run.recipe.schedule.steps == 0:
        return None
    history, metrics = run.history(), run.metrics()
    if "accuracy" in history:
        rows = history.loc[(history["split"] == "test") & (history["accuracy"] >= GENERALISED)]
    else:
        of_test = metrics["metric"] == "accuracy/test"
        rows = metrics.loc[of_test & (metrics["value"] >= GENERALISED)]
    return int(rows["step"].to_numpy().min()) if len(rows) else None


def _state(run: Run) -> str:
    if not run.steps:
        return "no checkpoints"
    if run.recipe.schedule.steps == 0:
        return "not trained"
    if run.final_step < run.recipe.schedule.steps:
        return f"trained to step {run.final_step:,} of {run.recipe.schedule.steps:,}"
    return "trained" if run.summary() else "trained, not evaluated"


def dimension_share(run: Run, key_irreps: Iterable[str]) -> float | None:
    """The share of all functions on the group that lies in these irreps' isotypic spaces.

    Beside the share of an embedding that the irreps explain, this says how much that means.
    """
    if not isinstance(run.recipe.task, GroupComposition):
        return None
    group = run.recipe.task.finite_group
    return sum(find_irrep(group, name).rank for name in key_irreps) / group.order


def same_but_seeds(runs: Iterable[Run]) -> list[list[Run]]:
    """Runs grouped by their recipe without its seeds, in the order of their first run."""

    found: dict[str, list[Run]] = {}
    for run in runs:
        found.setdefault(run.recipe.with_seed(0).to_json(), []).append(run)
    return list(found.values())


def describe_task(recipe: Recipe) -> str:
    """What the network is to do, and with how much of the data."""
    task = recipe.task
    if not isinstance(task, GroupComposition):
        return f"{task.name}: {_in_short(task)}"
    order = task.finite_group.order
    trained = int(task.train_fraction * order**2)
    return (
        f"composition in the group {task.name} of order {order}: given a and b, say ab; "
        f"{trained:,} of the {order**2:,} ordered pairs ({task.train_fraction:.0%}) are trained on"
    )


def describe_model(recipe: Recipe) -> str:
    """The architecture."""
    match recipe.model:
        case MLPConfig(d_embed, d_mlp, bias):
            with_bias = "with" if bias else "without"
            return (
                f"a one-layer MLP: two embeddings of width {d_embed}, {d_mlp} hidden neurons "
                f"(ReLU), {with_bias} a bias"
            )
        case TransformerConfig() as config:
            plural = "s" if config.n_layers > 1 else ""
            return (
                f"a transformer of {config.n_layers} layer{plural}, {config.n_heads} heads each, "
                f"width {config.d_model}, {config.d_mlp} neurons ({config.act_fn}) a layer"
            )
        case DecoderConfig() as config:
            plural = "s" if config.n_layers > 1 else ""
            heads = "one head" if config.n_heads == 1 else f"{config.n_heads} heads"
            extras = ", ".join(
                f"{name} {value}"
                for name, value in (
                    ("norm", config.norm),
                    ("positions", config.positions),
                    *[("in coordinates", config.d_positions)] * (config.d_positions is not None),
                    ("index", config.index),
                    ("index in training", config.train_index),
                    ("dropout", f"{config.dropout:g}"),
                )
            )
            return (
                f"a transformer of {config.n_layers} layer{plural}, {heads} each, width "
                f"{config.d_model}, {config.mlp_width} neurons (gelu) a layer ({extras})"
            )
        case IterationHeadConfig():
            return "a transformer of two layers whose weights, set by hand, are an iteration head"
        case BilinearConfig(d_embed):
            return f"a bilinear network: the product of two embeddings of width {d_embed}"
        case CompiledConfig(hardness):
            gap = "" if hardness is None else f", attention scores {hardness:g} apart"
            return f"a transformer compiled from the RASP program that solves the task{gap}"
        case model:
            return f"{type(model).__name__} {_fields(model)}".rstrip()


def describe_training(recipe: Recipe) -> str:
    """Optimiser and schedule."""
    optimizer, schedule = recipe.optimizer, recipe.schedule
    if schedule.steps == 0:
        return "not trained"
    start_from, trained = recipe.fine_tuning.start_from, recipe.fine_tuning.trained
    start = f"from {start_from}, " if start_from else ""
    part = f", of {', '.join(trained)} alone" if trained else ""
    batch = "full batch" if schedule.batch_size is None else f"batches of {schedule.batch_size}"
    return (
        f"{start}{schedule.steps:,} steps of AdamW ({batch}; learning rate {optimizer.lr:g}, "
        f"weight decay {optimizer.weight_decay:g}, betas {optimizer.betas[0]:g} and "
        f"{optimizer.betas[1]:g}) "
        f"in {recipe.dtype}{part}"
    )


def _in_short(task: Any) -> str:
    """The first sentence of a task's docstring, and the fields that are not as they come."""
    sentence = about(type(task))
    changed = [f for f in dataclasses.fields(task) if getattr(task, f.name) != f.default]
    fields = _fields(task, changed)
    return " ".join(part for part in (sentence[:1].lower() + sentence[1:], fields) if part)


def _fields(value: Any, of: Iterable[dataclasses.Field[Any]] | None = None) -> str:
    """In brackets; nothing where there are none."""
    shown = [f for f in (dataclasses.fields(value) if of is None else of) if f.name != "split_seed"]
    listed = ", ".join(f"{f.name} = {getattr(value, f.name)}" for f in shown)
    return f"({listed})" if listed else ""
