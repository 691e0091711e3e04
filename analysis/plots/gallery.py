"""Which pictures a run has, from what is in its folder."""

from collections.abc import Sequence

import pandas as pd
import plotly.graph_objects as go

from analysis.plots.attention import attention_figure
from analysis.plots.curves import component_curves, curves, history_curves, total_curves
from analysis.plots.embedding import (
    Embedding,
    circles_figure,
    embeddings_of,
    energy_figure,
    entries_figure,
)
from analysis.plots.program import explanation_figure
from analysis.plots.seeds import key_irrep_frequency, key_irrep_number, learning_order
from interp.models.config import CompiledConfig
from interp.models.transformer import TaskTransformer
from interp.rasp import compile_task
from interp.runs.run import Run
from tasks.composition import GroupComposition
from tasks.iteration import IterationTask

Figures = dict[str, go.Figure]
"""Figures by a name that is fit for a file."""

NATS = "loss (nats)"
SHARE = "fraction of variance explained"
LAYERS = {"logits": "logits", "hidden": "hidden layer", "model": "running model"}
HISTORY = {
    "loss": ("Loss", NATS, True),
    "accuracy": ("Accuracy", "accuracy", False),
    "weight_norm": ("Weight norm", "L2 norm of all weights", False),
}
"""Column of the history: title, vertical axis, whether it is logarithmic."""

TOTALS: dict[str, tuple[str, str, bool, dict[str, str]]] = {
    "fve": (
        "Explained by the key irreps",
        SHARE,
        False,
        {
            "embed_a/fve": "embedding of a",
            "embed_b/fve": "embedding of b",
            "unembed/fve": "unembedding",
            "hidden/fve": "hidden layer",
            "logits/fve": "logits (all characters)",
        },
    ),
    "hidden_fve": (
        "Hidden layer explained by the key irreps",
        SHARE,
        False,
        {
            "hidden/fve": "total",
            "hidden_a/fve": "as a function of a",
            "hidden_b/fve": "as a function of b",
            "hidden_ab/fve": "as a function of ab",
        },
    ),
    **{
        f"{layer}_losses": (
            f"Excluded and restricted loss of the {name}",
            NATS,
            True,
            {
                "loss/train": "train",
                "loss/test": "test",
                f"{layer}/excluded_loss": "excluded",
                f"{layer}/restricted_loss": "restricted",
                f"{layer}/restricted_loss_mean_kept": "restricted, mean kept",
            },
        )
        for layer, name in LAYERS.items()
    },
    "iteration": (
        "Chain of thought, on the test set",
        "accuracy",
        False,
        {
            "iteration/token_accuracy": "states",
            "iteration/end_accuracy": "end of sequence",
            "iteration/sequence_accuracy": "whole sequences",
            "iteration/free_running_accuracy": "whole sequences, free running",
            "iteration/final_answer_accuracy": "final answer, free running",
        },
    ),
    "grammar": (
        "Grammar of what the network says on its own",
        "share of sequences",
        False,
        {
            "iteration/one_problem_token": "one problem token",
            "iteration/one_eoi": "one EoI",
            "iteration/eos_absorbing": "nothing after EoS",
        },
    ),
    "sum_of_squares": (
        "Weights",
        "sum of squared weights",
        False,
        {"weights/sum_of_squares": "all weights"},
    ),
    "test_to_restricted": (
        "Test loss over restricted loss",
        "ratio",
        True,
        {"progress/test_to_restricted": "test / restricted"},
    ),
}
"""Figures of totals: title, vertical axis, whether it is logarithmic, metric -> legend entry."""

