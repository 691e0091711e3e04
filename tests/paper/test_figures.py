"""The figures of runs as files."""

import shutil

import pandas as pd
import plotly.graph_objects as go
import pytest
from plotly.offline import get_plotlyjs

from paper.command import run_module
from paper.figures import Options, draw, figures_of, page, write_static


@pytest.fixture
def runs(made_run):
    """Two seeds with a history."""
    made = [made_run(f"S3_mlp_seed{seed}", seed=seed) for seed in (1, 2)]
    rows = {"step": [0, 1, 10], "split": "train", "loss": [2.0, 1.0, 0.1], "accuracy": 0.5}
    for run in made:
        shutil.rmtree(run.path / "checkpoints")
        run.write_history(pd.DataFrame(rows).assign(weight_norm=1.0))
    return made


def test_each_run_and_the_seeds_together_have_figures(runs):
    found = figures_of(runs)
    assert list(found) == ["S3_mlp_seed1", "S3_mlp_seed2", "S3_mlp_2_seeds"]
    assert set(found["S3_mlp_seed1"]) == {"loss", "accuracy", "weight_norm"}


def test_runs_of_one_name_in_two_folders_do_not_overwrite_each_other(made_run):
    runs = [made_run(f"{folder}/run", group) for folder, group in (("x", "C5"), ("y", "C7"))]
    for run in runs:
        shutil.rmtree(run.path / "checkpoints")
    assert list(figures_of(runs)) == ["x_run", "y_run"]


def test_a_page_needs_nothing_else():
    text = page("a & b", {"one": go.Figure(), "two": go.Figure()})
    assert text.count(get_plotlyjs()) == 1 and "a &amp; b" in text
    assert "src=" not in text.replace(get_plotlyjs(), "")


def test_without_chromium_the_pages_are_written_and_it_is_said(tmp_path, runs, monkeypatch, capsys):
    monkeypatch.setenv("BROWSER_PATH", "/nonexistent")
    arguments = [str(run.path) for run in runs] + ["--out", str(tmp_path / "out")]
    assert run_module(Options, "paper.figures", draw, arguments) == 0
    told = capsys.readouterr()
    assert told.err.count("\n") == 1 and "static pictures need Chromium" in told.err
    assert len(told.out.splitlines()) == len(list((tmp_path / "out").rglob("figures.html"))) == 3


def test_static_pictures(tmp_path):
    if not any(map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))):
        pytest.skip("there is no Chromium to draw with")
    write_static({tmp_path / "a": go.Figure(go.Scatter(x=[1, 2], y=[3, 4]))})
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")
    assert "<svg" in (tmp_path / "a.svg").read_text()


def test_naming_no_run_is_refused(capsys):
    assert run_module(Options, "paper.figures", draw, []) == 2
    assert "name at least one run folder" in capsys.readouterr().err
