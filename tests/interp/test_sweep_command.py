"""`interp sweep` as a user meets it."""

import json
from pathlib import Path

import pytest

from interp.arguments import run_command
from interp.commands.sweep import sweep
from interp.runs.run import Run

SWEEP = """
task: C7
d_embed: 4
seeds: 0..1
steps: 20
checkpoints: 2
runs:
  - lr: [1e-3, 1e30]
  - model: bilinear
"""
GOOD = ["C7_mlp_lr_1e-3_seed0", "C7_mlp_lr_1e-3_seed1", "C7_bilinear_seed0", "C7_bilinear_seed1"]
BAD = ["C7_mlp_lr_1e30_seed0", "C7_mlp_lr_1e30_seed1"]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "sweep.yaml"
    path.write_text(SWEEP)
    return path


def interp_sweep(*arguments: object) -> int:
    return run_command(lambda: sweep([str(argument) for argument in arguments]))


def test_what_fails_stops_nothing_and_is_told_at_the_end(
    file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    to = tmp_path / "runs"
    assert interp_sweep("status", file, "--to", to) == 0
    assert capsys.readouterr().out.startswith("6 runs: 0 done, 0 running, 0 failed, 6 waiting\n")
    assert not to.exists()
    assert interp_sweep(file, "--to", to, "--quiet") == 1
    told = capsys.readouterr()
    assert told.out.split() == [str(to / name) for name in GOOD]
    assert len(told.err.splitlines()) == 2
    for line, name in zip(told.err.splitlines(), BAD, strict=True):
        assert line.startswith(f"interp: {to / name}: {name} diverged")
    assert interp_sweep("status", file, "--to", to) == 0
    told = capsys.readouterr().out.splitlines()
    assert told[0] == "6 runs: 4 done, 0 running, 2 failed, 0 waiting"
    assert [line.split()[:2] for line in told[1:]] == [["failed", str(to / name)] for name in BAD]
    assert interp_sweep("status", to, "--json") == 0
    rows = json.loads(capsys.readouterr().out)
    assert {Path(row["path"]).name: row["state"] for row in rows} == {
        **dict.fromkeys(GOOD, "done"),
        **dict.fromkeys(BAD, "failed"),
    }


def test_what_is_trained_is_measured_where_that_is_asked_for(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    to = tmp_path / "runs"
    file.write_text(SWEEP.replace(", 1e30", ""))
    start = (file, "--to", to, "--quiet")
    assert interp_sweep(*start) == 0
    assert interp_sweep(*start, "--evaluate", "final") == 0
    for name in GOOD:
        assert Run(to / name).summary()["step"] == 20
        assert set(Run(to / name).metrics()["step"]) == {20}
    assert interp_sweep(*start, "--evaluate", "all") == 0
    capsys.readouterr()
    monkeypatch.setattr("analysis.evaluate.evaluate_run", None)  # there is nothing to be measured
    assert interp_sweep(*start, "--evaluate", "all") == 0
    assert capsys.readouterr().out.split() == [str(to / name) for name in GOOD]
    for name in GOOD:
        assert set(Run(to / name).metrics()["step"]) == set(Run(to / name).steps)


def test_what_cannot_be_measured_is_told_and_stops_nothing(
    file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    to = tmp_path / "runs"
    file.write_text(SWEEP.replace(", 1e30", ""))
    assert interp_sweep(file, "--to", to, "--quiet") == 0
    for checkpoint in (to / GOOD[0] / "checkpoints").iterdir():
        checkpoint.write_bytes(b"damaged")
    capsys.readouterr()
    assert interp_sweep(file, "--to", to, "--quiet", "--evaluate", "final") == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert GOOD[0] in line
    assert all(Run(to / name).summary()["step"] == 20 for name in GOOD[1:])


def test_started_again_it_does_what_is_missing(file: Path, tmp_path: Path) -> None:
    to = tmp_path / "runs"
    file.write_text(SWEEP.replace(", 1e30", ""))
    assert interp_sweep(file, "--to", to, "--quiet") == 0
    before = {name: Run(to / name).status()["since"] for name in GOOD}
    written = {path: path.stat().st_mtime_ns for path in to.rglob("*") if path.is_file()}
    file.write_text(SWEEP.replace("1e30", "3e-3"))
    assert interp_sweep(file, "--to", to, "--quiet") == 0
    assert {name: Run(to / name).status()["since"] for name in GOOD} == before
    assert all(path.stat().st_mtime_ns == time for path, time in written.items())
    assert Run(to / "C7_mlp_lr_3e-3_seed1").status()["state"] == "done"


def test_a_preset_is_the_publications_experiment(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert interp_sweep("status", "S6_mlp", "--to", tmp_path, "--json") == 0
    paths = [Path(row["path"]) for row in json.loads(capsys.readouterr().out)]
    folder = tmp_path / "S6_mlp"
    assert sorted(paths) == [folder / f"S6_mlp_seed{seed}" for seed in range(1, 5)]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["none.yaml"], "there is no file none.yaml"),
        (["S5_mpl"], "there is no experiment 'S5_mpl'; did you mean 'S5_mlp'?"),
        (["S5_mlp", "--workers", "2"], "--workers is for --engine processes, not here"),
        (["S5_mlp", "--engine", "processes", "--workers", "0"], "it must be at least 1"),
        (["S5_mlp", "--slurm", "time=1"], "--slurm is for --engine slurm, not here"),
        (["S5_mlp", "--engine", "slrm"], "did you mean 'slurm'?"),
        ([], "WHAT is missing"),
        (["status"], "WHAT is missing"),
    ],
)
def test_a_wrong_request_is_one_line(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert interp_sweep(*arguments) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line


def test_without_slurm_the_engine_says_so(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert interp_sweep(file, "--to", tmp_path / "runs", "--engine", "slurm") == 1
    assert "squeue does not answer" in capsys.readouterr().err
