"""The experiments on chain of thought, as recipes: for each, a network a cell of its table.

Every experiment has a full and a small size; small ones run in minutes on two cores.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any

from interp.models.config import DecoderConfig
from interp.runs.recipe import AdamW, FineTuning, Recipe, Schedule
from tasks.iteration import IterationTask, Mixed, Parity, Polynomial

SOURCES = ("copy", "parity", "polynomial:5", "product:S3")
"""The problems of the transfer matrix and of mixed training."""


@dataclass(frozen=True)
class Cell:
    """A network of an experiment, before its seeds."""

    labels: Mapping[str, str | int | float | bool]
    """What tells it from the others: the first columns of the table."""
    recipe: Recipe
    every_checkpoint: bool = False
    """Whether all checkpoints are measured, and not the last alone."""

    @property
    def name(self) -> str:
        """The name of its run folders, before _seedN."""
        return "_".join(str(value).replace(":", "-") for value in self.labels.values())


Cells = Iterator[Cell]
Builder = Callable[[bool, Path], Cells]


def published(small: bool, folder: Path) -> Cells:
    """The original setup: polynomial, parity, and parity after polynomial; and one thing changed.

    Full: lengths to 16, width 128, learning rate 3e-4, 1000 epochs. Small: lengths to 8, width 64,
    learning rate 1e-3 and fewer epochs. The transfer begins after 200 epochs of polynomial. Changed
    is the order of the batches, by length in the original and random in polynomial-shuffled, whose
    data are ours, as the task has them by default.
    """
    length, width, lr = (8, 64, 1e-3) if small else (16, 128, 3e-4)
    polynomial = Polynomial(max_length=length, preset="published")
    parity = Parity(max_length=length, preset="published")
    model = DecoderConfig(d_model=width)

    def cell(name: str, task: IterationTask, epochs: int, **fine_tuning: Any) -> Cell:
        per_epoch = -(-len(task.examples("train")) // 256)
        schedule = _schedule(epochs * per_epoch, checkpoint_every=10 * per_epoch)
        recipe = Recipe(task, model, _adam(lr), schedule, FineTuning(**fine_tuning))
        return Cell({"experiment": name}, recipe, every_checkpoint=True)

    source = cell("polynomial", polynomial, 400 if small else 1000)
    yield source
    yield cell("polynomial-shuffled", Polynomial(max_length=length), 100 if small else 400)
    yield cell("parity", parity, 300 if small else 1000)
    begin = _checkpoint(folder, source, step=_steps_of(source, epochs=200))
    epochs = 50 if small else 800
    yield cell("polynomial-to-parity", parity, epochs, start_from=begin)
    yield cell(
        "polynomial-to-parity_last-mlp",
        parity,
        epochs,
        start_from=begin,
        trained=("blocks.1.mlp.*",),
    )


def _steps_of(cell: Cell, epochs: int) -> int:
    """The step of a published cell's checkpoint after some epochs."""
    every = cell.recipe.schedule.checkpoint_every
    assert every is not None
    return every // 10 * epochs


def scaling(small: bool, folder: Path) -> Cells:
    """Longest length x width, with chain of thought (two layers and one) and without."""
    lengths, widths = ((4, 8), (8, 16, 32)) if small else (range(4, 32, 3), range(4, 64, 4))
    modulus, steps = (5, 500) if small else (11, 20_000)
    kinds = (("cot", True, 2), ("cot-1-layer", True, 1), ("no-cot", False, 2))
    for (kind, cot, layers), length, width in product(kinds, lengths, widths):
        for task in (
            Polynomial(max_length=length, chain_of_thought=cot, modulus=modulus),
            Parity(max_length=length, chain_of_thought=cot),
        ):
            labels = {
                "problem": task.problems[0].name,
                "kind": kind,
                "max_length": length,
                "d_model": width,
            }
            model = DecoderConfig(n_layers=layers, d_model=width)
            yield Cell(labels, Recipe(task, model, _adam(3e-3), _schedule(steps)))


ENCODINGS = {
    "learned": DecoderConfig(),
    "sinusoidal": DecoderConfig(positions="sinusoidal"),
    "none": DecoderConfig(positions="none"),
    "rotary": DecoderConfig(positions="rotary"),
    "t5": DecoderConfig(positions="t5"),
    "alibi": DecoderConfig(positions="alibi"),
    "learned-shifted": DecoderConfig(train_index="shifted"),
    "shared-shifted": DecoderConfig(index="shared", train_index="shifted"),
    "shared-rotary": DecoderConfig(index="shared", positions="rotary"),
}
"""The ways to tell positions whose length generalisation is measured."""


def positions(small: bool, folder: Path) -> Cells:
    """Trained to one length, tested to twice that, with each encoding of positions."""
    length, steps = (6, 500) if small else (12, 2400)
    task = Polynomial(modulus=5, max_length=length, longest=2 * length)
    for name, encoding in ENCODINGS.items():
        recipe = Recipe(task, replace(encoding, d_model=32), _adam(3e-3), _schedule(steps))
        yield Cell({"positions": name}, recipe)


