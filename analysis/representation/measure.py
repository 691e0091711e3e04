"""All representation metrics of a network that composes in a group."""

import torch
from jaxtyping import Float64
from torch import Tensor
from torch.nn import Module

from analysis.representation.activations import (
    Activations,
    ActivationSums,
    activation_sums,
    activations,
)
from analysis.representation.key_irreps import find_key_irreps
from analysis.representation.logits import SMALLEST, character_coefficients, similarity
from analysis.representation.losses import SPLITS, measure_losses
from analysis.scores import sum_of_squares
from tasks.composition import GroupComposition

Metrics = dict[str, dict[str, float]]


@torch.no_grad()
def representation_metrics(
    model: Module, task: GroupComposition, key_irreps: tuple[str, ...] | None = None
) -> Metrics:
    """Every metric of `analysis.metrics.REPRESENTATION_METRICS`, in float64.

    Args:
        model: one of the networks of `interp.models`, of any precision, on any device.
        task: what it was trained on.
        key_irreps: canonical names; by default `find_key_irreps(model, task)`. For a checkpoint
            within a run, those of its final step.

    Returns:
        Values by metric and component: `irrep:NAME`, or empty for the total over the key irreps
        (for `logits/fve` over all non-trivial ones, as published) and for scalars.

    Raises:
        ValueError: the model is of another architecture.
    """
    names = find_key_irreps(model, task).names if key_irreps is None else key_irreps
    acts = activations(model, task)
    key = acts.harmonics.mask(names)
    sums = activation_sums(acts)
    coefficients = character_coefficients(acts, sums)
    losses = measure_losses(acts, sums, coefficients, key, _masks(acts, task))
    found = similarity(acts, coefficients, losses.pop("squares"))
    metrics = _shares(acts, sums, key) | _loss_metrics(acts, task, losses)
    metrics["logits/similarity"] = _by_irrep(acts, found, first=1)
    metrics["logits/fve"] = _by_irrep(acts, found.square(), first=1)
    metrics["logits/fve"][""] = float(found[1:].square().sum())
    metrics["weights/sum_of_squares"] = {"": sum_of_squares(model)}
    test, restricted = metrics.get("loss/test"), metrics["hidden/restricted_loss"][""]
    if test is not None:
        metrics["progress/test_to_restricted"] = {"": test[""] / max(restricted, SMALLEST)}
    return metrics


def _masks(acts: Activations, task: GroupComposition) -> Float64[Tensor, "split pair"]:
    masks = acts.readout.new_zeros(len(SPLITS), len(acts.tokens))
    for mask, split in zip(masks, SPLITS, strict=True):
        mask[task.indices(split).to(mask.device)] = 1
    return masks


def _shares(acts: Activations, sums: ActivationSums, key: Float64[Tensor, "irrep"]) -> Metrics:
    """Fractions of variance explained, of the weights and of the hidden layer."""
    h = acts.harmonics
    embed_a, embed_b = (embedding[: h.order] for embedding in acts.layer.embeddings)

    def of_masks(weights: Tensor) -> Tensor:
        return h.energy(weights) / weights.square().sum().clamp_min(SMALLEST)

    def of_hidden(class_sums: Tensor) -> Tensor:
        energy = h.energy(class_sums - class_sums.mean(dim=0))
        return energy / (h.order * sums.variation).clamp_min(SMALLEST)

    shares = {
        "embed_a/fve": of_masks(embed_a),
        "embed_b/fve": of_masks(embed_b),
        "unembed/fve": of_masks(acts.layer.readout.T),
        "hidden_a/fve": of_hidden(sums.by_a),
        "hidden_b/fve": of_hidden(sums.by_b),
        "hidden_ab/fve": of_hidden(sums.by_product),
    }
    of_parts = [shares[f"hidden_{part}/fve"] for part in ("a", "b", "ab")]
    shares["hidden/fve"] = torch.stack(of_parts).sum(dim=0)
    return {
        name: {"": float(key @ values), **_by_irrep(acts, values)}
        for name, values in shares.items()
    }


def _loss_metrics(acts: Activations, task: GroupComposition, losses: dict[str, Tensor]) -> Metrics:
    metrics: Metrics = {}
    for split, loss, accuracy in zip(SPLITS, losses["loss"], losses["accuracy"], strict=True):
        if len(task.indices(split)):
            metrics[f"loss/{split}"] = {"": float(loss)}
            if split != "all":
                metrics[f"accuracy/{split}"] = {"": float(accuracy)}
    for name, values in losses.items():
        if "/" in name:
            metrics[name] = {
                "": float(values[-2]),
                **_by_irrep(acts, values, first="logits" in name),
            }
    mean_kept = losses["model/restricted_loss"][-1]
    metrics["model/restricted_loss_mean_kept"] = {"": float(mean_kept)}
    return metrics


def _by_irrep(acts: Activations, values: Tensor, first: int = 0) -> dict[str, float]:
    """Values by component, from the irrep of number `first` on."""
    named = zip(acts.harmonics.names, values.tolist(), strict=False)
    return {f"irrep:{name}": value for name, value in list(named)[first:]}
