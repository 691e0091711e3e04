"""Many interventions in few forward passes.

Cells are folded into the batch, [cell * example, ...], and every hook point has one hook that
swaps what each cell's mask selects. A batch begins at the first layer that it patches and, where
attention is causal, at the first position; what comes before is the undisturbed run's.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor

from analysis.patching.metrics import Metric, Reference, measure, reference
from analysis.patching.plan import first_changes, limits, plan, reads
from analysis.patching.sites import Site, axes, positions, site_masks
from interp.models.partial import (
    Network,
    begins_within,
    forward_from,
    last_answers,
    prefix_hooks,
)
from tasks.pairs import Pairs

Activations = dict[str, Float[Tensor, "example *rest"]]
Cell = Sequence[tuple[str, Site]]
"""Sites that are patched together, with their hook points."""
Which = Literal["clean", "corrupted"]


@dataclass(frozen=True, eq=False)
class Runs:
    """The undisturbed runs of a network on pairs."""

    model: Network
    pairs: Pairs
    reference: Reference
    clean: Activations
    corrupted: Activations

    def tokens(self, which: Which) -> Tensor:
        """The inputs of a run: [example, position]."""
        return getattr(self.pairs, which).tokens

    def undisturbed(self, metric: Metric, which: Which) -> Float[Tensor, "example"]:
        """The metric of a run."""
        return measure(metric, getattr(self.reference, which)[None], self.reference)[0]


def record(
    model: Network, pairs: Pairs, hooks: Iterable[str], metric: Metric | None = None
) -> Runs:
    """Run both inputs, and keep the activations at `hooks` and what later runs take from them.

    With a metric, logits that it does not read may be zeros.

    Raises `ValueError` when an activation is not computed, or differs in shape.
    """
    hooks, pairs = list(hooks), pairs.to(next(model.parameters()).device)
    needed = prefix_hooks(model, hooks) if begins_within(model) else []
    kept: dict[str, list[Tensor]] = {name: [] for name in [*hooks, *needed]}
    less = last_answers(model, _n_read(metric, pairs), kept) if begins_within(model) else []

    def keep(activation: Tensor, hook: Any) -> None:
        kept[hook.name].append(activation)

    with model.hooks(fwd_hooks=[*((name, keep) for name in kept), *less]):
        found = reference(model, pairs)
    for name, runs in kept.items():
        shapes = [tuple(run.shape) for run in runs]
        if not shapes:
            hint = "; call `model.set_use_attn_result(True)`" * name.endswith("hook_result")
            raise ValueError(f"{name} is not computed when this network runs{hint}")
        if len(set(shapes)) > 1:
            raise ValueError(
                f"{name} is {shapes[0]} in the clean run and {shapes[1]} in the corrupted one: "
                "only activations of one shape can be swapped"
            )
    clean, corrupted = ({name: runs[i] for name, runs in kept.items()} for i in (0, 1))
    return Runs(model, pairs, found, clean, corrupted)


def _n_read(metric: Metric | None, pairs: Pairs) -> int:
    """How many positions there are from the first that a metric reads."""
    n_positions = pairs.clean.tokens.shape[1]
    if metric is None or not (is_read := reads(metric, pairs)).any():
        return n_positions
    return n_positions - int(is_read.int().argmax())


@torch.no_grad()
def run_cells(
    runs: Runs, cells: Sequence[Cell], sources: Activations, metric: Metric, base: Which
) -> Float[Tensor, "example cell"]:
    """The metric of the base run with each cell's sites from `sources`.

    Raises `ValueError` for a head or a position that is not there.
    """
    masks = site_masks(cells, {hook: sources[hook] for cell in cells for hook, _ in cell})
    values = runs.undisturbed(metric, base).repeat(len(cells), 1)
    places = {hook: positions(hook, mask) for hook, mask in masks.items()}
    starts = first_changes(runs.model, places, reads(metric, runs.reference.pairs))
    n_read = _n_read(metric, runs.reference.pairs)
    for batch in plan(starts, limits(runs.model, runs.tokens(base))):
        logits = _run(runs, masks, sources, base, batch, *starts[batch[0]], n_read)
        values[batch] = measure(metric, logits, runs.reference)
    return values.T


def _run(
    runs: Runs,
    masks: Mapping[str, Tensor],
    sources: Activations,
    base: Which,
    batch: list[int],
    layer: int,
    position: int,
    n_read: int,
) -> Float[Tensor, "cell example position output"]:
    """The logits of a batch of cells."""
    hooks = []
    for hook, mask in masks.items():
        if (mine := mask[batch]).any():
            source, names = sources[hook], axes(hook, sources[hook])
            dim = 2 + names.index("position") if "position" in names else None
            swap = partial(_swap, mask=mine.to(source.device), source=source[None], dim=dim)
            hooks.append((hook, swap))
    model, n_cells, logits = runs.model, len(batch), getattr(runs.reference, base)
    if begins_within(model):
        hooks += last_answers(model, n_read)
    with model.hooks(fwd_hooks=hooks):
        if begins_within(model):
            kept = getattr(runs, base)
            new = forward_from(model, runs.tokens(base), kept, layer, position, n_cells)
        else:
            new = model(runs.tokens(base).repeat(n_cells, 1))
    new = new.unflatten(0, (n_cells, -1))
    before = logits[:, : logits.shape[1] - new.shape[2]]
    return torch.cat([before.expand(n_cells, *before.shape), new], dim=2)


def _swap(
    activation: Tensor, hook: Any, *, mask: Tensor, source: Tensor, dim: int | None
) -> Tensor:
    """Take what the mask of each cell selects from the source, at the positions that are run."""
    cells = activation.unflatten(0, (len(mask), -1))
    if dim is not None:
        n_before = mask.shape[dim] - cells.shape[dim]
        mask = mask.narrow(dim, n_before, cells.shape[dim])
        source = source.narrow(dim, n_before, cells.shape[dim])
    return torch.where(mask, source, cells).flatten(0, 1)
