"""Iteration-head scores: how much every head attends to what each role says."""

import math
from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import Any

import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor

from analysis.iteration.predictions import FROM_LENGTH, Hooks, by_length, predict
from interp.models.graph import head_name
from interp.models.transformer import TaskTransformer
from tasks.iteration import IterationTask, Role
from tasks.task import Split

SCORES = ("mean", "above_half", "invariance")
WHERE = ("problem", "layer", "head", "role")
"""What rows are about; the problem, where each is by itself."""


def attention_scores(
    model: TaskTransformer, task: IterationTask, split: Split = "test", *, by_problem: bool = False
) -> pd.DataFrame:
    """For every head, role and length, three scores of the attention A from queries to keys.

    The roles are those of `task.layout.roles`; one that has no query at a length has no row. As
    published by Cabannes et al. (2024) are the rows of layer 0, head 0, role EoI and of layer 1,
    head 0, role x_t, for a network of one head a layer.

    Returns:
        Columns: layer, head, role, length (and problem, if `by_problem`); and over the sequences
        of a length and the role's pairs of query and key:
        mean: the mean of A.
        above_half: the share with A > 0.5.
        invariance: 1 less the standard deviation of A over sequences (unbiased; NaN for a single
            one), averaged over the pairs. 1 if A does not depend on what the tokens are.

    Raises:
        ValueError: without chain of thought there are no roles.
    """
    rows = []
    for sequences in by_length(task, split, by_problem=by_problem):
        recorder = RoleAttention(model, task.layout.roles(sequences.length))
        predict(model, sequences, recorder.hooks)
        where: dict[str, Any] = {"problem": sequences.problem} if by_problem else {}
        rows += [where | {"length": sequences.length} | row for row in recorder.rows()]
    columns = [*(WHERE if by_problem else WHERE[1:]), "length", *SCORES]
    return pd.DataFrame(rows, columns=columns)


def summary(scores: pd.DataFrame, from_length: int = FROM_LENGTH) -> pd.DataFrame:
    """For every layer and role, the head that attends most, with its scores averaged over lengths.

    Args:
        scores: a table of `attention_scores`.
        from_length: shorter lengths are left out, unless all are shorter.

    Returns:
        Columns: layer, head, role (and problem, if `scores` has it), mean, above_half, invariance.
    """
    from_length = min(from_length, int(scores["length"].to_numpy().max()))
    heads = over_lengths(scores.loc[scores["length"] >= from_length])
    most = heads.sort_values("mean", ascending=False, kind="stable")
    of_all_heads = [name for name in WHERE if name in scores and name != "head"]
    return most.drop_duplicates(of_all_heads).sort_index().reset_index(drop=True)


def over_lengths(table: pd.DataFrame) -> pd.DataFrame:
    """A row for each head and role (and problem), averaged over the lengths of the table."""
    where = [name for name in WHERE if name in table]
    means = table.groupby(where, sort=False, as_index=False).agg("mean")
    return means.drop(columns="length")


def by_head(scores: pd.DataFrame, name: str) -> dict[str, float]:
    """One of `SCORES` for each head in each role, such as `L1H0:x_t`, averaged over the lengths."""
    heads = over_lengths(scores)
    where = zip(heads["layer"], heads["head"], heads["role"], strict=True)
    names = [f"{head_name(layer, head)}:{role}" for layer, head, role in where]
    return dict(zip(names, heads[name], strict=True))


class RoleAttention:
    """Keeps of every attention pattern the entries that the roles name, and no more."""

    def __init__(self, model: TaskTransformer, roles: Mapping[str, Role]) -> None:
        self.roles = {name: role for name, role in roles.items() if len(role.queries)}
        self.n_layers = model.cfg.n_layers
        self.entries: dict[tuple[int, str], list[Tensor]] = defaultdict(list)

    @property
    def hooks(self) -> Hooks:
        """To be called with the patterns of each minibatch."""
        return [(f"blocks.{i}.attn.hook_pattern", self._keep) for i in range(self.n_layers)]

    def _keep(self, pattern: Float[Tensor, "example head query key"], hook: Any) -> None:
        for name, role in self.roles.items():
            self.entries[hook.layer(), name].append(pattern[:, :, role.queries, role.keys].cpu())

    def rows(self) -> Iterator[dict[str, Any]]:
        """The scores of every layer, role and head, in float64."""
        for (layer, role), parts in self.entries.items():
            attention = torch.cat(parts).double()
            for head, values in enumerate(attention.unbind(dim=1)):
                spread = values.std(dim=0).mean().item() if len(values) > 1 else math.nan
                yield {
                    "layer": layer,
                    "head": head,
                    "role": role,
                    "mean": values.mean().item(),
                    "above_half": (values > 0.5).double().mean().item(),
                    "invariance": 1 - spread,
                }
