"""Losses and accuracy, and the excluded and restricted losses of all irreps at once.

What an exclusion takes from the logits of a pair (a, b), and what a restriction puts in their
place, is the same for all pairs with equal product g = ab: a matrix Z_k[g, c] for each irrep k.
With g the right answer, the cross-entropy of L + Z_k is

    log(1 + sum over c != g of exp(L[g, a, c] - L[g, a, g]) exp(Z_k[g, c] - Z_k[g, g])),

and for each g the sums for all pairs and irreps are one product of matrices.

Along the axis `part` stand the irreps, then the sum of the key irreps, then that sum with the
trivial irrep, which is the mean. Definitions: Chughtai, Chan and Nanda 2023, arXiv 2302.03025;
the formulas are in `analysis.metrics`.
"""

from collections import defaultdict

import torch
from jaxtyping import Float64, Int64
from torch import Tensor

from analysis.representation.activations import Activations, ActivationSums, Block

SPLITS = ("train", "test", "all")


def measure_losses(
    acts: Activations,
    sums: ActivationSums,
    coefficients: Float64[Tensor, "irrep"],
    key: Float64[Tensor, "irrep"],
    masks: Float64[Tensor, "split pair"],
) -> dict[str, Float64[Tensor, "..."]]:
    """Every loss and accuracy under its metric's name, and |C|^2 as `squares`, in one pass.

    Args:
        acts: the network on all pairs.
        sums: `activation_sums(acts)`.
        coefficients: `character_coefficients(acts, sums)`.
        key: 1 for the key irreps, else 0.
        masks: 1 for the pairs of a split, in the order of `SPLITS`.

    Returns:
        Scalars, and vectors along `part` for excluded and restricted losses.
    """
    h = acts.harmonics
    modes = h.basis.T @ (sums.by_product @ acts.readout) / h.order
    characters = _with_key(coefficients[:, None] * h.characters, key)
    sums_over_pairs: dict[str, Tensor] = defaultdict(lambda: modes.new_zeros(()))
    for tile in acts.tiles():
        rows = h.basis[tile.products]
        hidden_parts = _with_key(torch.stack([rows[:, b] @ modes[b] for b in h.blocks]), key)
        logit_parts = characters[:, h.quotients[tile.products]]
        tile_masks = masks[:, h.pairs(tile.products)]
        for name, value in _tile_sums(acts, tile, logit_parts, hidden_parts, tile_masks).items():
            sums_over_pairs[name] = sums_over_pairs[name] + value
    # Restricted logits are a function of a b c^-1: their losses are equal for all pairs.
    identity = h.quotients[0, :1]
    none = modes.new_zeros(1, 1, h.order)
    restricted = losses_with(none, characters[:, h.quotients[identity]], identity)
    counts = masks.sum(dim=1)
    of = {
        "loss": counts,
        "accuracy": counts,
        "excluded_loss": counts[0],
        "restricted_loss": counts[2],
    }
    means = {
        name: value / of.get(name.rpartition("/")[2], 1) for name, value in sums_over_pairs.items()
    }
    return {**means, "logits/restricted_loss": restricted.flatten()}


def _tile_sums(
    acts: Activations,
    tile: Block,
    logit_parts: Float64[Tensor, "part product output"],
    hidden_parts: Float64[Tensor, "part product output"],
    masks: Float64[Tensor, "split product a"],
) -> dict[str, Float64[Tensor, "..."]]:
    """The sums over the pairs of a tile, by metric."""
    train, _, everything = masks
    from_hidden = tile.hidden @ acts.readout
    none = torch.zeros_like(from_hidden[:, :1])
    restricted = _sum(losses_with(none, hidden_parts, tile.products), everything)
    if tile.skip is None or acts.unembed_skip is None:
        logits, model_restricted = from_hidden, restricted
    else:
        from_skip = tile.skip @ acts.unembed_skip
        logits = from_hidden + from_skip
        model_restricted = _sum(losses_with(from_skip, hidden_parts, tile.products), everything)
    nothing = torch.zeros_like(hidden_parts[:1])
    shifts = torch.cat([nothing, -logit_parts, -hidden_parts])
    losses = losses_with(logits, shifts, tile.products)
    plain, excluded = losses[..., 0], _sum(losses[..., 1:], train)
    logits_excluded, model_excluded = excluded.tensor_split(2)
    hidden_excluded = (
        model_excluded
        if tile.skip is None
        else _sum(losses_with(from_hidden, -hidden_parts, tile.products), train)
    )
    right = (logits.argmax(dim=-1) == tile.products[:, None]).double()
    return {
        "squares": logits.square().sum(),
        "loss": (masks * plain).sum(dim=(1, 2)),
        "accuracy": (masks * right).sum(dim=(1, 2)),
        "logits/excluded_loss": logits_excluded,
        "hidden/excluded_loss": hidden_excluded,
        "model/excluded_loss": model_excluded,
        "hidden/restricted_loss": restricted,
        "model/restricted_loss": model_restricted,
    }


def losses_with(
    logits: Float64[Tensor, "product a output"],
    shifts: Float64[Tensor, "shift product output"],
    products: Int64[Tensor, "product"],
) -> Float64[Tensor, "product a shift"]:
    """The cross-entropies of logits + shift, where the right output is the product."""
    at = torch.arange(len(products), device=products.device)
    margins = logits - logits[at, :, products][..., None]
    shifts = shifts - shifts[:, at, products][..., None]
    odds = shifts.exp()
    odds[:, at, products] = 0
    sums = margins.exp() @ odds.permute(1, 2, 0)
    if sums.isfinite().all():
        return sums.log1p()
    return _losses_without_overflow(margins, shifts, products)


def _losses_without_overflow(
    margins: Float64[Tensor, "product a output"],
    shifts: Float64[Tensor, "shift product output"],
    products: Int64[Tensor, "product"],
) -> Float64[Tensor, "product a shift"]:
    """The same, shift by shift, for logits hundreds apart."""
    at = torch.arange(len(products), device=products.device)
    losses = []
    for shift in shifts:
        exponents = margins + shift[:, None]
        exponents[at, :, products] = -torch.inf
        log_odds = exponents.logsumexp(dim=-1)
        losses.append(torch.logaddexp(log_odds, torch.zeros_like(log_odds)))
    return torch.stack(losses, dim=-1)


def _sum(
    losses: Float64[Tensor, "product #a part"], mask: Float64[Tensor, "product a"]
) -> Float64[Tensor, "part"]:
    return (losses * mask[..., None]).sum(dim=(0, 1))


def _with_key(
    parts: Float64[Tensor, "irrep *rest"], key: Float64[Tensor, "irrep"]
) -> Float64[Tensor, "part *rest"]:
    total = torch.tensordot(key, parts, dims=1)
    return torch.cat([parts, total[None], (total + parts[0])[None]])
