# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Local learning coefficients
#
# How degenerate is the minimum that training found? The local learning coefficient λ says it in one
# number. This notebook shows what it is where the answer is known, how it is estimated, what the
# checks are for, and then follows it along the training of a network that groks. Most of the
# numbers there will fail a check, and it will be said what that means.

# %%
import os
import tempfile
from dataclasses import replace

import numpy as np
import pandas as pd

from analysis.llc import LLCConfig, NetworkLandscape, calibrate_llc, llc_estimates, restriction_to
from analysis.llc.known import NormalCrossing, Regular
from analysis.llc.runs import coefficient_of, estimate_table
from analysis.plots.curves import history_curves
from analysis.plots.llc import (
    calibration_figure,
    llc_curve_figure,
    trace_figure,
)
from analysis.plots.style import figure
from interp.models.config import MLPConfig
from interp.rasp import compile_task
from interp.runs.recipe import AdamW, Recipe, Schedule
from tasks.composition import GroupComposition
from tasks.sequences import Fraction
from training.train import train

FAST = os.environ.get("FAST") == "1"  # smaller sizes, for the tests

# %% [markdown]
# ## What it is
#
# Take all parameters near a minimum whose loss exceeds the minimum's by less than ε. Their volume
# shrinks with ε as $\varepsilon^\lambda$ (up to powers of $\log\varepsilon$). Two losses of two
# parameters:
#
# - *regular*, $\tfrac12(w_1^2 + w_2^2)$: a disc of radius $\sqrt{2\varepsilon}$, so λ = 1. In
#   general half the number of parameters.
# - *a normal crossing*, $w_1^2\,w_2^2$: two valleys that cross. The volume shrinks as
#   $-\sqrt{\varepsilon}\,\log\varepsilon$, so λ = ½. More parameters than it needs: a smaller λ.
#
# Below, the volume is counted among ten million random points of the square, and the slope in this
# picture is λ. (The logarithm of the crossing bends its line a little.)

# %%
w = np.random.default_rng(0).uniform(-1, 1, (10**5 if FAST else 10**7, 2))
losses = {"regular": (w**2).sum(axis=1) / 2, "normal crossing": (w**2).prod(axis=1)}
epsilon = np.geomspace(1e-5, 1e-1, 9)
volumes = figure("Volume where the loss is below ε", "ε", "share of the square")
for name, loss in losses.items():
    share = np.searchsorted(np.sort(loss), epsilon) / len(loss)
    volumes.add_scatter(x=epsilon, y=share, name=name)
volumes.update_xaxes(type="log", dtick=1).update_yaxes(type="log", dtick=1)

# %% [markdown]
# ## How it is estimated
#
# Chains of Langevin dynamics draw $w$ from
# $\exp(-n\beta\,L(w) - \tfrac{\gamma}{2}|w - w^*|^2)$, and
#
# $$\hat\lambda = n\beta\,(\mathbb{E}[L(w)] - L(w^*))$$
#
# (Lau et al., [arXiv 2308.12108](https://arxiv.org/abs/2308.12108)). The inverse temperature
# $n\beta$ sets at which ε one looks, the localization γ keeps the chains near $w^*$. For both
# losses the exact expectation of the estimate is known at any temperature, beside λ itself, which
# it approaches as $n\beta$ grows: quickly for the regular loss, slowly for the crossing.

# %%
config = LLCConfig(step_size=4e-3, nbeta=145.0, chains=32, draws=100 if FAST else 1000)
finer = replace(config, step_size=3e-4, draws=3 * config.draws)
known = {
    "regular": (Regular((1.0, 1.0)), config),
    "normal crossing": (NormalCrossing((1, 1)), finer),
}
estimates = {}
for name, (loss, settings) in known.items():
    (estimates[name],), trace = llc_estimates(loss.landscape(), settings)
pd.DataFrame.from_dict(
    {
        name: {
            "λ": loss.coefficient.lambda_,
            "exact expectation": round(loss.expected(145.0, settings.localization), 3),
            "estimate": round(estimates[name].value, 3),
            "failed checks": estimates[name].failed_checks or "none",
        }
        for name, (loss, settings) in known.items()
    },
    orient="index",
)

# %% [markdown]
# ## What the checks are for
#
# The chains always give a number. Here are three wrong ways to estimate the λ = 1 of the regular
# loss. Each number is marked as failed, and the reason is what `print(estimate)` says instead of a
# number. (The first is right by luck: this sampler has no bias of the step where the loss is
# quadratic. A network's loss is not.)

# %%
regular = Regular((1.0, 1.0)).landscape()
WRONG = {
    "too large a step": replace(config, step_size=2e-2),
    "too strong a localization": replace(config, step_size=2e-3, localization=100.0),
    "too few draws": replace(config, step_size=1e-5, draws=100, burn_in=50),
}
for name, settings in WRONG.items():
    (estimate,), trace = llc_estimates(regular, settings)
    print(f"{name}: {estimate.value:.2f}\n  {estimate}\n")

