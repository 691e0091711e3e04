"""What edges are scored on: a network, pairs, a metric, and what edges carry when they are cut."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from analysis.circuits.graph import ModelGraph, Recorded, Writes, model_graph
from analysis.patching.metrics import Metric, Reference, measure, named_metric, reference
from analysis.patching.replacement import ABLATIONS, is_token, replacements
from interp.arguments import nearest
from interp.models.partial import Network
from tasks.pairs import Pairs


@dataclass(frozen=True, eq=False)
class Setting:
    """A network on pairs, with what its edges carry when they are cut."""

    graph: ModelGraph
    run: Recorded
    """Of the clean inputs."""
    other: Writes
    """What a cut edge carries."""
    ablation: str
    """How that is called."""
    reference: Reference
    metric: Metric

    @property
    def whole(self) -> Float[Tensor, "example"]:
        """The metric of the undisturbed network."""
        return self.measured(self.run.logits[None])[0]

    def measured(
        self, logits: Float[Tensor, "cell example answered output"]
    ) -> Float[Tensor, "cell example"]:
        """The metric, in every cell."""
        return measure(self.metric, logits, self.reference)

    @torch.no_grad()
    def cut(self, cut: Float[Tensor, "cell edge"], start: int = 0) -> Float[Tensor, "cell example"]:
        """The metric when in each cell the edges with a 1 are cut; `start` as for the graph."""
        found = [
            self.measured(self.graph.logits(self.run, some[:, None], self.other, start=start))
            for some in cut.split(self.graph.cells_at_once(self.run))
        ]
        return torch.cat(found)


def setting(
    model: Network,
    pairs: Pairs,
    metric: str | Metric = "logit_difference",
    ablation: str = "corrupted",
    *,
    seed: int = 0,
) -> Setting:
    """A network on pairs, what it is measured by, and what a cut edge carries.

    Args:
        metric: a name in `analysis.patching.metrics.METRICS`, or a function.
        ablation: what a cut edge carries: corrupted, what its sender writes on the corrupted
            input; or zero, mean, position_mean or resample, of what it writes on the clean inputs
            (`analysis.patching.replacement`).
        seed: of resample.

    Raises:
        ValueError: the network has no graph, or there is no such metric or ablation.
    """
    if ablation not in (allowed := ("corrupted", *ABLATIONS)):
        raise ValueError(
            f"there is no ablation {ablation!r}: there are {', '.join(allowed)}"
            f"{nearest(ablation, allowed)}"
        )
    graph, found = model_graph(model), reference(model, pairs)
    run = graph.record(found.pairs.clean.tokens)
    if ablation == "corrupted":
        other = graph.record(found.pairs.corrupted.tokens).writes
    else:
        other = replacements(run.writes, is_token(model, run.tokens), ablation, seed)
    return Setting(graph, run, other, ablation, found, named_metric(metric))
