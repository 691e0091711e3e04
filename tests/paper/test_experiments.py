"""The publication's experiments: how many, and with what."""

import json
from collections import Counter

import pytest

from interp.arguments import UsageError
from interp.models.config import MLPConfig
from interp.runs.published import published_recipe
from paper.experiments import chosen, experiments, universality, width_sweep


def test_there_are_132_runs_and_56_in_the_main_table():
    assert sum(len(e.recipes) for e in universality()) == 56
    assert Counter(len(e.recipes) for e in universality()) == {4: 14}
    assert sum(len(e.recipes) for e in width_sweep()) == 30
    recipes = [recipe for e in experiments() for recipe in e.recipes]
    assert len(recipes) == len(set(recipes)) == 132
    s5 = [r for r in recipes if r.task.name == "S5" and r.model == MLPConfig()]
    assert sorted(r.init_seed for r in s5) == list(range(1, 51))


def test_recipes_are_those_of_the_published_configurations(published):
    recipes = {recipe for e in experiments() for recipe in e.recipes}
    folders = [path.parent for path in published.rglob("cfg.json")]
    assert len(folders) == 12
    for folder in folders:
        assert published_recipe(json.loads((folder / "cfg.json").read_text())) in recipes, folder


@pytest.mark.parametrize(
    ("name", "fraction", "steps", "equals_token"),
    [
        ("S5_mlp", 0.4, 250_000, False),
        ("S5_transformer", 0.6, 50_000, True),
        ("D61_transformer", 0.3, 100_000, True),
        ("A5_mlp", 0.5, 250_000, False),
        ("S6_transformer", 0.4, 50_000, True),
        ("S5_mlp_width32", 0.4, 1_000_000, False),
        ("S5_mlp_width48", 0.4, 500_000, False),
        ("S5_mlp_width112", 0.4, 250_000, False),
    ],
)
def test_fractions_and_steps(name, fraction, steps, equals_token):
    (experiment,) = chosen([name])
    for recipe in experiment.recipes:
        assert recipe.task.train_fraction == fraction and recipe.schedule.steps == steps
        assert recipe.task.equals_token == equals_token
        assert recipe.task.split_seed == recipe.init_seed >= 1


def test_the_width_sweep_has_embeddings_twice_as_wide():
    (experiment,) = chosen(["S5_mlp_width64"])
    assert {recipe.model for recipe in experiment.recipes} == {MLPConfig(128, 64)}


def test_names_and_patterns():
    assert [e.name for e in chosen(["A5_*", "A5_mlp"])] == ["A5_mlp", "A5_transformer"]
    assert len(chosen(["all"])) == 21
    with pytest.raises(UsageError, match="did you mean 'S5_mlp'"):
        chosen(["S5_mpl"])