def slack(small: bool, folder: Path) -> Cells:
    """The answer alone, after more and more tokens to think in; chain of thought beside it."""
    length, steps = (6, 1000) if small else (16, 20_000)
    model = DecoderConfig(d_model=32 if small else 128)
    for kind in (Parity, Polynomial):
        given: dict[str, Any] = {"modulus": 5} if small and kind is Polynomial else {}
        task = kind(max_length=length, **given)
        variants = {"cot": task} | {
            f"slack-{k}": replace(task, chain_of_thought=False, slack=k, targets="final")
            for k in (0, 2, length)
        }
        for name, variant in variants.items():
            labels = {"problem": task.problems[0].name, "variant": name}
            yield Cell(labels, Recipe(variant, model, _adam(1e-3), _schedule(steps)))


def transfer(small: bool, folder: Path) -> Cells:
    """From every problem to every other: fine-tuning all weights, or the last MLP alone."""
    length, steps, tuning = (6, 500, 200) if small else (16, 20_000, 4000)
    task = Mixed(max_length=length, mix=SOURCES)
    model = DecoderConfig(d_model=32 if small else 128)

    def cell(source: str, target: str, trained: str, steps: int, tuning: FineTuning) -> Cell:
        labels = {"source": source, "target": target, "trained": trained}
        drawn = replace(task, drawn=(target,))
        return Cell(labels, Recipe(drawn, model, _adam(3e-3), _schedule(steps), tuning))

    sources = {name: cell("scratch", name, "all", steps, FineTuning()) for name in SOURCES}
    yield from sources.values()
    parts = {"all": (), "last-mlp": ("blocks.1.mlp.*",)}
    for (source, begun), target in product(sources.items(), SOURCES):
        for part, trained in parts.items():
            if source != target:
                start = FineTuning(_checkpoint(folder, begun, steps), trained)
                yield cell(source, target, part, tuning, start)


def mixed(small: bool, folder: Path) -> Cells:
    """Two problems at once, and all: is there one iteration head for them?"""
    length, steps = (6, 1000) if small else (16, 20_000)
    model = DecoderConfig(d_model=32 if small else 128)
    pairs = [(a, b) for i, a in enumerate(SOURCES) for b in SOURCES[i + 1 :]]
    for drawn in [*pairs, SOURCES]:
        task = Mixed(max_length=length, mix=SOURCES, drawn=drawn)
        labels = {"problems": "+".join(drawn)}
        yield Cell(labels, Recipe(task, model, _adam(3e-3), _schedule(steps)))


def ablations(small: bool, folder: Path) -> Cells:
    """One thing changed at a time from a network that has learned."""
    length, width, modulus, steps = (6, 32, 5, 600) if small else (16, 128, 11, 20_000)
    task = Polynomial(max_length=length, modulus=modulus)
    base = Recipe(task, DecoderConfig(d_model=width), _adam(3e-3), _schedule(steps))
    changes: dict[str, tuple[Any, ...]] = {
        "n_layers": (1, 3),
        "n_heads": (2, 4),
        "d_model": (width // 4, width // 2),
        "d_positions": (4, width // 2),
        "dropout": (0.0, 0.3),
        "norm": ("pre", "post"),
    }
    yield Cell({"changed": "nothing", "value": ""}, base)
    for name, values in changes.items():
        for value in values:
            model = replace(base.model, **{name: value})
            yield Cell({"changed": name, "value": value}, replace(base, model=model))
    for lr in (3e-4, 1e-3, 1e-2):
        yield Cell({"changed": "lr", "value": lr}, replace(base, optimizer=_adam(lr)))
    for size in (64, 1024):
        schedule = replace(base.schedule, batch_size=size)
        yield Cell({"changed": "batch_size", "value": size}, replace(base, schedule=schedule))
    for n in (128, 512):
        fewer = replace(task, n_per_length=n)
        yield Cell({"changed": "n_per_length", "value": n}, replace(base, task=fewer))


EXPERIMENTS: dict[str, Builder] = {
    "published": published,
    "scaling": scaling,
    "positions": positions,
    "slack": slack,
    "transfer": transfer,
    "mixed": mixed,
    "ablations": ablations,
}


def _adam(lr: float) -> AdamW:
    return AdamW(lr, betas=(0.9, 0.999), weight_decay=0.0)


def _schedule(steps: int, checkpoint_every: int | None = None) -> Schedule:
    return Schedule(
        steps,
        batch_size=256,
        checkpoints=1,
        checkpoint_every=checkpoint_every,
        log_every=max(1, steps // 20) if checkpoint_every is None else checkpoint_every,
    )


def _checkpoint(folder: Path, cell: Cell, step: int) -> str:
    """The checkpoint of a cell's run of the same seed."""
    return str(
        folder / f"{cell.name}_seed{{seed}}" / "checkpoints" / f"step_{step:07d}.safetensors"
    )
