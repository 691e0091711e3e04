"""The results of many runs as one table."""

from dataclasses import replace
from pathlib import Path

import pytest

from interp.models.config import BilinearConfig, MLPConfig
from interp.runs.recipe import AdamW, Recipe
from interp.runs.results import results
from interp.runs.run import Run, RunError
from tasks.composition import GroupComposition

RECIPE = Recipe(GroupComposition(group="C7"), MLPConfig(d_embed=4, d_mlp=6))


def test_a_row_a_run_of_what_varies_its_state_and_what_was_measured(tmp_path: Path) -> None:
    fast = replace(RECIPE, optimizer=AdamW(lr=0.01))
    for folder, recipe in (("a", RECIPE), ("a", RECIPE.with_seed(1)), ("b", fast)):
        Run.create(tmp_path / folder / recipe.name, recipe)
    run = Run(tmp_path / "b" / "C7_mlp_seed0")
    run.write_status("failed", error="why")
    run.write_json("summary.json", {"step": 3, "loss/test": 0.5, "key_irreps": ["a"]})
    table = results(tmp_path)
    assert list(table) == ["run", "task", "model", "seed", "lr", "state", "step", "loss/test"]
    assert list(table["run"]) == ["a/C7_mlp_seed0", "a/C7_mlp_seed1", "b/C7_mlp_seed0"]
    assert list(table["seed"]) == [0, 1, 0] and list(table["lr"]) == [1e-3, 1e-3, 0.01]
    assert list(table["state"]) == ["waiting", "waiting", "failed"]
    assert table["loss/test"].isna().tolist() == [True, True, False]


def test_fields_of_one_kind_of_model_alone_are_no_columns(tmp_path: Path) -> None:
    for recipe in (RECIPE, replace(RECIPE, model=BilinearConfig(d_embed=4))):
        Run.create(tmp_path / recipe.name, recipe)
    assert list(results(tmp_path)) == ["run", "task", "model", "seed", "state"]


def test_data_with_a_seed_of_their_own_have_a_column(tmp_path: Path) -> None:
    for recipe in (RECIPE.with_seed(0, split_seed=7), RECIPE.with_seed(1, split_seed=8)):
        Run.create(tmp_path / recipe.name, recipe)
    assert list(results(tmp_path)["split_seed"]) == [7, 8]


def test_no_runs_are_an_error(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="there is no run"):
        results(tmp_path)
