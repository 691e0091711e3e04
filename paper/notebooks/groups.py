# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Composing in a group
#
# A network is given two elements $a, b$ of a finite group and must say their product $ab$.
# Chughtai, Chan and Nanda ([arXiv 2302.03025](https://arxiv.org/abs/2302.03025)) found that small
# networks learn to do this with *representations*: they turn elements into matrices that multiply
# as the elements do, and read the answer off with a trace.
#
# This notebook does that by hand for S5, the 120 permutations of five things: first with matrices,
# then as the weights of a network. Then it looks for the same in a network that was trained and
# published, and ends with its row in the paper's tables.

# %%
import tempfile
from pathlib import Path

import einops
import pandas as pd
import torch
from IPython.display import Markdown

from analysis.evaluate import evaluate_run
from analysis.plots.embedding import embeddings_of, energy_figure, entries_figure
from analysis.representation import find_key_irreps, representation_metrics
from interp.models.config import BilinearConfig
from interp.runs.published import import_published
from paper.comparison import compare
from paper.rows import collect
from paper.tables import five_tables, markdown
from tasks.composition import GroupComposition
from tasks.groups import find_irrep, finite_group, irreps

pd.options.display.float_format = "{:.3g}".format
PUBLISHED = Path("../../tests/data/published")  # one of the published runs

# %% [markdown]
# ## The group and its representations
#
# A group is a multiplication table. Products of permutations apply the left one first.

# %%
group = finite_group("S5")
first, second = (group.element_names.index(name) for name in ("(0 1)", "(1 2 3 4)"))
product = group.table[first, second]
print(f"{group.order} elements; (0 1) times (1 2 3 4) is {group.element_names[product]}")

# %% [markdown]
# A *representation* $\rho$ gives each element a matrix such that $\rho(a)\,\rho(b) = \rho(ab)$.
# All of them are put together from *irreducible* ones, the irreps, of which S5 has seven. The
# functions on the group fall apart into an orthogonal space for each irrep; its dimension is the
# rank below, and the ranks add up to the order.

# %%
table = pd.DataFrame(
    [(irrep.name, irrep.dimension, irrep.rank) for irrep in irreps(group)],
    columns=["irrep", "dimension", "rank"],
)
print("sum of the ranks:", table["rank"].sum())
table.set_index("irrep")

# %% [markdown]
# The *standard* irrep is what is left of the five permuted coordinates when their sum is taken off:
# 4 × 4 matrices. They multiply as the elements do, for all 14,400 pairs.

# %%
rho = find_irrep(group, "standard").matrices  # [element, 4, 4]
products = einops.einsum(rho, rho, "a i j, b j k -> a b i k")
print("largest error:", f"{(products - rho[group.table]).abs().max():.1e}")

# %% [markdown]
# The trace of the matrix is the *character* $\chi(g)$. It is the same for all conjugates of $g$,
# and nowhere larger than at the identity, where it is the dimension. Here are all of them, by
# conjugacy class.

# %%
firsts = [int((group.classes == i).nonzero()[0]) for i in range(len(group.class_sizes))]
characters = torch.stack([irrep.character[firsts] for irrep in irreps(group)])
pd.DataFrame(
    characters.round().int().numpy(),  # those of S5 are whole numbers
    index=[irrep.name for irrep in irreps(group)],
    columns=[group.element_names[g] for g in firsts],
)

# %% [markdown]
# ## The algorithm by hand
#
# 1. Embed: $a \mapsto \rho(a)$, $b \mapsto \rho(b)$.
# 2. Multiply the matrices: $\rho(a)\,\rho(b) = \rho(ab)$.
# 3. Unembed: the logit of $c$ is $\mathrm{tr}\,\rho(ab)\,\rho(c)^{-1} = \chi(abc^{-1})$, which is
#    largest where $abc^{-1}$ is the identity: at $c = ab$.
#
# How far the right answer is above the runner-up is what an irrep is good for. The trivial one
# cannot tell anything; the sign tells even elements from odd ones, and 60 answers share the
# largest logit. The standard irrep is enough by itself.

# %%
gaps = {}
for irrep in irreps(group):
    others = irrep.character[torch.arange(group.order) != group.identity]
    gaps[irrep.name] = float(irrep.dimension - others.max())
pd.DataFrame({"gap to the runner-up": gaps})

# %% [markdown]
# ## As the weights of a network
#
# Step 2 has to multiply two embeddings. The smallest network that can is `BilinearConfig`, which
# takes the product of both, coordinate by coordinate, and unembeds it:
#
# $$\chi(abc^{-1}) = \sum_{ijk} \rho_{ij}(a)\;\rho_{jk}(b)\;\rho_{ik}(c)$$
#
# so a coordinate for each $(i, j, k)$, 64 in all, is enough. (The matrices are orthogonal: the
# inverse is the transpose.) The logits are scaled by 10 to make the softmax sharp.

