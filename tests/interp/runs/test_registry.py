"""What names on the command line stand for."""

from dataclasses import replace

import pytest

from interp.models.config import PRESETS, MLPConfig, TransformerConfig
from interp.runs.recipe import Recipe, recipe_from_json
from interp.runs.registry import TASKS, UnknownKindError, named_model, named_task, task_class
from tasks.composition import GroupComposition
from tasks.sequences import Fraction, Peak, SequenceTask

SEQUENCE_TASKS = [name for name in TASKS if issubclass(task_class(name), SequenceTask)]


@pytest.mark.parametrize("name", SEQUENCE_TASKS)
def test_a_sequence_task_has_its_own_name_and_survives_a_recipe(name):
    task = named_task(name)
    assert isinstance(task, SequenceTask)
    assert task.name == (name if name != "program" else task.program)  # a program has its own
    recipe = Recipe(replace(task, n_sequences=5, split_seed=3), named_model("small", task))
    assert recipe_from_json(recipe.to_json()) == recipe
    assert f'"kind": "{name}"' in recipe.to_json()


def test_modular_addition():
    assert named_task("modular_addition") == GroupComposition("C53", train_fraction=0.4)


@pytest.mark.parametrize(
    ("name", "n_parameters"), [("small", 7_064), ("medium", 12_900), ("large", 775_934)]
)
def test_presets_have_about_the_published_numbers_of_parameters(name, n_parameters):
    task = Peak(vocab="0..9")
    network = named_model(name, task).build(task, 0)
    ours = sum(parameter.numel() for parameter in network.parameters())
    assert ours == pytest.approx(n_parameters, rel=0.05)


@pytest.mark.parametrize("name", ["transformer", *PRESETS])
def test_transformers_attend_as_the_task_needs(name):
    for task in (Peak(), Fraction(), GroupComposition("C5")):
        model = named_model(name, task)
        assert isinstance(model, TransformerConfig) and model.attention_dir == task.attention
    assert named_model(name, Peak()).attention_dir == "bidirectional"
    assert named_model(name, Fraction()).attention_dir == "causal"


def test_other_models_are_as_they_are():
    assert named_model("mlp", Peak()) == MLPConfig()
    assert named_model("interp.models.config:MLPConfig", Peak()) == MLPConfig()
    with pytest.raises(UnknownKindError, match="did you mean 'large'"):
        named_model("larg", Peak())
