"""Causal evidence for the roles of heads: what cutting their attention and swapping inputs does."""

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from functools import partial
from itertools import product
from typing import Any

import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor

from analysis.iteration.accuracy import right_states
from analysis.iteration.attention import over_lengths
from analysis.iteration.predictions import (
    Sequences,
    averaged_lengths,
    by_length,
    minibatches,
    predict,
)
from interp.models.transformer import TaskTransformer
from tasks.iteration import IterationTask, Role
from tasks.task import IGNORE, Examples, Split


@torch.no_grad()
def role_effects(
    model: TaskTransformer,
    task: IterationTask,
    split: Split = "test",
    *,
    lengths: Sequence[int] | None = None,
    seed: int = 0,
    by_problem: bool = False,
) -> pd.DataFrame:
    """What interventions on each head in each role do, averaged over lengths.

    All is teacher-forced, and counts the states that the task scores. A length takes a forward
    pass for every role of a head, and five more for the head.

    Args:
        model: a transformer with an MLP in every block.
        task: says what the roles are, and has the sequences.
        split: of the sequences.
        lengths: by default the `averaged_lengths` of each problem.
        seed: draws the swapped inputs.
        by_problem: measure each problem by itself, with its name in the column problem.

    Returns:
        Columns: layer, head, role; and
        knock_out: by how much the share of right states falls when, in this head, the attention
            from the role's queries to their keys is cut (scores of minus infinity).
        swap: for the role x_t, NaN for others. Every x_t is replaced by an x'_t that has another
            answer (`IterationTask.counterfactuals`), and the head's output z at the role's queries
            is patched from that run into the clean one. The share of answers that become
            F(s_(t-1), x'_t), of those that another input would have changed, and that were not so
            already.
        swap_through_last_mlp: the same when only the last MLP sees the patch: what it writes is
            from the patched run, and what else is in the residual stream is clean.
        swap_direct: the same when only the last MLP does not see it: what it writes is clean.

    Raises:
        ValueError: there are no sequences of these lengths, or no chain of thought.
    """
    rows, generator = [], torch.Generator().manual_seed(seed)
    for sequences in _of_lengths(task, split, lengths, by_problem):
        roles = task.layout.roles(sequences.length)
        predicted = predict(model, sequences).tokens
        clean = _accuracy(task, sequences, predicted)
        swap = _swap(task, sequences, predicted, generator)
        heads = product(range(model.cfg.n_layers), range(model.cfg.n_heads))
        for (layer, head), (name, role) in product(heads, roles.items()):
            cut = f"blocks.{layer}.attn.hook_attn_scores", partial(_cut, head=head, role=role)
            left = _accuracy(task, sequences, predict(model, sequences, [cut]).tokens)
            row: dict[str, Any] = {"problem": sequences.problem} if by_problem else {}
            row |= {"layer": layer, "head": head, "role": name, "length": sequences.length}
            row["knock_out"] = clean - left
            if name == "x_t":
                row |= _swap_shares(model, sequences, swap, (layer, head), role)
            rows.append(row)
    return over_lengths(pd.DataFrame(rows))


def _of_lengths(
    task: IterationTask, split: Split, lengths: Sequence[int] | None, by_problem: bool
) -> list[Sequences]:
    parts = list(by_length(task, split, by_problem=by_problem))
    if lengths is None:
        sizes: dict[str, dict[int, int]] = defaultdict(dict)
        for sequences in parts:
            sizes[sequences.problem][sequences.length] = len(sequences.tokens)
        averaged = {problem: averaged_lengths(found) for problem, found in sizes.items()}
        return [s for s in parts if s.length in averaged[s.problem]]
    found = [sequences for sequences in parts if sequences.length in lengths]
    if not found:
        raise ValueError(
            f"no {split} sequence has one of the lengths {', '.join(map(str, lengths))}: the task "
            f"has {task.min_length} to {task.max_length}"
        )
    return found


def _accuracy(task: IterationTask, sequences: Sequences, predicted: Tensor) -> float:
    return right_states(task, sequences, predicted).double().mean().item()


def _cut(scores: Tensor, hook: object, *, head: int, role: Role) -> Tensor:
    scores[:, head, role.queries, role.keys] = -math.inf
    return scores


def _swap(
    task: IterationTask, sequences: Sequences, predicted: Tensor, generator: torch.Generator
) -> Examples:
    """Other inputs; targets are the answers that these change, and that are not said already."""
    clean = Examples(sequences.tokens, sequences.targets)
    pairs = task.counterfactuals("x_t", clean, generator)
    answers = pairs.corrupted.targets
    is_new = pairs.changed & (predicted != answers)
    return Examples(pairs.corrupted.tokens, answers.masked_fill(~is_new, IGNORE))


def _swap_shares(
    model: TaskTransformer, sequences: Sequences, swap: Examples, head: tuple[int, int], role: Role
) -> dict[str, float]:
    """The columns of `role_effects` that are about the swap."""
    n_right: Counter[str] = Counter()
    for tokens, other, answers in minibatches(model, sequences.tokens, swap.tokens, swap.targets):
        for name, logits in _swapped_logits(model, tokens, other, head, role).items():
            n_right[name] += int((logits.argmax(dim=-1) == answers).sum())
    n_swapped = int((swap.targets != IGNORE).sum())
    return {name: n / n_swapped if n_swapped else math.nan for name, n in n_right.items()}


def _swapped_logits(
    model: TaskTransformer, tokens: Tensor, other: Tensor, head: tuple[int, int], role: Role
) -> dict[str, Float[Tensor, "example position output"]]:
    """The logits of the three patched runs.

    Last in the residual stream are `hook_resid_mid` of the last block and what its MLP writes: in
    the second run the former is clean and the latter patched, in the third the other way round.
    """
    z = f"blocks.{head[0]}.attn.hook_z"
    mlp = f"blocks.{model.cfg.n_layers - 1}.hook_mlp_out"
    source, clean, patched = {}, {}, {}

    def run(tokens: Tensor, *hooks: tuple[str, Callable[..., Any]]) -> Tensor:
        return model.run_with_hooks(tokens, fwd_hooks=list(hooks))

    def patch(activation: Tensor, hook: object) -> Tensor:
        activation[:, role.queries, head[1]] = source[z][:, role.queries, head[1]]
        return activation

    run(other, (z, partial(_keep, kept=source)))
    run(tokens, (mlp, partial(_keep, kept=clean)))
    return {
        "swap": run(tokens, (z, patch), (mlp, partial(_keep, kept=patched))),
        "swap_through_last_mlp": run(tokens, (mlp, lambda *_, **__: patched[mlp])),
        "swap_direct": run(tokens, (z, patch), (mlp, lambda *_, **__: clean[mlp])),
    }


def _keep(activation: Tensor, hook: Any, *, kept: dict[str, Tensor]) -> None:
    kept[hook.name] = activation
