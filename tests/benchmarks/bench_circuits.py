"""Exact patching of all edges, against a forward pass for each.

    OMP_NUM_THREADS=1 python tests/benchmarks/bench_circuits.py

The loop keeps what all senders write in both runs, and for each edge changes what its receiver
reads in a forward pass of its own, with the hooks that TransformerLens has for that. Both are
interleaved in one process, and their results asserted equal first. Times are those of the
processor, so that other programs on the machine count less.
"""

import statistics
import time
import warnings
from functools import partial
from typing import Any

import torch
from bench_patching import deep, random_pairs

from analysis.circuits import edge_scores, model_graph
from analysis.patching.metrics import logit_difference, reference
from interp.models.graph import UNEMBED
from interp.models.transformer import TaskTransformer
from tasks.pairs import Pairs


def shift(
    activation: torch.Tensor, hook: object, *, change: torch.Tensor, head: int | None
) -> None:
    """Change what a receiver reads."""
    if head is None:
        activation += change
    else:
        activation[:, :, head] += change


@torch.no_grad()
def loop(model: TaskTransformer, pairs: Pairs) -> torch.Tensor:
    """The effect of every edge on every example."""
    graph, found = model_graph(model), reference(model, pairs)
    clean, corrupted = (graph.record(part.tokens) for part in (pairs.clean, pairs.corrupted))
    effects = []
    model.set_use_split_qkv_input(True)
    model.set_use_hook_mlp_in(True)
    for sender, receiver in graph.edges:
        change = corrupted.writes[sender] - clean.writes[sender]
        node, _, x = receiver.partition(".")
        layer, head = graph.block(receiver), int(node.partition("H")[2]) if x else None
        point = f"blocks.{layer}.hook_{x}_input" if x else f"blocks.{layer}.hook_mlp_in"
        if receiver == UNEMBED:
            point = f"blocks.{layer - 1}.hook_resid_post"
        hooks: list[Any] = [(point, partial(shift, change=change, head=head))]
        logits = model.run_with_hooks(pairs.clean.tokens, fwd_hooks=hooks)
        effects.append(logit_difference(logits, found) - logit_difference(found.clean, found))
    model.set_use_split_qkv_input(False)
    model.set_use_hook_mlp_in(False)
    return torch.stack(effects, dim=1)


def main() -> None:
    warnings.simplefilter("ignore")
    model, pairs = deep(), random_pairs(16, last_only=False)
    ways = {
        "ours": lambda: edge_scores(model, pairs).values,
        "loop": lambda: loop(model, pairs),
    }
    torch.testing.assert_close(ways["ours"](), ways["loop"](), rtol=0, atol=1e-5)
    times: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(3):
        for name, way in ways.items():
            start = time.process_time()
            way()
            times[name].append(time.process_time() - start)
    ours, loops = (statistics.median(values) for values in times.values())
    n_edges = len(model_graph(model).edges)
    print(f"{n_edges} edges: ours {ours:.2f} s   loop {loops:.2f} s   {loops / ours:.2f}x")


if __name__ == "__main__":
    main()
