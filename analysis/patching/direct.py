"""Direct logit attribution: what each part of a network adds to the logits by itself.

The norms between a part and the logits divide by what they divide by in the undisturbed run, so
that the metric is a sum over what is written to the residual stream (Elhage et al. 2021).
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
import xarray as xr
from jaxtyping import Float
from torch import Tensor

from analysis.circuits.graph import Writes, model_graph
from analysis.patching.engine import Runs, record
from analysis.patching.metrics import measure, named_metric
from analysis.patching.sites import hook_points
from interp.arguments import nearest
from interp.models.graph import UNEMBED
from interp.models.partial import Network
from tasks.pairs import Pairs

LINEAR = ("logit_difference", "margin")
"""The metrics that are sums of logits."""


def direct_attribution(
    model: Network, pairs: Pairs, metric: str = "logit_difference"
) -> xr.DataArray:
    """What every sender adds to a metric of the clean run, and from which position.

    Args:
        model: a `HookedTransformer`, `HookedMLP` or `HookedBilinear`.
        pairs: say which logits are compared.
        metric: logit_difference or margin.

    Returns:
        [example, component, position], which add up to the metric of each example. Components are
        embed, pos_embed, heads `L0H1` and MLPs `MLP0`, by the names of `interp.models.graph`, and
        bias: what those of the heads' outputs, the norms and the unembedding add. The networks
        without a residual stream have one position.

    Raises:
        ValueError: the metric is not a sum of logits, or the network has no graph.
    """
    writes, total, gradients = _gradients(model, record(model, pairs, []), metric)
    parts = {name: (writes[name] * g).sum(dim=-1).view_as(total) for name, g in gradients.items()}
    parts["bias"] = total - torch.stack([*parts.values()]).sum(dim=0)
    return _labelled(torch.stack([*parts.values()], dim=1), component=list(parts))


def neuron_attribution(
    model: Network, pairs: Pairs, mlp: str, metric: str = "logit_difference"
) -> xr.DataArray:
    """What every neuron of an MLP adds to a metric of the clean run by itself.

    Args:
        model: as in `direct_attribution`.
        pairs: say which logits are compared.
        mlp: its name, such as `MLP0`.
        metric: logit_difference or margin.

    Returns:
        [example, neuron, position], which add up to what the MLP adds without its output biases.

    Raises:
        ValueError: as in `direct_attribution`, or there is no such MLP.
    """
    mlps = [name for name in model_graph(model).senders if name.startswith("MLP")]
    if mlp not in mlps:
        known = ", ".join(mlps) or "none"
        raise ValueError(f"there is no MLP {mlp!r}: there are {known}{nearest(mlp, mlps)}")
    runs = record(model, pairs, [])
    _, total, gradients = _gradients(model, runs, metric)
    neurons, write = _neurons(model, runs.tokens("clean"), mlps.index(mlp))
    (gradient,) = torch.autograd.grad(write, neurons, gradients[mlp])
    values = (neurons * gradient).detach().view(*total.shape, -1).movedim(2, 1)
    return _labelled(values, neuron=range(values.shape[1]))


def _gradients(model: Network, runs: Runs, metric: str) -> tuple[Writes, Tensor, Writes]:
    """What the senders write; the metric's share of every logit position, [example, position]; and
    the gradient of the metric by what the unembedding hears from each sender."""
    if metric not in LINEAR:
        raise ValueError(
            f"metric is {metric!r}: only a sum of logits can be attributed, {' or '.join(LINEAR)}"
            f"{nearest(metric, LINEAR)}"
        )
    graph = model_graph(model)
    run = graph.record(runs.tokens("clean"))
    last = [edge for edge in graph.edges if edge.receiver == UNEMBED]
    change = {name: torch.zeros_like(write).requires_grad_() for name, write in run.writes.items()}
    with _frozen_norms(model):
        logits = graph.logits(
            run,
            graph.weights(last)[None, None],
            run.writes,
            difference=change,
            start=graph.block(UNEMBED),
        )
    values = measure(named_metric(metric), logits, runs.reference)
    names = [edge.sender for edge in last]
    leaves = [logits, *(change[name] for name in names)]
    by_logits, *gradients = torch.autograd.grad(values.sum(), leaves)
    total = (logits * by_logits).sum(dim=-1)[0].detach()
    return run.writes, total, dict(zip(names, gradients, strict=True))


def _neurons(model: Network, tokens: Tensor, index: int) -> tuple[Tensor, Tensor]:
    """The neurons of an MLP, and what it writes, a differentiable function of them."""
    kept: list[Tensor] = []

    def leaf(activation: Tensor, hook: object) -> Tensor:
        kept.append(activation.detach().requires_grad_())
        return kept[-1]

    def keep(activation: Tensor, hook: object) -> None:
        kept.append(activation)

    post = list(hook_points(model, "post").values())[index]
    out = post.replace("mlp.hook_post", "hook_mlp_out")
    if out not in model.hook_dict:  # a network without a residual stream: its neurons are heard
        out = post
    with _frozen_norms(model), model.hooks(fwd_hooks=[(post, leaf), (out, keep)]):
        model(tokens)
    neurons, write = kept
    return neurons, write


@contextmanager
def _frozen_norms(model: Network) -> Iterator[None]:
    """Norms are linear, to gradients: what they divide by is a constant."""
    scales = [name for name in model.hook_dict if name.endswith("hook_scale")]
    with model.hooks(fwd_hooks=[(name, lambda scale, hook: scale.detach()) for name in scales]):
        yield


def _labelled(values: Float[Tensor, "example part position"], **parts: object) -> xr.DataArray:
    coordinates = {**parts, "position": range(values.shape[2])}
    return xr.DataArray(values.cpu().numpy(), coordinates, ("example", *coordinates))
