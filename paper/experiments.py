"""The experiments of "A Toy Model of Universality" (arXiv 2302.03025), as recipes.

`interp list presets` names them; `interp sweep NAME --to RUNS` trains what is missing of one.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from analysis.representation.key_irreps import PUBLISHED_GROUPS
from interp.arguments import UsageError, nearest
from interp.models.config import MLPConfig, TransformerConfig
from interp.runs.recipe import AdamW, Recipe, Schedule
from tasks.composition import GroupComposition

ARCHITECTURES = {"mlp": MLPConfig(), "transformer": TransformerConfig()}
SEEDS = range(1, 5)
CHECKPOINTS = 1000

# Share of the pairs trained on and optimiser steps, by architecture and group. The S6
# transformers' cfg.json says 20,000 steps, but their records run to 50,000.
PUBLISHED: dict[str, dict[str, tuple[float, int]]] = {
    "mlp": {
        **dict.fromkeys(("C113", "C118", "D59", "D61"), (0.3, 250_000)),
        "S5": (0.4, 250_000),
        "S6": (0.25, 100_000),
        "A5": (0.5, 250_000),
    },
    "transformer": {
        **dict.fromkeys(("C113", "C118"), (0.3, 50_000)),
        **dict.fromkeys(("D59", "D61"), (0.3, 100_000)),
        "S5": (0.6, 50_000),
        "S6": (0.4, 50_000),
        "A5": (0.6, 250_000),
    },
}
S6_MLP_SEED1_STEPS = 250_000
"""The one run of a group and architecture that was trained for longer than the others."""

WIDTH_SEEDS = {32: 10, 48: 4, 64: 4, 80: 4, 96: 4, 112: 4}
"""Hidden neurons of the S5 MLPs of the width sweep, and how many seeds, from 1 on."""


@dataclass(frozen=True)
class Experiment:
    """Runs that belong together, in a folder of the experiment's name."""

    name: str
    recipes: tuple[Recipe, ...]

    @property
    def steps(self) -> int:
        """Optimiser steps of all its runs together."""
        return sum(recipe.schedule.steps for recipe in self.recipes)


def universality() -> list[Experiment]:
    """The publication's main table: 7 groups x 2 architectures x 4 seeds."""
    return [
        Experiment(f"{group}_{architecture}", _runs(group, architecture, SEEDS))
        for group in PUBLISHED_GROUPS
        for architecture in ARCHITECTURES
    ]


def width_sweep() -> list[Experiment]:
    """S5 MLPs of fewer neurons, with embeddings twice as wide, and longer training."""
    return [
        Experiment(
            f"S5_mlp_width{width}",
            tuple(
                _recipe("S5", "mlp", seed, MLPConfig(2 * width, width), 250_000 * (128 // width))
                for seed in range(1, seeds + 1)
            ),
        )
        for width, seeds in WIDTH_SEEDS.items()
    ]


def seed_sweep() -> Experiment:
    """With the four of the main table, 50 seeds of the S5 MLP."""
    return Experiment("S5_mlp_seeds5to50", _runs("S5", "mlp", range(5, 51)))


def experiments() -> list[Experiment]:
    """All of the publication's 132 runs, each once."""
    return [*universality(), *width_sweep(), seed_sweep()]


def _runs(group: str, architecture: str, seeds: Iterable[int]) -> tuple[Recipe, ...]:
    return tuple(_recipe(group, architecture, seed) for seed in seeds)


def _recipe(
    group: str,
    architecture: str,
    seed: int,
    model: MLPConfig | None = None,
    steps: int | None = None,
) -> Recipe:
    fraction, published_steps = PUBLISHED[architecture][group]
    if (group, architecture, seed) == ("S6", "mlp", 1):
        published_steps = S6_MLP_SEED1_STEPS
    return Recipe(
        task=GroupComposition(
            group=f"{group}@published",
            train_fraction=fraction,
            split_seed=seed,
            equals_token=architecture == "transformer",
        ),
        model=model or ARCHITECTURES[architecture],
        optimizer=AdamW(),
        schedule=Schedule(steps=steps or published_steps, checkpoints=CHECKPOINTS),
        init_seed=seed,
    )


def chosen(patterns: Sequence[str]) -> list[Experiment]:
    """The experiments of these names or patterns. Raises `UsageError` for one that fits none."""
    sets = {"all": experiments(), "universality": universality()}
    names = {experiment.name: experiment for experiment in experiments()}
    picked: dict[str, Experiment] = {}
    for pattern in patterns:
        fitting = sets.get(pattern) or [e for n, e in names.items() if fnmatchcase(n, pattern)]
        if not fitting:
            allowed = [*sets, *names]
            raise UsageError(
                f"there is no experiment {pattern!r}{nearest(pattern, allowed)} "
                f"(`interp list presets` names them)"
            )
        picked |= {experiment.name: experiment for experiment in fitting}
    return list(picked.values())
