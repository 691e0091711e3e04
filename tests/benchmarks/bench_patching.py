"""A full sweep of z over layers, heads and positions, against `transformer_lens.patching`.

    OMP_NUM_THREADS=1 python tests/benchmarks/bench_patching.py

Ours is the whole `sweep`, both undisturbed runs and their metrics among it, and keeps every
example; theirs is the corrupted run and a forward pass for each cell, and keeps means. Both are
interleaved in one process, and their results asserted equal first. Times are those of the
processor, so that other programs on the machine count less.
"""

import statistics
import time
import warnings
from collections.abc import Callable

import torch
from transformer_lens import patching as transformer_lens_patching

from analysis.patching import sweep
from analysis.patching.metrics import logit_difference, reference
from interp.models.config import TransformerConfig
from interp.models.transformer import TaskTransformer
from tasks.composition import GroupComposition
from tasks.pairs import Pairs
from tasks.task import IGNORE, Examples

N_TOKENS, N_POSITIONS = 32, 16


def deep() -> TaskTransformer:
    """Four layers of random weights."""
    model = TaskTransformer(
        n_layers=4, n_heads=4, d_model=64, d_head=16, d_mlp=256, n_ctx=N_POSITIONS,
        d_vocab=N_TOKENS, d_vocab_out=N_TOKENS,
    )  # fmt: skip
    generator = torch.Generator().manual_seed(0)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.1, generator=generator)
    return model


def random_pairs(n: int, *, last_only: bool) -> Pairs:
    """Random tokens with random answers."""
    generator = torch.Generator().manual_seed(1)
    numbers = torch.randint(N_TOKENS, (4, n, N_POSITIONS), generator=generator)
    if last_only:
        numbers[2:, :, :-1] = IGNORE
    return Pairs(Examples(numbers[0], numbers[2]), Examples(numbers[1], numbers[3]))


def group_pairs(task: GroupComposition, n: int) -> Pairs:
    """Pairs of elements, and others."""
    examples = task.examples()
    clean, corrupted = (
        Examples(examples.tokens[rows], examples.targets[rows])
        for rows in torch.randperm(
            len(examples.tokens), generator=torch.Generator().manual_seed(0)
        )[: 2 * n].split(n)
    )
    return Pairs(clean, corrupted)


@torch.no_grad()
def theirs(model: TaskTransformer, pairs: Pairs, metric: Callable) -> torch.Tensor:
    _, cache = model.run_with_cache(pairs.corrupted.tokens)
    by_pos = transformer_lens_patching.get_act_patch_attn_head_out_by_pos
    return by_pos(model, pairs.clean.tokens, cache, metric)


def compare(title: str, model: TaskTransformer, pairs: Pairs) -> None:
    found = reference(model, pairs)

    def metric(logits: torch.Tensor) -> torch.Tensor:
        return logit_difference(logits, found).mean()

    def ours() -> torch.Tensor:
        values = sweep(model, pairs, "z", ("layer", "position", "head")).values
        return torch.as_tensor(values.mean("example").values)

    ways = {"ours": ours, "theirs": lambda: theirs(model, pairs, metric)}
    torch.testing.assert_close(ours(), ways["theirs"](), rtol=0, atol=1e-5)
    times: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(6):
        for name, way in ways.items():
            start = time.process_time()
            way()
            times[name].append(1e3 * (time.process_time() - start))
    our_ms, their_ms = (statistics.median(values[1:]) for values in times.values())
    print(
        f"{title:<44} ours {our_ms:7.1f} ms   theirs {their_ms:7.1f} ms   {their_ms / our_ms:.2f}x"
    )


def main() -> None:
    warnings.simplefilter("ignore")
    transformer_lens_patching.tqdm = lambda rows: rows
    model = deep()
    compare("4 layers, 16 positions, the last scored", model, random_pairs(32, last_only=True))
    compare("the same, all positions scored", model, random_pairs(32, last_only=False))
    task = GroupComposition("C113", equals_token=True)
    for n in (128, 1024):
        title = f"group of 113, 1 layer, {n} pairs"
        compare(title, TransformerConfig().build(task, 0), group_pairs(task, n))


if __name__ == "__main__":
    main()
