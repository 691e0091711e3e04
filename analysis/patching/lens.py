"""The logit lens: what a network would say after fewer of its blocks."""

import torch
import xarray as xr

from analysis.patching.engine import record
from analysis.patching.metrics import Metric, measure, named_metric
from analysis.patching.sites import hook_points
from interp.models.partial import Network, begins_within
from tasks.pairs import Pairs


@torch.no_grad()
def logit_lens(
    model: Network, pairs: Pairs, metric: str | Metric = "logit_difference"
) -> xr.DataArray:
    """The metric of the clean run when the final norm and the unembedding come after each block.

    As in nostalgebraist (2020), "interpreting GPT: the logit lens".

    Args:
        model: a `HookedTransformer`.
        pairs: the inputs, and the answers that the metric compares.
        metric: one of `METRICS`, or any function like them.

    Returns:
        [example, layer]; layer is how many blocks came before, from 0, the embeddings, to all of
        them, the network itself.

    Raises:
        ValueError: there is no such metric, or the network has no residual stream.
    """
    metric = named_metric(metric)
    if not begins_within(model):
        raise ValueError(
            f"{type(model).__name__} has no residual stream to look into: known are transformers, "
            "without positions that enter in every block"
        )
    n_layers = model.cfg.n_layers
    blocks = hook_points(model, "resid_post").values()
    runs = record(model, pairs, blocks)
    tokens = runs.tokens("clean")
    stream = [model(tokens, stop_at_layer=0), *(runs.clean[hook] for hook in blocks)]
    copies = tokens.repeat(len(stream), 1)
    logits = model(torch.cat(stream), tokens=copies, start_at_layer=n_layers)
    values = measure(metric, logits.unflatten(0, (len(stream), -1)), runs.reference)
    coordinates = {"layer": range(n_layers + 1)}
    return xr.DataArray(values.T.cpu().numpy(), coordinates, ("example", "layer"))
