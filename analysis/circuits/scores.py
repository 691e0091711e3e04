"""How much every edge matters, by any method: one signature, one result."""

from collections.abc import Callable
from dataclasses import dataclass

import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor

from analysis.circuits.acdc import acdc
from analysis.circuits.attribution import (
    attribution,
    integrated_activations,
    integrated_inputs,
    node_attribution,
)
from analysis.circuits.exact import exact
from analysis.circuits.setting import Setting, setting
from analysis.patching.metrics import Metric
from interp.arguments import nearest
from interp.models.graph import Edge, node_of
from interp.models.partial import Network
from tasks.pairs import Pairs


@dataclass(frozen=True, eq=False)
class EdgeScores:
    """What happens to the metric, example by example, when each edge is cut, or an estimate."""

    edges: tuple[Edge, ...]
    values: Float[Tensor, "example edge"]
    method: str
    ablation: str

    @property
    def magnitude(self) -> Float[Tensor, "edge"]:
        """The mean over examples of the absolute values: by it edges are ranked.

        A signed mean would cancel where an edge helps some answers and harms others.
        """
        return self.values.abs().mean(dim=0)

    def nodes(self) -> dict[str, float]:
        """Of every node, the largest magnitude of its edges."""
        found: dict[str, float] = {}
        for edge, score in zip(self.edges, self.magnitude.tolist(), strict=True):
            for node in map(node_of, edge):
                found[node] = max(score, found.get(node, 0.0))
        return found

    def frame(self) -> pd.DataFrame:
        """Rows of edge, sender, receiver, effect (the mean), magnitude; the largest first."""
        table = pd.DataFrame(
            {
                "edge": list(map(str, self.edges)),
                "sender": [edge.sender for edge in self.edges],
                "receiver": [edge.receiver for edge in self.edges],
                "effect": self.values.mean(dim=0).tolist(),
                "magnitude": self.magnitude.tolist(),
            }
        )
        return table.sort_values("magnitude", ascending=False, ignore_index=True, kind="stable")


def random(on: Setting, *, seed: int = 0) -> Float[Tensor, "1 edge"]:
    """Uniform numbers: what any method must beat."""
    return torch.rand(1, len(on.graph.edges), generator=torch.Generator().manual_seed(seed))


METHODS: dict[str, Callable[[Setting], Float[Tensor, "_ edge"]]] = {
    "exact": exact,
    "eap": attribution,
    "eap_ig_inputs": integrated_inputs,
    "eap_ig_activations": integrated_activations,
    "node_attribution": node_attribution,
    "acdc": acdc,
    "random": random,
}
"""From a setting to a number for every example (or for all of them) and edge."""


def edge_scores(
    model: Network,
    pairs: Pairs,
    metric: str | Metric = "logit_difference",
    *,
    method: str = "exact",
    ablation: str = "corrupted",
    seed: int = 0,
) -> EdgeScores:
    """Score every edge of a network.

    Args:
        model: a `HookedTransformer`, `HookedMLP` or `HookedBilinear`.
        pairs: clean inputs, and corrupted ones.
        metric: a name in `analysis.patching.metrics.METRICS`, or a function.
        method: a name in `METHODS`.
        ablation: what a cut edge carries, see `setting`.
        seed: of the ablation `resample`.

    Raises:
        ValueError: there is no such method, metric or ablation, or the network has no graph.
    """
    return score(setting(model, pairs, metric, ablation, seed=seed), method)


def score(on: Setting, method: str = "exact") -> EdgeScores:
    """Score every edge in a setting: `edge_scores` where there is one already.

    Raises `ValueError` when there is no such method.
    """
    if method not in METHODS:
        raise ValueError(
            f"there is no method {method!r}: there are {', '.join(METHODS)}"
            f"{nearest(method, METHODS)}"
        )
    return EdgeScores(on.graph.edges, METHODS[method](on).detach(), method, on.ablation)
