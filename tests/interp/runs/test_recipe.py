import json
import sys
from dataclasses import dataclass, replace

import pytest

from interp.models.config import BilinearConfig, DecoderConfig, MLPConfig, TransformerConfig
from interp.runs.recipe import AdamW, FineTuning, Recipe, RecipeError, Schedule, recipe_from_json
from interp.runs.registry import UnknownKindError, named_task
from tasks.composition import GroupComposition

RECIPE = Recipe(
    task=GroupComposition("S4", train_fraction=0.5, split_seed=3),
    model=MLPConfig(d_embed=8, d_mlp=4, bias=True),
    optimizer=AdamW(lr=2e-3, betas=(0.8, 0.9)),
    schedule=Schedule(steps=17, batch_size=5),
    init_seed=4,
    dtype="float64",
)


@pytest.mark.parametrize(
    "model",
    [
        MLPConfig(bias=True),
        TransformerConfig(n_layers=2),
        BilinearConfig(),
        DecoderConfig(positions="rotary", d_mlp=3),
    ],
)
def test_json_reads_back_to_an_equal_recipe(model):
    recipe = replace(RECIPE, model=model)
    assert recipe_from_json(recipe.to_json()) == recipe


def test_a_recipe_without_fine_tuning_is_read():
    """As they were written before there was any."""
    data = json.loads(RECIPE.to_json())
    del data["fine_tuning"]
    assert recipe_from_json(json.dumps(data)) == RECIPE


def test_fine_tuning_is_read_back():
    tuned = replace(RECIPE, fine_tuning=FineTuning("a.safetensors", ("blocks.1.*",)))
    assert recipe_from_json(tuned.to_json()) == tuned


def test_a_seed_sets_weights_and_split_unless_the_split_is_fixed():
    assert (RECIPE.with_seed(9).init_seed, RECIPE.with_seed(9).split_seed) == (9, 9)
    assert (RECIPE.with_seed(9, 1).init_seed, RECIPE.with_seed(9, 1).split_seed) == (9, 1)


def test_checkpoints_are_log_spaced_from_the_initial_network_to_the_last():
    assert Schedule(steps=1000, checkpoints=4).checkpoint_steps() == [0, 1, 10, 100, 1000]
    assert Schedule(steps=0).checkpoint_steps() == [0]
    # As many as the published rule gave files for 250,000 epochs.
    assert len(Schedule(steps=250_000, checkpoints=1000).checkpoint_steps()) == 727
    for steps in range(1900, 2100):  # the last power is the last step, not a step before it
        assert steps - 1 not in Schedule(steps=steps, checkpoints=60).checkpoint_steps()


def changed(path: str, value: object) -> str:
    data = json.loads(RECIPE.to_json())
    *parents, last = path.split(".")
    target = data
    for name in parents:
        target = target[name]
    target[last] = value
    return json.dumps(data)


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("format", 99, "format 99"),
        ("model.d_mpl", 3, "MLPConfig has no field 'd_mpl'; did you mean 'd_mlp'?"),
        ("schedule.steps", -1, "steps is -1"),
        ("task.train_fraction", 2.0, "train_fraction is 2.0"),
        ("model.kind", "mpl", "unknown kind 'mpl'.*did you mean 'mlp'"),
        ("task.kind", "not_imported_yet:Task", "--allow-module not_imported_yet"),
        ("task.kind", "os:system", "names no dataclass"),
        ("schedule.steps", "20", "steps is '20': it must be"),
        ("schedule", None, "wrong kind"),
        ("task.group", 5, "group is 5: it must be"),
        ("optimizer.lr", -1.0, "lr is -1.0: it must be at least 0"),
        ("model.d_mlp", 0, "d_mlp is 0: it must be at least 1"),
        ("model.kind", "interp.runs.recipe:AdamW", "has no `build`"),
        ("task.kind", "interp.runs.recipe:AdamW", "is no Task"),
    ],
)
def test_a_wrong_recipe_is_refused_with_what_is_wrong(path, value, message):
    with pytest.raises(ValueError, match=message):
        recipe_from_json(changed(path, value))


@pytest.mark.parametrize("path", ["fine_tuning", "schedule.batch_size", "model.bias"])
def test_an_older_recipe_lacks_fields_that_have_defaults(path):
    recipe = Recipe(RECIPE.task, MLPConfig())
    data = json.loads(recipe.to_json())
    *parents, last = path.split(".")
    holder = data[parents[0]] if parents else data
    del holder[last]
    assert recipe_from_json(json.dumps(data)) == recipe


def test_damaged_json_is_refused():
    with pytest.raises(RecipeError, match="not JSON"):
        recipe_from_json(RECIPE.to_json()[:-20])
    with pytest.raises(RecipeError, match="no 'task'"):
        recipe_from_json('{"format": 1}')


def test_reading_a_recipe_imports_no_module():
    with pytest.raises(UnknownKindError):
        recipe_from_json(changed("task.kind", "antigravity:Task"))
    assert "antigravity" not in sys.modules


@dataclass(frozen=True)
class OwnConfig:
    width: int = 3

    def build(self, task, seed):
        raise NotImplementedError


def test_a_model_of_ones_own_is_stored_by_module_and_name():
    recipe = replace(RECIPE, model=OwnConfig(width=5))
    assert recipe_from_json(recipe.to_json()) == recipe


def test_an_unknown_task_names_what_is_allowed():
    with pytest.raises(UnknownKindError, match="there is no task 'peek'"):
        named_task("peek")
    with pytest.raises(UnknownKindError, match="there is no module 'no_such_module'"):
        named_task("no_such_module:Task")
