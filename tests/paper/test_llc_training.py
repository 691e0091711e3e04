"""The coefficient along training, with fewer steps and draws."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

import paper.llc_training as experiment
from analysis.llc import LLCConfig
from interp.models.config import MLPConfig
from interp.progress import progress
from interp.runs.recipe import AdamW, Recipe, Schedule
from paper.llc_training import EXPERIMENTS, Experiment, Options, change_point, change_points, follow
from tasks.composition import GroupComposition


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = Recipe(
        GroupComposition("C7", train_fraction=0.6),
        MLPConfig(d_embed=4, d_mlp=6),
        AdamW(lr=5e-3),
        Schedule(steps=20, checkpoints=4, log_every=10),
    )
    config = LLCConfig(step_size=1e-2, chains=2, draws=4, burn_in=3, full_every=2)
    monkeypatch.setitem(EXPERIMENTS, "small", Experiment(recipe, config))


def run(tmp_path) -> pd.DataFrame:
    options = Options(("small",), to=tmp_path / "runs", out=tmp_path / "out", seeds="0..1")
    with progress(quiet=True) as show:
        assert follow(options, show) == 0
    return pd.read_csv(tmp_path / "out" / "small_llc.csv", keep_default_na=False)


@pytest.mark.usefixtures("small")
def test_a_table_a_page_and_a_picture(tmp_path):
    table = run(tmp_path)
    assert len(table) == 2 * table["step"].nunique()
    assert (table["failures"] != "").all()  # such short chains settle nothing
    assert table["published_settings"].notna().all()
    page = (tmp_path / "out" / "small_llc.md").read_text()
    assert f"0 of {len(table)} numbers pass all checks" in page


@pytest.mark.usefixtures("small")
def test_what_is_there_is_not_estimated_again_unless_the_settings_change(tmp_path, monkeypatch):
    first = run(tmp_path)
    done = []
    write_llc = experiment.write_llc
    monkeypatch.setattr(experiment, "write_llc", lambda *a: (done.append(a[0]), write_llc(*a))[1])
    again = run(tmp_path)
    pd.testing.assert_frame_equal(again, first)
    assert done == []
    small = EXPERIMENTS["small"]
    monkeypatch.setitem(
        EXPERIMENTS, "small", replace(small, config=replace(small.config, step_size=2e-2))
    )
    run(tmp_path)
    assert len(done) == 2


def test_the_change_point_is_where_a_step_is():
    steps = [1, 10, 100, 1000]
    assert change_point(steps, np.array([5.0, 5.1, 0.1, 0.0])) == pytest.approx(31.6, abs=0.1)
    assert change_point(steps, np.array([5.0, 0.1, 0.1, 0.0])) == pytest.approx(3.16, abs=0.1)


def test_changes_are_looked_for_after_the_largest_test_loss():
    steps = [1, 10, 100, 1000, 10_000]
    table = pd.DataFrame(
        {
            "seed": 0,
            "step": steps,
            "loss_test": [1.0, 9.0, 8.0, 8.0, 1e-3],
            "unchecked": [0.0, 200.0, 200.0, 50.0, 40.0],
            "standard_error": 1.0,
            "weight_norm": [1.0, 5.0, 5.0, 5.0, 2.0],
            "hessian_trace": [1.0, 9.0, 9.0, 9.0, 0.1],
        }
    )
    (row,) = change_points(table).to_dict("records")
    assert row["unchecked"] == pytest.approx(316, abs=1)
    assert row["unchecked_low"] == row["unchecked_high"] == row["unchecked"]
    assert (
        row["loss_test"] == row["weight_norm"] == row["hessian_trace"] == pytest.approx(3162, abs=1)
    )
