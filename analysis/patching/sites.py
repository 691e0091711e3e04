"""Where an intervention acts: hook points, heads and positions."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from jaxtyping import Bool, Shaped
from torch import Tensor

from interp.arguments import nearest
from interp.models.partial import Network

Indices = int | Sequence[int] | None
"""One, several, or all of them."""


@dataclass(frozen=True)
class Site:
    """Part of an activation. Negative heads and positions count from the end."""

    hook: str
    """A hook point's name, in full (`blocks.0.attn.hook_z`), or in short (`z`) with a layer."""
    heads: Indices = None
    positions: Indices = None
    """Of attention scores and patterns: the query's."""
    layer: int | None = field(default=None, kw_only=True)

    def hook_point(self, model: Network) -> str:
        """The full name. Raises `ValueError` when there is none, or several."""
        found = hook_points(model, self.hook)
        if self.layer is None and len(found) == 1:
            return next(iter(found.values()))
        if self.layer not in found:
            layers = (
                "no layer, leave it out"
                if None in found
                else f"layers {', '.join(map(str, found))}"
            )
            raise ValueError(f"layer is {self.layer}: {self.hook} is in {layers}")
        return found[self.layer]


def hook_points(model: Network, hook: str) -> dict[int | None, str]:
    """The hook points of a full or short name, by layer; None for one that is in no block.

    Raises `ValueError` when there are none.
    """
    found = {_layer(name): name for name in model.hook_dict if hook in (name, short_name(name))}
    if not found:
        short = dict.fromkeys(map(short_name, model.hook_dict))
        raise ValueError(
            f"there is no hook point {hook!r}: there are {', '.join(short)}, and full names such "
            f"as {next(reversed(model.hook_dict))}{nearest(hook, [*short, *model.hook_dict])}"
        )
    return found


def short_name(hook: str) -> str:
    """`z` for `blocks.0.attn.hook_z`, `ln1.hook_scale` for `blocks.0.ln1.hook_scale`."""
    return re.sub(r"^(blocks\.\d+\.)?((attn\.|mlp\.)?hook_)?", "", hook)


def _layer(hook: str) -> int | None:
    block = re.match(r"blocks\.(\d+)\.", hook)
    return int(block[1]) if block else None


def axes(hook: str, activation: Shaped[Tensor, "example *rest"]) -> tuple[str, ...]:
    """What the dimensions of an activation between its examples and its entries are."""
    if short_name(hook) in ("pattern", "attn_scores"):
        return "head", "position"
    return ("position", "head")[: activation.dim() - 2]


def site_masks(
    cells: Sequence[Sequence[tuple[str, Site]]], activations: Mapping[str, Tensor]
) -> dict[str, Bool[Tensor, "cell 1 *axes 1"]]:
    """What each cell, a set of sites with their hook points, takes of every activation.

    Raises `ValueError` for a head or a position that is not there.
    """
    masks = {
        hook: torch.zeros(len(cells), 1, *activation.shape[1:-1], 1, dtype=torch.bool)
        for hook, activation in activations.items()
    }
    for i, cell in enumerate(cells):
        for hook, site in cell:
            masks[hook][i, 0, ..., 0] |= _selected(hook, site, activations[hook])
    return masks


def positions(hook: str, mask: Bool[Tensor, "cell 1 *axes 1"]) -> Bool[Tensor, "cell position"]:
    """Where a mask selects anything; one position where the activation has none."""
    found = mask[:, 0]
    names = axes(hook, found)
    if "position" not in names:
        return found.flatten(1).any(dim=1, keepdim=True)
    return found.movedim(1 + names.index("position"), 1).flatten(2).any(dim=2)


def _selected(hook: str, site: Site, activation: Tensor) -> Bool[Tensor, "*axes"]:
    """The heads and positions of a site."""
    given = {"head": site.heads, "position": site.positions}
    selected = torch.ones((), dtype=torch.bool)
    for axis, size in zip(axes(hook, activation), activation.shape[1:-1], strict=True):
        chosen = torch.zeros(size, dtype=torch.bool)
        chosen[_indices(given.pop(axis), size, axis, hook)] = True
        selected = selected[..., None] & chosen
    for axis, indices in given.items():
        if indices is not None:
            raise ValueError(f"{axis} is {indices}: {hook} has no {axis}s to choose from")
    return selected


def _indices(given: Indices, size: int, axis: str, hook: str) -> list[int]:
    if given is None:
        return list(range(size))
    indices = [given] if isinstance(given, int) else list(given)
    for index in indices:
        if not -size <= index < size:
            raise ValueError(f"{axis} is {index}: {hook} has {size}, 0 to {size - 1}")
    return indices