ATTENTION = "attention to the role's key"
BY_COMPONENT: dict[str, tuple[str, str, bool]] = {
    "attention/mean": ("Attention of each head in each role", ATTENTION, False),
    "attention/above_half": (
        "Attention of each head in each role",
        "share above 1/2",
        False,
    ),
    "attention/invariance": (
        "Invariance of each head's attention to content",
        "1 - standard deviation over sequences",
        False,
    ),
    "iteration/token_accuracy": ("States that are right, by length", "accuracy", False),
    "iteration/end_accuracy": ("Ends that are right, by length", "accuracy", False),
    "iteration/sequence_accuracy": ("Whole sequences that are right, by length", "accuracy", False),
    "iteration/train_sequence_accuracy": (
        "Whole training sequences that are right, by length",
        "accuracy",
        False,
    ),
    "iteration/free_running_accuracy": (
        "Whole sequences that are right, free running, by length",
        "accuracy",
        False,
    ),
    "iteration/final_answer_accuracy": (
        "Final answers that are right, free running, by length",
        "accuracy",
        False,
    ),
    "logits/similarity": ("Similarity of the logits to each character", "cosine similarity", False),
    "embed_a/fve": ("Embedding of a in each irrep", SHARE, False),
    "embed_b/fve": ("Embedding of b in each irrep", SHARE, False),
    "unembed/fve": ("Unembedding in each irrep", SHARE, False),
    "hidden/fve": ("Hidden layer in each irrep", SHARE, False),
    "hidden_a/fve": ("Hidden layer in each ρ(a)", SHARE, False),
    "hidden_b/fve": ("Hidden layer in each ρ(b)", SHARE, False),
    "hidden_ab/fve": ("Hidden layer in each ρ(ab)", SHARE, False),
    **{
        f"{layer}/{kind}_loss": (f"{kind.capitalize()} loss of the {name} by irrep", NATS, True)
        for layer, name in LAYERS.items()
        for kind in ("excluded", "restricted")
    },
}
"""Figures by irrep, head or length: title, vertical axis, whether it is logarithmic."""


def curve_figures(runs: Sequence[Run]) -> Figures:
    """Everything that was recorded along training; several runs give faint lines and means."""
    if runs[0].recipe.schedule.steps == 0:
        return {}
    history = _joined(runs, Run.history)
    metrics = _without_repeats(_joined(runs, Run.metrics))
    first = _key_irreps(runs)
    return _history_figures(history, metrics) | _metric_figures(metrics, first)


def _joined(runs: Sequence[Run], table) -> pd.DataFrame:
    tables = [table(run).assign(run=run.name) for run in runs]
    return pd.concat([t for t in tables if len(t)] or tables[:1], ignore_index=True)


def _without_repeats(metrics: pd.DataFrame) -> pd.DataFrame:
    """Without what says the same in other words, as model/* does of networks without a skip."""
    metrics = metrics.loc[~((metrics["metric"] == "logits/fve") & (metrics["component"] != ""))]
    keys = ["run", "step", "component"]
    of_model, of_hidden = (
        metrics.loc[metrics["metric"] == f"{of}/restricted_loss"].set_index(keys)["value"]
        for of in ("model", "hidden")
    )
    of_model_layer = metrics["metric"].str.startswith("model/")
    return metrics.loc[~of_model_layer] if of_model.equals(of_hidden) else metrics


def _key_irreps(runs: Sequence[Run]) -> list[str]:
    """Those that at least half of the runs have, the most frequent first, else as learned."""
    names = [name for run in runs for name in run.summary().get("key_irreps", ())]
    shared = [name for name in dict.fromkeys(names) if names.count(name) >= len(runs) / 2]
    return sorted(shared, key=names.count, reverse=True)


def _history_figures(history: pd.DataFrame, metrics: pd.DataFrame) -> Figures:
    """From the history; where there is none, loss and accuracy from the measurements."""
    figures = {}
    for quantity, (title, y, log_y) in HISTORY.items():
        if quantity == "weight_norm" and quantity in history:  # the same for every split
            history = history.drop_duplicates(["run", "step"]).assign(split="all weights")
        if quantity in history and len(history[quantity].dropna()):
            figures[quantity] = history_curves(history, quantity, title, y, log_y=log_y)
            continue
        splits = {f"{quantity}/{split}": split for split in ("train", "test")}
        if set(splits) & set(metrics["metric"]):
            figures[quantity] = total_curves(metrics, splits, title, y, log_y=log_y)
    return figures


