"""The coefficient along training, with fewer steps and draws."""

from dataclasses import replace

import pandas as pd
import pytest

import paper.llc_training as experiment
from analysis.llc import LLCConfig
from interp.models.config import MLPConfig
from interp.progress import progress
from interp.runs.recipe import AdamW, Recipe, Schedule
from paper.llc_training import EXPERIMENTS, Experiment, Options, follow
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
    assert (table["estimate_failures"] != "").all()  # such short chains settle nothing
    assert table[["estimate", "loss/test"]].notna().all(axis=None)
    assert "published" not in table
    page = (tmp_path / "out" / "small_llc.md").read_text()
    assert f"0 of {len(table)} numbers pass all checks" in page
    assert "localization is" not in page


@pytest.mark.usefixtures("small")
def test_other_settings_beside(tmp_path, monkeypatch):
    monkeypatch.setitem(EXPERIMENTS, "small", replace(EXPERIMENTS["small"], compares=True))
    table = run(tmp_path)
    assert table[["estimate", "stronger", "published"]].notna().all(axis=None)
    page = (tmp_path / "out" / "small_llc.md").read_text()
    assert "The stronger localization is 5." in page
    assert "LLC, settings of earlier work" in page


@pytest.mark.slow
@pytest.mark.usefixtures("small")
def test_what_is_there_is_not_estimated_again_unless_the_settings_change(tmp_path, monkeypatch):
    first = run(tmp_path)
    done = []
    followed = experiment._followed
    monkeypatch.setattr(experiment, "_followed", lambda *a: (done.append(a[0]), followed(*a))[1])
    again = run(tmp_path)
    pd.testing.assert_frame_equal(again, first)
    assert done == []
    small = EXPERIMENTS["small"]
    monkeypatch.setitem(
        EXPERIMENTS, "small", replace(small, config=replace(small.config, step_size=2e-2))
    )
    run(tmp_path)
    assert len(done) == 2
