"""The layers of many instances at once: lookups, matrix products and attention."""

import math
from collections.abc import Mapping
from typing import Any

import torch
from jaxtyping import Shaped
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable
from torch.nn.functional import embedding

Parameters = Mapping[str, Shaped[Tensor, "instance *shape"]]


def look_up(table: Tensor, index: Tensor) -> Tensor:
    """table[instance, index] by one embedding lookup: [instance, *index, width]."""
    instances, rows = table.shape[:2]
    offsets = torch.arange(instances, device=index.device) * rows
    flat = index + offsets.view(-1, *[1] * (index.dim() - 1))
    return Embedding.apply(table.flatten(0, 1), flat)


class Embedding(Function):
    """`torch.nn.functional.embedding(index, table)` whose gradient has the same bits every time.

    On cuda, PyTorch adds it up with atomics unless asked not to, and the global way to ask it
    would restrict everything else too.
    """

    @staticmethod
    def forward(ctx: Any, table: Tensor, index: Tensor) -> Tensor:
        ctx.save_for_backward(index)
        ctx.rows = len(table)
        return embedding(index, table)

    @staticmethod
    @once_differentiable
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx: Any, *grads: Tensor
    ) -> tuple[Tensor, None]:
        (index,) = ctx.saved_tensors
        asked = torch.are_deterministic_algorithms_enabled()
        warn_only = torch.is_deterministic_algorithms_warn_only_enabled()
        torch.use_deterministic_algorithms(asked or index.is_cuda, warn_only=warn_only)
        try:
            return torch.ops.aten.embedding_dense_backward(
                grads[0], index, ctx.rows, -1, False
            ), None
        finally:
            torch.use_deterministic_algorithms(asked, warn_only=warn_only)


def multiply(values: Tensor, matrix: Tensor) -> Tensor:
    """values[instance, ..., input] @ matrix[instance, input, output]."""
    return (values.flatten(1, -2) @ matrix).unflatten(1, values.shape[1:-1])


def attend(
    q: Tensor, k: Tensor, v: Tensor, n_heads: int, bias: Tensor | None = None, *, causal: bool
) -> Tensor:
    """Scaled dot-product attention; the queries are those of the last positions.

    `bias` is added to the scores, and broadcasts to [instance, example, head, query, key].
    """
    q, k, v = (x.unflatten(-1, (n_heads, -1)) for x in (q, k, v))
    scale = math.sqrt(q.shape[-1])
    if q.shape[2] == 1:  # one query sees every key, and products this thin are no matrix products
        scores = (q * k).sum(-1) / scale  # [instance, example, key, head]
        if bias is not None:
            scores = scores + bias[:, :, :, 0].transpose(2, 3)
        return (scores.softmax(dim=2)[..., None] * v).sum(dim=2, keepdim=True).flatten(3)
    q, k, v = (x.transpose(2, 3) for x in (q, k, v))
    scores = q @ k.transpose(-1, -2) / scale  # [instance, example, head, query, key]
    if causal:
        n_queries, n_keys = scores.shape[-2:]
        seen = torch.ones(n_queries, n_keys, dtype=torch.bool, device=q.device)
        scores = scores.masked_fill(~seen.tril(n_keys - n_queries), -math.inf)
    if bias is not None:
        scores = scores + bias
    return (scores.softmax(dim=-1) @ v).transpose(2, 3).flatten(3)
