"""The commands serve a task of one's own as they serve groups."""

import subprocess
import sys
from pathlib import Path

import pytest

from interp.cli import main
from interp.runs.run import Run

HERE = Path(__file__).parent
TRAIN = ["train", "larger_last:LargerLast", "--d-model", "16", "--d-mlp", "32", "--d-head", "8"]
TRAIN += ["--n-heads", "2", "--weight-decay", "0.1", "--lr", "1e-2", "--checkpoints", "5"]
TRAIN += ["--quiet"]


@pytest.fixture(autouse=True)
def in_the_users_folder(monkeypatch):
    monkeypatch.chdir(HERE)


def test_a_task_of_ones_own_trains_resumes_evaluates_and_reports(tmp_path, capsys):
    to = ["--to", str(tmp_path)]
    assert main([*TRAIN, "--steps", "200", "--seeds", "0..1", *to]) == 0
    folders = [tmp_path / f"larger_last_transformer_seed{seed}" for seed in (0, 1)]
    assert capsys.readouterr().out.split() == [str(folder) for folder in folders]
    metric = "larger_last:attention_to_separator"
    assert main(["evaluate", *map(str, folders), "--metric", metric, "--quiet"]) == 0
    run = Run(folders[0])
    summary = run.summary()
    assert summary["accuracy/test"] > 0.95 and summary["step"] == 200
    assert 0 <= summary["attention/separator[L0H1]"] <= 1
    assert set(run.metrics()["step"]) == set(run.steps)
    assert main(["resume", str(folders[0]), "--quiet"]) == 0
    page = tmp_path / "report.html"
    assert main(["report", *map(str, folders), "--to", str(page)]) == 0
    text = page.read_text()
    assert "larger_last" in text and "attention/separator" in text


@pytest.mark.slow
def test_an_unnamed_module_is_not_imported_from_a_recipe(tmp_path):
    to = ["--to", str(tmp_path), "--steps", "2"]
    assert main([*TRAIN, *to]) == 0
    (folder,) = tmp_path.iterdir()
    command = [sys.executable, "-m", "interp.cli", "evaluate", str(folder), "--quiet"]
    refused = subprocess.run(command, capture_output=True, text=True)
    assert refused.returncode == 2 and "--allow-module larger_last" in refused.stderr
    assert len(refused.stderr.splitlines()) == 1
    allowed = subprocess.run([*command, "--allow-module", "larger_last"], capture_output=True)
    assert allowed.returncode == 0