# %% [markdown]
# A fourth way is the commonest: $w^*$ is no minimum. Where the estimate is negative that is plain;
# where it is not, the check `minimum` goes downhill from $w^*$ and looks.
#
# The chains that were too short, of which each makes about one swing: there is nothing to average.

# %%
trace_figure(trace, title="Chains that are too short")

# %% [markdown]
# ## Calibration
#
# `calibrate_llc` (at the command line, `interp llc calibrate RUN`) makes pilots, and chooses the
# largest step, and the weakest localization, that the checks allow. It then draws a sweep about
# its choice: where a line is level, the step is small enough, and where lines meet, the estimate
# does not depend on the temperature. Hollow points failed a check: a sweep has few draws, which
# small steps do not get far with, and with large ones the check of the step fails.

# %%
calibrated = calibrate_llc(
    Regular((0.5, 1.0, 2.0)).landscape(),
    LLCConfig(nbeta=145.0, chains=16),
    budget=200 if FAST else 20_000,
)
print(
    f"step size {calibrated.config.step_size:.2g},",
    f"localization {calibrated.config.localization:.2g}",
)
print("pilot:", calibrated.pilot)
calibration_figure(calibrated.table, title="Three parameters, λ = 1.5")

# %% [markdown]
# ## A network where the answer is known
#
# Compiled programs have known weights, and there are parts of them in which the loss is plainly
# quadratic. The program `fraction` says at every token which share of the tokens so far is an x; of
# the eight directions of its unembedding the loss depends on six, half of which is 3.

# %%
task = Fraction(vocab="a..c,x", max_length=4)
landscape = NetworkLandscape(
    compile_task(task, dtype="float64").model.eval(), task.examples("train")
)
unembedding = restriction_to("unembed", landscape, task)  # nothing else moves
settings = LLCConfig(step_size=1e-3, draws=20 if FAST else 500)
(estimate,), trace = llc_estimates(landscape, settings, unembedding)
print(estimate)

# %% [markdown]
# ## Along training
#
# Now a network that is trained: addition mod 31 on 70% of the pairs, by a hidden layer of 64
# neurons. It first learns the training set by heart, and only then the rule: it *groks*.

# %%
recipe = Recipe(
    task=GroupComposition("C31", train_fraction=0.7),
    model=MLPConfig(d_embed=32, d_mlp=64),
    optimizer=AdamW(lr=5e-3, weight_decay=2.0),
    schedule=Schedule(steps=200 if FAST else 1500, checkpoints=30, log_every=10),
)
(run,) = train([recipe], tempfile.mkdtemp())
history_curves(run.history(), "loss", "Addition mod 31", "loss (nats)", log_y=True)

# %% [markdown]
# All checkpoints are sampled at once. The number depends on the localization γ, so there are two.

# %%
which = coefficient_of(run, checkpoints="final" if FAST else "log")
along = {}
for localization in (2.5, 12.5):
    settings = LLCConfig(
        step_size=1e-3, localization=localization, chains=4, draws=10 if FAST else 200, thin=2
    )
    found, trace = llc_estimates(which.landscape, settings, which.restriction)
    along[f"γ = {localization}"] = dict(zip(which.steps, found, strict=True))
llc_curve_figure(
    {name: estimate_table(found) for name, found in along.items()},
    title="Addition mod 31, along training",
)

# %% [markdown]
# The number rises while the training set is learned by heart, and falls when the rule takes over: a
# simpler solution, it would seem. But every point is hollow: not one of these numbers is a local
# learning coefficient. Which checks fail:

# %%
pd.set_option("display.max_colwidth", None)
pd.DataFrame(
    {
        name: {step: estimate.failed_checks or "none" for step, estimate in found.items()}
        for name, found in along.items()
    }
)

# %% [markdown]
# - `minimum`, early: descent from $w^*$ still lowers the loss, as it should in training.
# - `localization` and `temperature`: the number depends on γ or on nβ, so it is a property of the
#   settings as much as of the network. The two values of γ do not even agree on when it falls.
# - `r_hat`, `ess`: longer chains might mend these, and only these.
#
# What is left is a comparison at fixed settings, of how flat the loss is about $w^*$ at one scale.
# It can be read as that, and not as λ. The last checkpoint, in full:

# %%
print(along["γ = 2.5"][which.steps[-1]])

# %% [markdown]
# [docs/llc.md](../../docs/llc.md) has ten larger networks, where a few numbers pass; how often the
# checks are right and wrong; parts of networks, such as a head or an irrep's subspace
# (`restriction_to`); and compiled programs, where the loss is the divergence from the network's own
# answers and $w^*$ is a minimum by construction.
