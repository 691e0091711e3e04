"""Distributed alignment search: in which directions of an activation is a variable?"""

from dataclasses import dataclass
from functools import partial

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.nn.utils.parametrizations import orthogonal

from analysis.patching.engine import Runs, record
from analysis.patching.interchange import interchange_accuracy
from analysis.patching.metrics import at_all_positions
from analysis.patching.result import Patching
from analysis.patching.sites import Site, axes, site_masks
from analysis.patching.sweep import labelled
from interp.models.partial import Network
from tasks.pairs import Pairs

Basis = Float[Tensor, "width k"]
"""Orthonormal columns."""


@dataclass(frozen=True, eq=False)
class Alignment:
    """A subspace of a site's activation, the same at all positions of the site."""

    model: Network
    site: Site
    basis: Basis
    start: Basis
    """Where the search began: a random subspace of equal size."""
    losses: Float[Tensor, "step"]
    """Mean cross-entropy of the corrupted answers, in nats, before each step."""

    def accuracy(self, pairs: Pairs) -> Patching:
        """The interchange accuracy of the subspace, of a random one and of the whole activation.

        Returns:
            Values [example, cell] in the cells learned, random (`start`) and whole, of clean runs.

        Raises:
            ValueError: the activation is not computed, or a position is not there.
        """
        on = _Interchange(self.model, pairs, self.site)
        whole = torch.eye(len(self.basis)).to(self.basis)
        cells = {"learned": self.basis, "random": self.start, "whole": whole}
        with torch.no_grad():
            found = [
                interchange_accuracy(on.logits(basis), on.runs.reference)
                for basis in cells.values()
            ]
        values, grid = torch.stack(found, dim=1), {"cell": list(cells)}
        return labelled(on.runs, values, grid, interchange_accuracy, "noise", "corrupted")


def align(
    model: Network,
    pairs: Pairs,
    site: Site,
    k: int,
    *,
    steps: int = 200,
    lr: float = 0.02,
    seed: int = 0,
) -> Alignment:
    """Learn k directions of an activation whose exchange alone gives the corrupted answers.

    With an orthonormal basis B, the clean activation a becomes a + B Bᵀ (a' - a), where a' is the
    corrupted one; B minimises the mean cross-entropy of the corrupted answers where the answers
    changed (Geiger et al. 2023, arXiv 2303.02536), by Adam on all pairs at every step. The model
    is left as it was.

    A subspace can be found that no undisturbed run makes use of, and more easily the larger k and
    the fewer the pairs: measure it on others.

    Args:
        model: any network with hook points.
        pairs: to learn from; they differ in the variable.
        site: where to look: one head, if the activation has heads, at any positions.
        k: the dimension of the subspace.
        steps: of Adam.
        lr: its learning rate.
        seed: draws the subspace to begin with, uniformly.

    Raises:
        ValueError: the site is not there or has several heads, k is not between 1 and the width
            of the activation, no answer changed, or answers are numbers.
    """
    on = _Interchange(model, pairs, site)
    if not 1 <= k <= on.width:
        raise ValueError(f"k is {k}: it must be 1 to {on.width}, the width of {on.hook}")
    changed, answers = on.changed_answers()
    generator = torch.Generator().manual_seed(seed)
    rotation = nn.Module()
    rotation.basis = nn.Parameter(torch.randn(on.width, k, generator=generator).to(on.source))
    # The default draws from the global generator.
    orthogonal(rotation, "basis", "householder", use_trivialization=False)
    (free,) = rotation.parameters()
    start, losses, adam = rotation.basis.detach(), [], torch.optim.Adam([free], lr)
    for _ in range(steps):
        loss = cross_entropy(on.logits(rotation.basis)[changed].double(), answers)
        (free.grad,) = torch.autograd.grad(loss, [free])
        adam.step()
        losses.append(loss.detach())
    return Alignment(model, site, rotation.basis.detach(), start, torch.tensor(losses))


class _Interchange:
    """Clean runs in which part of a site's activation is the corrupted runs'."""

    def __init__(self, model: Network, pairs: Pairs, site: Site) -> None:
        self.hook = site.hook_point(model)
        self.runs: Runs = record(model, pairs, [self.hook])
        self.source = self.runs.corrupted[self.hook]
        self.width = self.source.shape[-1]
        (mask,) = site_masks([[(self.hook, site)]], {self.hook: self.source})[self.hook]
        self._check_heads(mask)
        self.mask = mask.to(self.source.device)

    def logits(self, basis: Basis) -> Float[Tensor, "example position output"]:
        """The logits when the coordinates in a subspace are exchanged."""
        model, exchange = self.runs.model, partial(self._exchange, basis=basis)
        with model.hooks(fwd_hooks=[(self.hook, exchange)]):
            answered = model(self.runs.tokens("clean"))
        return at_all_positions(answered, self.runs.reference.pairs)

    def _exchange(self, activation: Tensor, hook: object, *, basis: Tensor) -> Tensor:
        change = (self.source - activation) @ basis @ basis.T
        return torch.where(self.mask, activation + change, activation)

    def changed_answers(self) -> tuple[Bool[Tensor, "example position"], Tensor]:
        """Where the answers changed, and what the corrupted ones are there: [any]."""
        if self.runs.reference.is_regression:
            raise ValueError("an alignment needs answers to choose from: this task's is a number")
        pairs = self.runs.reference.pairs
        if not pairs.changed.any():
            raise ValueError("no pair has another answer than its clean input: nothing to learn")
        return pairs.changed, pairs.corrupted.targets[pairs.changed]

    def _check_heads(self, mask: Bool[Tensor, "1 *axes 1"]) -> None:
        """Raises `ValueError` for a site with several heads: they share no directions."""
        names = axes(self.hook, self.source)
        if "head" in names:
            n_heads = int(mask.movedim(1 + names.index("head"), 0).flatten(1).any(dim=1).sum())
            if n_heads != 1:
                raise ValueError(
                    f"the site has {n_heads} heads of {self.hook}: name one, since directions of "
                    "one head are not those of another"
                )
