"""What a network computes on all ordered pairs, one product after another.

Of the n^2 pairs, the n with equal product g = ab stand together, as an axis over a. So a sum over
the pairs of a product is a plain sum, and what depends on ab alone is broadcast.

Shapes: `element` n; `product` the values g of one block; `a` n; `neuron` the hidden width.
"""

import copy
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Float64, Int64
from torch import Tensor
from torch.nn import Module

from analysis.representation.harmonics import Harmonics, harmonics
from interp.models.anatomy import HiddenLayer, hidden_layer
from tasks.composition import GroupComposition

AT_ONCE_BYTES = {"cpu": 2**21, "cuda": 2**27}
"""Hidden activations, or logits, that are worked on at a time: on the CPU, what its cache holds."""
KEPT_BYTES = 2**28
"""Hidden activations of all pairs that are kept instead of computed again for the second pass."""


@dataclass(frozen=True, eq=False)
class Block:
    """The pairs of some products."""

    products: Int64[Tensor, "product"]
    hidden: Float64[Tensor, "product a neuron"]
    skip: Float64[Tensor, "product a d_model"] | None
    """What reaches the logits past the hidden layer; None in networks where nothing does."""

    def split(self, n_products: int) -> Iterator["Block"]:
        """The block in smaller ones."""
        for start in range(0, len(self.products), n_products):
            part = slice(start, start + n_products)
            skip = None if self.skip is None else self.skip[part]
            yield Block(self.products[part], self.hidden[part], skip)


@dataclass(frozen=True, eq=False)
class Activations:
    """A network on all pairs, in float64, and the linear maps from there to the logits.

    The maps give the logits less their mean over the outputs, which no cross-entropy sees.
    """

    harmonics: Harmonics
    layer: HiddenLayer
    tokens: Int64[Tensor, "pair position"]
    """The pairs a n + b, ascending."""
    readout: Float64[Tensor, "neuron output"]
    unembed_skip: Float64[Tensor, "d_model output"] | None

    def __iter__(self) -> Iterator[Block]:
        """The blocks of all products; may be gone through any number of times."""
        return iter(self._computed() if self._kept is None else self._kept)

    def tiles(self) -> Iterator[Block]:
        """The pairs in blocks so small that work on their logits stays in the cache."""
        for block in self:
            yield from block.split(self._products_at_once(width=self.harmonics.order))

    def logits(
        self,
        hidden: Float64[Tensor, "*pair neuron"],
        skip: Float64[Tensor, "*pair d_model"] | None,
    ) -> Float64[Tensor, "*pair output"]:
        """The logits, less their mean over the outputs."""
        logits = hidden @ self.readout
        if skip is not None and self.unembed_skip is not None:
            logits += skip @ self.unembed_skip
        return logits

    def _products_at_once(self, width: int) -> int:
        at_once = AT_ONCE_BYTES[self.tokens.device.type]
        return max(1, at_once // (8 * self.harmonics.order * width))

    @cached_property
    def _kept(self) -> list[Block] | None:
        fits = 8 * len(self.tokens) * len(self.readout) <= KEPT_BYTES
        return list(self._computed()) if fits else None

    def _computed(self) -> Iterator[Block]:
        order = self.harmonics.order
        at_once = self._products_at_once(width=len(self.readout))
        for products in torch.arange(order, device=self.tokens.device).split(at_once):
            pairs = self.harmonics.pairs(products).flatten()
            hidden, skip = self.layer.hidden_and_skip(self.tokens[pairs])
            skip = None if skip is None else skip.unflatten(0, (-1, order))
            yield Block(products, hidden.unflatten(0, (-1, order)), skip)


def activations(model: Module, task: GroupComposition) -> Activations:
    """The activations of `model`, whose own precision and device are left as they are.

    Raises `ValueError` for an architecture without a hidden layer in the sense of
    `interp.models.anatomy`.
    """
    parameter = next(model.parameters())
    if parameter.dtype != torch.float64:
        model = copy.deepcopy(model).to(torch.float64)
    layer, device = hidden_layer(model), parameter.device
    return Activations(
        harmonics(task.group, device),
        layer,
        task.examples("all").tokens.to(device),
        _centred(layer.readout),
        None if layer.unembed_skip is None else _centred(layer.unembed_skip),
    )


def _centred(weights: Float64[Tensor, "row output"]) -> Float64[Tensor, "row output"]:
    return weights - weights.mean(dim=1, keepdim=True)


@dataclass(frozen=True, eq=False)
class ActivationSums:
    """Sums of the hidden layer over the pairs that share a, b or ab."""

    by_a: Float64[Tensor, "element neuron"]
    by_b: Float64[Tensor, "element neuron"]
    by_product: Float64[Tensor, "element neuron"]
    skip_by_product: Float64[Tensor, "element d_model"] | None
    squares: Float64[Tensor, ""]
    """Sum of squares over all pairs and neurons."""

    @property
    def variation(self) -> Float64[Tensor, ""]:
        """Sum of squares when each neuron's mean over the pairs is taken off."""
        n_pairs = len(self.by_a) ** 2
        return self.squares - self.by_a.sum(dim=0).square().sum() / n_pairs


def activation_sums(acts: Activations) -> ActivationSums:
    """All sums, in one pass."""
    by_a = acts.readout.new_zeros(acts.harmonics.order, len(acts.readout))
    by_b, squares = torch.zeros_like(by_a), by_a.new_zeros(())
    by_product, skip_by_product = [], []
    for block in acts:
        by_a += block.hidden.sum(dim=0)
        second = acts.harmonics.second_operand[block.products].flatten()
        by_b.index_add_(0, second, block.hidden.flatten(0, 1))
        by_product.append(block.hidden.sum(dim=1))
        squares += block.hidden.square().sum()
        if block.skip is not None:
            skip_by_product.append(block.skip.sum(dim=1))
    skip = torch.cat(skip_by_product) if skip_by_product else None
    return ActivationSums(by_a, by_b, torch.cat(by_product), skip, squares)
