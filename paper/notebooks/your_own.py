# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Your own task, model and metric
#
# A task is a frozen dataclass with four properties and a method; a model is a frozen dataclass with
# a method `build`; a metric is a function of model and task. They go into a module of yours, here
# `largest.py`, and then every command serves them as it serves the built-in ones.

# %%
import os
import tempfile
from pathlib import Path

import pandas as pd

FAST = os.environ.get("FAST") == "1"  # smaller sizes, for the tests
STEPS = 50 if FAST else 300
os.chdir(tempfile.mkdtemp())  # where this notebook writes its files

# %%
# %%writefile largest.py
from dataclasses import dataclass

import torch
from torch import nn
from transformer_lens import HookedRootModule
from transformer_lens.hook_points import HookPoint

from tasks.task import IGNORE, Examples, Split, Task


@dataclass(frozen=True)
class Largest(Task):
    """After three numbers and an '=', the largest of them."""

    numbers: int = 6
    """How many there are: 0 to numbers - 1."""

    name = "largest"
    context_length = 4

    @property
    def outputs(self) -> tuple[str, ...]:
        return tuple(map(str, range(self.numbers)))

    @property
    def vocabulary(self) -> tuple[str, ...]:
        return (*self.outputs, "=")

    def examples(self, split: Split = "all") -> Examples:
        values = torch.cartesian_prod(*[torch.arange(self.numbers)] * 3)
        if split != "all":
            generator = torch.Generator().manual_seed(self.split_seed)
            half = len(values) // 2
            order = torch.randperm(len(values), generator=generator)
            values = values[order[:half] if split == "train" else order[half:]]
        tokens = nn.functional.pad(values, (0, 1), value=self.numbers)
        targets = torch.full_like(tokens, IGNORE)  # of the positions that are not scored
        targets[:, -1] = values.max(dim=1).values
        return Examples(tokens, targets)


@dataclass(frozen=True)
class Pooled:
    """The mean of the numbers' embeddings, through one hidden layer."""

    width: int = 32
    """Of the embeddings and of the hidden layer."""

    def build(self, task: Task, seed: int) -> nn.Module:
        return PooledNetwork(self.width, task, seed)


class PooledNetwork(HookedRootModule):
    """Tokens [example, position] to logits [example, 1, output]."""

    def __init__(self, width: int, task: Task, seed: int) -> None:
        super().__init__()
        draw = torch.Generator().manual_seed(seed)
        shapes = {"W_E": (len(task.vocabulary), width), "W_in": (width, width)}
        for name, shape in {**shapes, "W_U": (width, len(task.outputs))}.items():
            setattr(self, name, nn.Parameter(torch.randn(shape, generator=draw) / shape[0] ** 0.5))
        self.hook_pooled = HookPoint()
        self.setup()  # names the hook points

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        pooled = self.hook_pooled(self.W_E[tokens[:, :-1]].mean(dim=1))
        return ((pooled @ self.W_in).relu() @ self.W_U)[:, None]


def accuracy_by_answer(model: nn.Module, task: Task) -> dict[str, dict[str, float]]:
    """The share of right answers in the test set, by the largest number."""
    test = task.examples("test")
    answers = test.targets[:, -1]
    right = (model(test.tokens)[:, -1].argmax(dim=-1) == answers).float()
    found = {name: right[answers == i] for i, name in enumerate(task.outputs)}
    return {"mine/accuracy": {f"answer:{n}": x.mean().item() for n, x in found.items() if len(x)}}


# %% [markdown]
# ## At the command line
#
# `interp train` trains on the task, here your network, with two seeds. The
# fields of both dataclasses are flags, with their docstrings as help (`interp train
# largest:Largest --help`). Every network gets a run folder.

# %%
HOW = f"--steps {STEPS} --lr 1e-2 --weight-decay 0.1 --checkpoints 12"
# !interp train largest:Largest --model largest:Pooled {HOW} --seeds 0..1 --to runs --quiet

# %% [markdown]
# `interp evaluate` measures every checkpoint: loss and accuracy, and your metric. Recipes are data
# and may come from anywhere, so a module that one of them names is imported only if you allow it:
# naming it in the command, as with `--metric`, does that too.

# %%
# !interp evaluate runs --metric largest:accuracy_by_answer --quiet

# %% [markdown]
# ## From Python
#
# The same from Python, for a transformer. A `Recipe` is all that is needed to repeat a run.

# %%
from largest import Largest, Pooled

from analysis.evaluate import evaluate_run
from analysis.patching import sweep
from analysis.plots.curves import component_curves
from analysis.plots.patching import patching_figure
from analysis.report import write_report
from interp.models.config import TransformerConfig
from interp.runs.recipe import AdamW, Recipe, Schedule
from interp.runs.run import find_runs
from training.train import train

recipe = Recipe(
    task=Largest(),
    model=TransformerConfig(n_heads=2, d_model=16, d_head=8, d_mlp=32),
    optimizer=AdamW(lr=1e-2, weight_decay=0.1),
    schedule=Schedule(steps=STEPS, checkpoints=12),
)
seeds = train([recipe.with_seed(seed) for seed in (0, 1)], "runs")
for run in seeds:
    evaluate_run(run, metrics=["largest:accuracy_by_answer"])

# %% [markdown]
# What was measured are tables, of every checkpoint (`run.metrics()`) and of the last
# (`run.summary()`).

# %%
runs = find_runs("runs")
pd.DataFrame(
    {run.name: {m: run.summary()[m] for m in ("accuracy/train", "accuracy/test")} for run in runs}
).T.round(3)

# %% [markdown]
# Accuracy by the largest number, along training, for the network that was made here (faint lines
# are seeds). Only one triple in 216 has 0 as its largest: where that is in the test set, the
# network has never seen the answer.

# %%
pooled = [run for run in runs if isinstance(run.recipe.model, Pooled)]
metrics = pd.concat(run.metrics().assign(run=run.name) for run in pooled)
component_curves(metrics, "mine/accuracy", "Right answers by the largest number", "accuracy")

# %% [markdown]
# One page has everything, for all of them side by side: `write_report`, or `interp report runs`.

# %%
write_report(runs, Path("report.html"))
print(f"report.html: {Path('report.html').stat().st_size / 1e6:.1f} MB, and no other file needed")

# %% [markdown]
# All else that needs no more than a loss works on your runs too, such as `interp llc`, and so does
# patching. For inputs that differ in one known variable, give the task `variables` and
# `counterfactuals`; `Largest` has the one that every task has, another input altogether. Which
# numbers the transformer's heads bring to the answer:

# %%
run = seeds[0]
found = sweep(run.model(), run.recipe.task.pairs("example", n=100), "v")
patching_figure(found, title="Values of the heads, patched", position_names=["a", "b", "c", "="])