def _metric_figures(metrics: pd.DataFrame, first: Sequence[str]) -> Figures:
    figures = {}
    metrics = metrics.loc[~metrics["metric"].str.startswith("llc/")]  # see `analysis.report`
    has_total = set(metrics.loc[metrics["component"] == "", "metric"])
    for name, (title, y, log_y, lines) in TOTALS.items():
        own = set(lines) - {"loss/train", "loss/test", "hidden/fve"}
        if own & has_total:
            figures[name] = total_curves(metrics, lines, title, y, log_y=log_y)
    for metric, rows in metrics.loc[metrics["component"] != ""].groupby("metric", sort=False):
        title, y, log_y = BY_COMPONENT.get(str(metric), (str(metric), str(metric), False))
        kinds = set(rows["component"].str.partition(":")[0])
        name = f"{metric}_by_{'irrep' if kinds == {'irrep'} else 'component'}".replace("/", "_")
        figures[name] = component_curves(rows, str(metric), title, y, first=first, log_y=log_y)
    known = {line for _, _, _, lines in TOTALS.values() for line in lines}
    for metric in sorted(m for m in has_total - known if not m.startswith(("loss/", "accuracy/"))):
        rows = metrics.loc[(metrics["metric"] == metric) & (metrics["component"] == "")]
        figures[metric.replace("/", "_")] = curves(rows.assign(line=metric), metric, metric)
    return figures


def seed_figures(runs: Sequence[Run]) -> Figures:
    """What the runs' key irreps have in common; nothing where fewer than two runs have any."""
    key_irreps = {run.name: run.summary().get("key_irreps", []) for run in runs}
    if sum(map(bool, key_irreps.values())) < 2:
        return {}
    return {
        "key_irrep_frequency": key_irrep_frequency(key_irreps),
        "key_irrep_number": key_irrep_number(key_irreps),
        "learning_order": learning_order(key_irreps),
    }


def model_figures(run: Run) -> Figures:
    """The network itself: its program, its attention, or its embeddings by irrep."""
    recipe = run.recipe
    if isinstance(recipe.model, CompiledConfig) and not recipe.schedule.steps:
        compiled = compile_task(recipe.task, hardness=recipe.model.hardness)
        return {"program": explanation_figure(compiled.explain())}
    if isinstance(recipe.task, IterationTask):
        return _attention(run, recipe.task)
    return _embeddings(run)


def _attention(run: Run, task: IterationTask) -> Figures:
    """The final network's attention; nothing for a user's own architecture, or without tests."""
    model = run.model() if run.steps and len(task.examples("test")) else None
    if not isinstance(model, TaskTransformer):
        return {}
    return {"attention": attention_figure(model, task, title="Attention on one test sequence")}


def _embeddings(run: Run) -> Figures:
    """The final embeddings in the basis of the irreps; nothing for a run without such a thing."""
    task = run.recipe.task
    if not isinstance(task, GroupComposition) or not run.steps:
        return {}
    try:
        embeddings = embeddings_of(run.model(), task)
    except ValueError:  # an architecture of the user's own, or a damaged checkpoint
        return {}
    key_irreps = run.summary().get("key_irreps", [])
    figures = {}
    for operand, embedding in embeddings.items():
        what = "Embedding" if len(embeddings) == 1 else f"Embedding of {operand}"
        figures |= _embedding_figures(embedding, key_irreps, what, f"embed_{operand}")
    return figures


def _embedding_figures(
    embedding: Embedding, key_irreps: Sequence[str], what: str, name: str
) -> Figures:
    figures = {f"{name}_energy": energy_figure(embedding, f"{what}: size in each irrep")}
    frequencies = [irrep for irrep in key_irreps if irrep.startswith("freq_")]
    if embedding.group.is_abelian and frequencies:
        title = f"{what}: the planes of its key frequencies"
        figures[f"{name}_circles"] = circles_figure(embedding, frequencies, title)
        return figures
    for irrep in list(key_irreps)[:4]:
        figures[f"{name}_in_{irrep}"] = entries_figure(
            embedding, irrep, f"{what}: against the matrix entries of {irrep}"
        )
    return figures