# %%
task = GroupComposition("S5", train_fraction=0.4)
by_hand = BilinearConfig(d_embed=64).build(task, seed=0)
with torch.no_grad():
    by_hand.W_E_a.copy_(einops.repeat(rho, "a i j -> a (i j k)", k=4))
    by_hand.W_E_b.copy_(einops.repeat(rho, "b j k -> b (i j k)", i=4))
    by_hand.W_U.copy_(10 * einops.repeat(rho, "c i k -> (i j k) c", j=4))

measured = representation_metrics(by_hand, task)
print("accuracy on the test pairs:", measured["accuracy/test"][""])
print("loss:", f"{measured['loss/test']['']:.1e}")

# %% [markdown]
# So there is a network of which we know how it works, and what every metric should say about it.
# `logits/similarity` is the cosine of the logits with $\chi(abc^{-1})$; `fve` is the fraction of
# variance explained: how much of the embeddings, the hidden layer or the unembedding lies in the
# irrep's space of functions.

# %%
SHOWN = ["logits/similarity", "embed_a/fve", "embed_b/fve", "hidden_ab/fve", "unembed/fve"]


def by_irrep(metrics):
    """A row for each irrep, a column for each metric of SHOWN."""
    return (
        pd.DataFrame({name: metrics[name] for name in SHOWN}).drop(index="").round(4) + 0.0
    )  # no -0


by_irrep(measured)

# %% [markdown]
# All of it is in the standard irrep. Only `hidden_ab` is not 1: the hidden layer has a coordinate
# for every term $\rho_{ij}(a)\,\rho_{jk}(b)$, and of these only the mean over the four values of
# $j$, a quarter of the variance, is a function of $ab$. The unembedding reads that quarter.
#
# ## A network that was trained
#
# The published network has one hidden layer of 128 ReLU neurons on two embeddings. It was trained
# on 40% of the pairs until it had the others right as well. Published runs are imported into the
# same run folders as those that are trained here, and measured by the same command.

# %%
runs = Path(tempfile.mkdtemp())
(imported,) = import_published(PUBLISHED, runs)
run = imported.run
problems = evaluate_run(run, final=True)
summary = run.summary()
print(f"{run.name} on the test pairs:", f"{summary['accuracy/test']:.0%} are right")

# %% [markdown]
# Nobody told it about representations. Still, if every direction that a neuron reads from the
# embedding of $a$ is taken apart into irreps, nearly everything is in two of seven. (The published
# code numbers the elements in an order of its own; `task.finite_group` is the group in that order.)

# %%
model, task = run.model(), run.recipe.task
embedding = embeddings_of(model, task)["a"]  # what W_E and W_in together make of every element
energy_figure(embedding, "What neurons read from the embedding of a")

# %% [markdown]
# Which irreps a network uses its logits say: those are *key* whose characters the logits resemble.

# %%
key = find_key_irreps(model, task)
print(*key.names, f"({key.rule})")
by_irrep(representation_metrics(model, task))

# %% [markdown]
# Which matrix entries is it that neurons read? Below is their part in the standard irrep, entry by
# entry, in our basis of it. A network has no reason to choose our basis, and hardly a neuron reads
# one entry alone; but most have their large entries in one row of the matrix.

# %%
entries_figure(embedding, "standard", "Neurons on the entries of the standard irrep")

# %% [markdown]
# Is that what the answers hang on, or does it only look so? Two losses tell. The *excluded* loss is
# without the part of the hidden layer that the key irreps explain as a function of $ab$; the
# *restricted* loss is with that part alone. Guessing costs $\log 120 = 4.8$.

# %%
losses = {
    "test": "loss/test",
    "excluded": "hidden/excluded_loss",
    "restricted": "hidden/restricted_loss",
}
pd.DataFrame({"loss": {name: summary[metric] for name, metric in losses.items()}})

# %% [markdown]
# The part explains 13% of the hidden layer's variance (`hidden_ab/fve` in the two rows above), as a
# quarter did in the network by hand. Without it the network is worse than a guess, and with it
# alone it is better than with everything.
#
# ## To the tables
#
# The paper's tables are made from run folders. With all published runs at hand the command
# `interp tables` writes all five; from this run comes one row of the first.

# %%
Markdown(markdown(five_tables(collect([run]))[0]))

# %% [markdown]
# The authors published their own evaluation of every run. All numbers that both have, side by side:

# %%
cells = list(compare(run, PUBLISHED / run.name))
print(len(cells), "numbers, of which differ:", sum(cell.defect != "" for cell in cells))
wanted = [cell for cell in cells if "standard_rep" in cell.column and cell.ratio]
pd.DataFrame(wanted, columns=["run", "column", "ours", "published", "ratio", "defect"]).iloc[:, 1:5]

# %% [markdown]
# Where they differ, for other runs, the reason is known: [the comparison of all
# runs](../results/published/comparison.md). What each metric is, with its formula, is in
# [docs/metrics.md](../../docs/metrics.md).
