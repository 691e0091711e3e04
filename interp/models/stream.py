"""What happens to the residual stream itself, between the writes of heads and MLPs."""

from collections.abc import Callable
from typing import Any, NamedTuple

from jaxtyping import Float
from torch import Tensor
from torch.nn import Module

from interp.models.decoder import Decoder

Norm = Callable[[Float[Tensor, "... d_model"]], Float[Tensor, "... d_model"]]


class StreamNorms(NamedTuple):
    """A block's norms that the stream, and not only a reader, passes."""

    enter: Norm
    """Of the stream as it enters the block."""
    attention: Norm
    """Of what the heads write together."""


def stream_norms(model: Module) -> list[StreamNorms] | None:
    """The norms of every block, or None where the stream is the plain sum of all writes."""
    if not isinstance(model, Decoder) or model.config.norm == "pre":
        return None
    if model.config.norm == "published":
        return [StreamNorms(_norm(block.ln1), _identity) for block in model.blocks]
    return [StreamNorms(_identity, _norm(block.ln1)) for block in model.blocks]


def _norm(norm: Any) -> Norm:
    return lambda x: norm.normalize(norm, (), x)


def _identity(x: Tensor) -> Tensor:
    return x
