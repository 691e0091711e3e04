# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Chain of thought: from a circuit by hand to a trained head
#
# An iterative problem folds inputs into a state, $s_t = F(s_{t-1}, x_t)$. A transformer that writes
# every state down needs two attention layers for it, whatever $F$ is: the *iteration head* of
# Cabannes et al. ([arXiv 2406.02128](https://arxiv.org/abs/2406.02128)). This notebook sets that
# circuit by hand, trains a network on the same problem, and asks whether it has found the same.

# %%
import os
import tempfile

import pandas as pd

from analysis.evaluate import evaluate_run
from analysis.iteration import length_scores, role_effects
from analysis.plots.attention import attention_figure
from analysis.plots.curves import component_curves, total_curves
from interp.models.config import DecoderConfig, IterationHeadConfig
from interp.runs.recipe import AdamW, Recipe, Schedule
from tasks.iteration import Polynomial
from training.train import train

FAST = os.environ.get("FAST") == "1"  # smaller sizes, for the tests
pd.options.display.float_format = "{:.3f}".format

# %% [markdown]
# ## The problem
#
# Polynomial iteration: $s_t = s_{t-1}\,x_t + 1 \bmod 5$, from $s_0 = 0$. A sequence says which
# problem it is, the inputs, the end of the input (EoI), then every state, and the end of the
# sequence (EoS). The network has to predict the tokens after EoI, each from all that stands
# before.

# %%
task = Polynomial(modulus=5, max_length=4 if FAST else 8)
test = task.examples("test")
longest = test.tokens[task.encoding.lengths(test.tokens) == task.max_length]
print(*(task.vocabulary[token] for token in longest[0].tolist()))

# %% [markdown]
# ## The circuit by hand
#
# Where $s_t$ is to be said, the last token is $s_{t-1}$. What is missing is $x_t$, which stands at
# different places in sequences of different lengths. So
#
# - a head of the first layer, **L0H0**, attends from every state to EoI, and fetches its position;
# - an MLP finds from that and its own position where $x_t$ is;
# - a head of the second layer, **L1H0**, attends to $x_t$, and fetches it;
# - the last MLP knows $F(s_{t-1}, x_t)$ as a table.
#
# `IterationHeadConfig` sets the weights so. There is nothing to train, and nothing goes wrong at
# any length: `token_accuracy` is the share of states that are right when the network reads the true
# ones, `free_running_accuracy` that of whole sequences when it reads its own.

# %%
by_hand = IterationHeadConfig().build(task, seed=0)
SHARES = ["length", "token_accuracy", "free_running_accuracy"]
length_scores(by_hand, task)[SHARES].set_index("length")

# %% [markdown]
# The two heads on a test sequence. A row is a token that attends, from top to bottom; a column is a
# token that is attended to. In the rows of the states, L0H0 shows a column, and L1H0 a diagonal.

# %%
attention_figure(by_hand, task, title="Set by hand")

# %% [markdown]
# ## A network that is trained
#
# Two layers with one head each, 32 dimensions, on half of the sequences.

# %%
recipe = Recipe(
    task=task,
    model=DecoderConfig(d_model=32),
    optimizer=AdamW(lr=3e-3, betas=(0.9, 0.999), weight_decay=0.0),
    schedule=Schedule(steps=60 if FAST else 1200, batch_size=256, checkpoints=4 if FAST else 12),
)
(run,) = train([recipe], tempfile.mkdtemp())
problems = evaluate_run(run)
metrics = run.metrics().assign(run=run.name)

# %% [markdown]
# Every checkpoint was measured. States become right first, and whole sequences after them.

# %%
ACCURACIES = {
    "iteration/token_accuracy": "states",
    "iteration/sequence_accuracy": "whole sequences",
    "iteration/free_running_accuracy": "whole sequences, free running",
}
total_curves(metrics, ACCURACIES, "Test sequences along training", "share that is right")

# %% [markdown]
# Does attention take the places that it has in the circuit by hand? Below is the attention of each
# head in each *role*: from the states to EoI, and from where $s_t$ is to be said to $x_t$.

# %%
roles = metrics["component"].str.contains("EoI|x_t")
component_curves(metrics.loc[roles], "attention/mean", "Mean attention along training", "attention")

# %%
model = run.model()
attention_figure(model, task, title="Trained")

# %% [markdown]
# L1H0 comes close to the diagonal of the circuit by hand. L0H0 attends to EoI about half of the
# time only; where else it looks differs from token to token.
#
# ## Does it use what it looks at?
#
# Attention alone proves nothing. `role_effects` intervenes:
#
# - `knock_out`: the attention of the role is cut; by how much does the share of right states fall?
# - `swap`: the head reads other inputs $x'_t$; how many answers become $F(s_{t-1}, x'_t)$?
# - `swap_through_last_mlp`: the same when only the last MLP sees the change;
# - `swap_direct`: the same when all but the last MLP does.
#
# In the circuit by hand it is known what comes out.

# %%
WANTED = "(layer == 0 and role == 'EoI') or (layer == 1 and role == 'x_t')"
effects = {
    name: role_effects(network, task).query(WANTED).set_index(["layer", "role"])
    for name, network in {"by hand": by_hand, "trained": model}.items()
}
pd.concat(effects).drop(columns=["head"])

# %% [markdown]
# Cutting either head costs the trained network right answers too, though fewer, and where L1H0
# reads other inputs nearly all answers follow. So it is this head that carries $x_t$. One thing is
# different: by hand all of it goes through the last MLP; some answers of the trained network change
# without it, directly from the head to the logits.
#
# ## At every length
#
# Means hide the short sequences, of which there are few: four of length 1, half of them for the
# test. Their states are right, but not whole sequences: these need EoS in its place, too.

# %%
length_scores(model, task)[SHARES].set_index("length")

# %% [markdown]
# [docs/chain_of_thought.md](../../docs/chain_of_thought.md) has the other problems (a product in
# any group is one), how to write one's own, all that is measured, and the experiments: which
# encodings of positions carry the head to longer sequences, what it takes along to another
# problem, and whether several problems share it.
