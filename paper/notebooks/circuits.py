# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # A program, its circuit, and methods that look for it
#
# Whether a method finds the circuit of a network is hard to say as long as nobody knows the
# circuit. Here a program is *compiled* into the weights of a transformer, so that it is known what
# every head, neuron and direction does. Then the network is patched, and methods of circuit
# discovery are judged against the truth.

# %%
import os

import pandas as pd

from analysis.circuits import (
    against_truth,
    circuit_curve,
    edge_scores,
    evaluate_circuit,
    missed,
    ranked,
    setting,
    top,
)
from analysis.patching import sweep
from analysis.plots.circuit import circuit_figure
from analysis.plots.circuit_curves import circuit_curves_figure
from analysis.plots.patching import patching_figure
from analysis.plots.program import explanation_figure
from interp.known_circuit import known_circuit
from interp.rasp import check, compile_task, inputs, listing
from tasks.sequences import Palindrome

FAST = os.environ.get("FAST") == "1"  # smaller sizes, for the tests
N_PAIRS = 20 if FAST else 100
pd.options.display.float_format = "{:.3g}".format

# %% [markdown]
# ## A program
#
# The task: say of every token whether it equals its mirror image. The program is in RASP, a
# language for what transformers can compute. A `select` says which tokens to attend to, an
# `aggregate` fetches what stands there.

# %%
task = Palindrome(vocab="a..c", max_length=6)
compiled = compile_task(task)
print(listing(compiled.program))
print(compiled(["abca"]))

# %% [markdown]
# ## The network it becomes
#
# `compile_task` has made a `HookedTransformer` of it: these are all its weights that are not zero,
# and what they are for. L0H0 and MLP0 find the length, from which MLP1 knows where the mirror image
# is; L2H0 fetches it, and MLP2 compares.

# %%
explanation_figure(compiled.explain())

# %% [markdown]
# Is the network the program? The interpreter runs the program exactly, in Python, and both are
# compared on every short input and on random long ones.

# %%
print(check(compiled, inputs(compiled.encoding, all_up_to=4, n_random=200)))

# %% [markdown]
# ## Patching
#
# The task supplies pairs of inputs that differ in one known variable, with the answers to both.
# Here a token is changed, and what is scored is the answer at its mirror image.

# %%
print(task.variables)
pairs = task.pairs("mirror", n=N_PAIRS)
for tokens in (pairs.clean.tokens[0], pairs.corrupted.tokens[0]):
    print(*(task.vocabulary[token] for token in tokens.tolist()))

# %% [markdown]
# Every head's output at every position is replaced by that in the other input. The effect is the
# share of the change that the other input as a whole makes: 1 where the answers hang on this
# activation alone.

# %%
model = compiled.model
found = sweep(model, pairs, "z")
patching_figure(found, title="Heads, patched from the other input")

# %% [markdown]
# As the program says: the length is the same in both inputs, so patching what L0H0 finds does
# nothing, and everything passes through L2H0, which fetches the mirror image. Where that stands
# differs from pair to pair, so positions share the effect; their sum is 1:

# %%
total = found.normalised.sum("position").to_pandas()
total.index.name, total.columns.name = "layer", "head"
total.round(3) + 0.0  # no -0

# %% [markdown]
# ## The true circuit
#
# In terms of *edges* the network is a graph: each edge takes what a head, an MLP or the embedding
# writes to what reads it later. Of the compiled network it is known which edges carry something
# that varies over these inputs (`variable`), which are read but never change (`constant`), and
# which are not read at all (`absent`).

# %%
everything = task.pairs("example", n=N_PAIRS)  # two inputs that need not have anything in common
truth = known_circuit(task, everything)
print(pd.Series(list(truth.kinds.values())).value_counts().to_string())
print(*truth.edges("variable"))

# %% [markdown]
# ## Finding it
#
# The exact method cuts one edge at a time, so that it carries what it would in the other input,
# and watches the answer. `eap` estimates that from one gradient for all edges (Syed et al. 2023),
# `eap_ig_activations` from several along the way (Hanna et al. 2024), and `random` says what no
# method at all achieves. A score of 1 for `auroc` means that every variable edge is ranked before
# every absent one.

# %%
METHODS = ("exact", "eap_ig_activations", "eap", "random")
scores = {method: edge_scores(model, everything, "margin", method=method) for method in METHODS}
pd.DataFrame(
    {
        method: against_truth(found.edges, found.magnitude, truth.kinds)
        for method, found in scores.items()
    }
).T[["edges", "positives", "auroc", "average_precision", "precision", "recall"]]

# %% [markdown]
# A gradient misses what the exact method sees where something is saturated: a neuron that is off,
# or attention that is all on one token, has a slope of zero. Here it is the edge to the queries
# of the only head that attends to one token:

# %%
print(*missed(scores["eap"].edges, scores["eap"].magnitude, truth.kinds))

# %%
exact = scores["exact"]
circuit_figure(
    exact,
    top(exact.edges, exact.magnitude, n=len(truth.edges("variable"))),
    kinds=truth.kinds,
    title="The edges with the highest exact scores",
)

# %% [markdown]
# ## Does the circuit do the work?
#
# A circuit is *faithful* if it does what the network does with all other edges cut, and *complete*
# if without it nothing is left. Edges are taken in the order of each method's scores.

# %%
on = setting(model, everything, "margin")
curves = {
    method: circuit_curve(on, ranked(found.edges, found.magnitude), minimality=False)
    for method, found in scores.items()
}
circuit_curves_figure(curves, title="Faithfulness of the circuits of the highest scores")

# %%
print(evaluate_circuit(on, truth.edges("variable")))

# %% [markdown]
# The true circuit is faithful and complete, and none of its edges can be left out.
#
# ## What it takes to be right
#
# This was one program. [docs/causal.md](../../docs/causal.md) has the benchmark over eight
# programs and five hand-set networks, with every method and every way of cutting; networks that
# were *trained* on the same tasks, where the hand-made circuit is only part of the story; and
# what else there is: path patching, direct logit attribution, learned subspaces, causal
# scrubbing. A program of your own takes a few lines: see [docs/rasp.md](../../docs/rasp.md).
