"""Where tokens stand, and the ways to tell a network.

A token's index says where it stands in its sequence. Its row is what stands for the index in
tables, angles and distances: the index itself, or in training one that is moved at random. All
functions work on tensors of any leading dimensions.
"""

import math

import torch
from jaxtyping import Float, Int64
from torch import Tensor

ROTARY_BASE = 10_000
"""As in Su et al. (2021), arXiv 2104.09864, and for sinusoids in Vaswani et al. (2017)."""
T5_BUCKETS, T5_FARTHEST = 32, 128
"""As in Raffel et al. (2020), arXiv 1910.10683."""


def token_index(
    tokens: Int64[Tensor, "*batch position"], restart: int | None
) -> Int64[Tensor, "*batch_or_1 position"]:
    """0, 1, 2, ... in every sequence; with `restart`, anew from 1 at each token of this id.

    Where all sequences have the same, the leading dimensions are 1.
    """
    place = torch.arange(tokens.shape[-1], device=tokens.device)
    if restart is None:
        return place.expand(*[1] * (tokens.dim() - 1), -1)
    newest = torch.where(tokens == restart, place, -1).cummax(dim=-1).values
    return torch.where(newest < 0, place, place - newest + 1)


def sinusoids(n_rows: int, width: int) -> Float[Tensor, "row width"]:
    """sin and cos of row / 10000^(2i / width), interleaved (Vaswani et al. 2017, section 3.5)."""
    angles = _angles(torch.arange(n_rows), width)
    return torch.stack([angles.sin(), angles.cos()], dim=-1).flatten(1)[:, :width]


def rotate(
    x: Float[Tensor, "*batch position head d_head"], rows: Int64[Tensor, "*batch_or_1 position"]
) -> Float[Tensor, "*batch position head d_head"]:
    """Turn the pairs (x_i, x_(i + d_head / 2)) by row times their frequency (Su et al. 2021)."""
    angles = _angles(rows, x.shape[-1])[..., None, :].to(x.dtype)
    cos, sin = angles.cos(), angles.sin()
    first, second = x.chunk(2, dim=-1)
    return torch.cat([first * cos - second * sin, second * cos + first * sin], dim=-1)


def _angles(rows: Tensor, width: int) -> Tensor:
    """Row times each of (width + 1) // 2 frequencies, which fall from 1 towards 1 / 10000."""
    halves = torch.arange(0, width, 2, dtype=torch.float64, device=rows.device)
    return rows[..., None] * ROTARY_BASE ** (-halves / width)


def distances(
    queries: Int64[Tensor, "*batch query"], keys: Int64[Tensor, "*batch key"]
) -> Int64[Tensor, "*batch query key"]:
    """By how much a query's row is above a key's."""
    return queries[..., :, None] - keys[..., None, :]


def alibi_slopes(n_heads: int) -> Float[Tensor, "head"]:
    """2^(-8 / n), 2^(-16 / n), ...: what a unit of distance takes off each head's scores.

    Press et al. (2022), arXiv 2108.12409.
    """
    return 2.0 ** (-8 * torch.arange(1, n_heads + 1) / n_heads)


def t5_buckets(distance: Int64[Tensor, "*shape"]) -> Int64[Tensor, "*shape"]:
    """The bucket of each distance: half of them for one distance each, the others log-spaced.

    Raffel et al. (2020). Keys whose row is above the query's, which only a shared index has, are
    in the bucket of distance 0, as in T5's decoder.
    """
    exact = T5_BUCKETS // 2
    near = distance.clamp(min=0)
    log = (near.clamp(min=exact) / exact).log() / math.log(T5_FARTHEST / exact)
    far = (exact + log * (T5_BUCKETS - exact)).long().clamp(max=T5_BUCKETS - 1)
    return torch.where(near < exact, near, far)
