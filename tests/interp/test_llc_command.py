"""`interp llc`, on runs of every kind."""

import json
import shlex
import shutil
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from analysis.llc import LLCConfig, NetworkLandscape, llc_estimates
from analysis.llc import runs as llc_runs
from analysis.llc.runs import Coefficient, chosen_steps, coefficient_of
from analysis.llc.stored import read_trace
from analysis.metrics import LLC_METRICS
from interp.arguments import FAILED
from interp.cli import main
from interp.runs.run import Run
from tasks.sequences import Fraction

FEW = [
    "--step-size",
    "1e-3",
    "--chains",
    "2",
    "--draws",
    "8",
    "--full-every",
    "2",
    "--burn-in",
    "4",
]
FEW += ["--quiet"]
FLAT = ["--restrict", "irrep:trivial@unembed", "--step-size", "9e-3", "--localization", "10"]
FLAT += ["--chains", "8", "--draws", "700", "--quiet"]
"""A shift of all logits, which no loss sees: the coefficient is 0."""
KINDS = {
    "iteration": ["parity", "--max-length", "3", "--d-model", "8"],
    "head": ["parity", "--max-length", "3", "--model", "iteration_head"],
    "sequence": ["reverse", "--vocab", "a..c", "--max-length", "3", "--d-model", "8"],
}
NAMES = {"iteration": "", "head": "body,kl", "sequence": "", "compiled": "body,kl"}


def trained(folder, *flags: str) -> Run:
    steps = [] if "iteration_head" in flags else ["--steps", "9", "--checkpoints", "4"]
    assert main(["train", *flags, *steps, "--to", str(folder), "--quiet"]) == 0
    (path,) = folder.iterdir()
    return Run(path)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    group = ["S3", "--d-embed", "4", "--d-mlp", "4", "--dtype", "float64", "--train-fraction", "1"]
    return trained(tmp_path_factory.mktemp("group"), *group)


@pytest.fixture
def group(made, tmp_path):
    """A run of its own."""
    return Run(shutil.copytree(made.path, tmp_path / made.name))


def rows_of(run: Run, component: str = "") -> pd.DataFrame:
    """A coefficient's rows, a column for each metric."""
    table = run.metrics()
    own = table["metric"].str.startswith("llc/") & (table["component"] == component)
    return table[own].pivot(index="step", columns="metric", values="value")


@pytest.mark.parametrize("kind", [*KINDS, "compiled"])
def test_it_works_on_runs_of_every_kind(kind, tmp_path, capsys):
    if kind == "compiled":
        flags = ["--vocab", "a..c", "--max-length", "3", "--to", str(tmp_path)]
        assert main(["compile", "palindrome", *flags, "--check-random", "1"]) == 0
        run = Run(tmp_path)
    else:
        run = trained(tmp_path, *KINDS[kind])
    capsys.readouterr()
    assert main(["llc", str(run.path), "--checkpoints", "all", *FEW]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.partition(":")[0] for line in lines[:-1]] == [f"step {s}" for s in run.steps]
    assert lines[-1] == str(run.path)
    found = rows_of(run, NAMES[kind])
    assert found.index.tolist() == run.steps and (found["llc/failed_checks"] > 0).all()
    file = NAMES[kind].replace(",", "_") or "all"
    about = json.loads((run.path / "llc" / f"{file}.json").read_text())
    assert about["settings"]["loss"] == ("kl" if NAMES[kind] else "task")
    if NAMES[kind]:
        assert about["checkpoints"][0]["initial_loss"] == pytest.approx(0, abs=1e-6)


def test_a_number_that_failed_is_nowhere_called_an_estimate(group, capsys):
    assert main(["llc", str(group.path), *FEW]) == 0
    assert ": no estimate: " in capsys.readouterr().out
    found = rows_of(group)
    assert set(found.columns) == {"llc/failed_checks", "llc/unchecked"}
    (checkpoint,) = json.loads((group.path / "llc" / "all.json").read_text())["checkpoints"]
    failed = [check["name"] for check in checkpoint["checks"] if not check["passed"]]
    assert "ess_loss" in failed and len(failed) == found["llc/failed_checks"].item()


def test_what_passed_is_printed_and_written_with_its_interval(group, capsys):
    assert main(["llc", str(group.path), *FLAT]) == 0
    line, _ = capsys.readouterr().out.splitlines()
    found = rows_of(group, "irrep:trivial@unembed").iloc[0]
    assert set(found.index) == {metric.name for metric in LLC_METRICS}
    assert found["llc/low"] <= found["llc/estimate"] <= found["llc/high"]
    assert found["llc/estimate"] == found["llc/unchecked"] == pytest.approx(0, abs=1e-9)
    assert found["llc/failed_checks"] == 0
    assert line == f"step {group.final_step}: " + "{:.4g} ({:.4g} to {:.4g})".format(
        *found[["llc/estimate", "llc/low", "llc/high"]]
    )
    written = {path.name for path in (group.path / "llc").iterdir()}
    assert written == {f"irrep_trivial@unembed.{kind}" for kind in ("html", "json", "zarr")}


def test_the_numbers_are_those_of_the_library(group):
    config = LLCConfig(step_size=1e-3, chains=2, draws=8, full_every=2, burn_in=4)
    main(["llc", str(group.path), "--checkpoints", "all", *FEW])
    examples, found = group.recipe.task.examples("train"), rows_of(group)["llc/unchecked"]
    for step in group.steps:
        model = group.model(step)
        (estimate,), _ = llc_estimates(NetworkLandscape(model, examples), config)
        assert found[step] == pytest.approx(estimate.value, rel=1e-9)
    trace, labels = read_trace(group.path / "llc" / "all.zarr")
    assert labels == tuple(f"step_{step:07d}" for step in group.steps)
    by_trace = trace.nbeta * trace.excess.mean(dim=(1, 2))
    assert by_trace.tolist() == pytest.approx(found.tolist(), rel=1e-9)


def test_groups_of_checkpoints_give_what_all_at_once_do(group, monkeypatch):
    ask = ["llc", str(group.path), "--checkpoints", "all", "--restrict", "live"]
    main([*ask, *FEW])
    whole = rows_of(group, "live")
    monkeypatch.setattr(llc_runs, "BYTES", 1)
    groups = []
    monkeypatch.setattr(
        llc_runs,
        "llc_estimates",
        lambda landscape, *a, **k: groups.append(1) or llc_estimates(landscape, *a, **k),
    )
    main([*ask, *FEW])
    assert len(groups) == len(group.steps) > 1
    pd.testing.assert_frame_equal(rows_of(group, "live"), whole, rtol=1e-9)


def test_another_call_replaces_its_own_rows_and_no_others(group):
    ask = ["llc", str(group.path), *FEW]
    main([*ask, "--checkpoints", "all"])
    main([*ask, "--restrict", "embed"])
    before = rows_of(group, "embed")
    main([*ask, "--seed", "1"])
    assert rows_of(group).index.tolist() == [group.final_step]
    pd.testing.assert_frame_equal(rows_of(group, "embed"), before)
    assert json.loads((group.path / "llc" / "all.json").read_text())["settings"]["seed"] == 1
    main([*ask, "--loss", "kl", "--split", "all"])
    assert set(group.metrics()["component"]) == {"", "embed", "kl,all"}


def test_evaluation_and_estimates_leave_each_other_alone(group):
    evaluate = ["evaluate", str(group.path), "--quiet"]
    assert main(evaluate) == 0
    measured, summary = group.metrics(), group.summary()
    main(["llc", str(group.path), *FEW])
    unchecked = rows_of(group)["llc/unchecked"].item()
    assert group.summary() == summary | {
        "llc/unchecked": unchecked,
        "llc/failed_checks": rows_of(group)["llc/failed_checks"].item(),
    }
    assert main(evaluate) == 0
    assert group.summary()["llc/unchecked"] == unchecked
    others = group.metrics().query("not metric.str.startswith('llc/')").reset_index(drop=True)
    pd.testing.assert_frame_equal(others, measured)
    main(["llc", str(group.path), *FEW, "--seed", "1"])
    assert group.summary()["llc/unchecked"] == rows_of(group)["llc/unchecked"].item() != unchecked


def test_the_summary_is_of_one_step(group):
    assert main(["evaluate", str(group.path), "--quiet"]) == 0
    summary = group.summary() | {"step": 1}  # as if trained further since
    group.write_json("summary.json", summary)
    main(["llc", str(group.path), *FEW])
    assert group.summary() == summary


def test_the_run_is_locked_meanwhile(group, capsys):
    with group.locked():
        assert main(["llc", str(group.path), *FEW]) == FAILED
    assert "in use by process" in capsys.readouterr().err
    assert not (group.path / "llc").exists()


def test_progress_tells_of_the_running_estimate(group, capsys):
    ask = [word for word in FEW if word != "--quiet"]
    main(["llc", str(group.path), *ask])
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == f"{group.name} 1/12 step {group.final_step}"
    assert lines[-1] == f"{group.name} 12/12"
    told = []
    which = coefficient_of(group)
    config = LLCConfig(step_size=1e-3, chains=2, draws=4, burn_in=2, full_every=1)
    llc_runs.write_llc(group, which, config, lambda *shown: told.append(shown))
    assert [done for _, done, _, _ in told] == [1, 2, 3, 4, 5, 6, 6]
    assert told[-2][3].endswith(" so far") and "nan" not in told[0][3]


def test_checkpoints_are_chosen_evenly_in_the_logarithm(group, monkeypatch):
    steps = [0, *range(1, 1001)]
    monkeypatch.setattr(Run, "steps", property(lambda run: steps))
    assert chosen_steps(group, "final") == [1000] and chosen_steps(group, "all") == steps
    some = chosen_steps(group, "log")
    assert some[0] == 0 and some[1] == 1 and some[-1] == 1000 and 10 <= len(some) <= 13
    assert np.diff(np.log(some[3:])) == pytest.approx(np.log(1000) / 11, abs=0.12)
    steps[:] = [0]
    assert chosen_steps(group, "log") == [0]


def test_values_have_no_divergence_so_their_default_is_the_task(tmp_path):
    flags = ["--vocab", "a,x", "--max-length", "2", "--to", str(tmp_path), "--check-random", "1"]
    assert main(["compile", "fraction", *flags]) == 0
    run = Run(tmp_path)
    assert isinstance(run.recipe.task, Fraction) and coefficient_of(run).name == "body"


@pytest.mark.slow
def test_calibration_prints_what_to_type(group, capsys):
    ask = ["llc", "calibrate", str(group.path), "--budget", "400", "--chains", "2", "--quiet"]
    assert main([*ask, "--restrict", "embed", "--dtype", "float32"]) == 0
    out, err = capsys.readouterr()
    pilot, command, _ = out.splitlines()
    assert pilot.startswith("pilot: ") and "more than the budget of 400" in err
    assert command.startswith(f"interp llc {group.path} --step-size ")
    assert command.endswith("--restrict embed --dtype float32") and "--chains 2 " in command
    table = pd.read_csv(group.path / "llc" / "embed_calibration.csv")
    assert {"step_size", "nbeta", "estimate"} <= set(table)
    assert (group.path / "llc" / "embed_calibration.html").exists()
    few = ["--draws", "4", "--full-every", "1", "--burn-in", "1", "--quiet"]
    assert main([*shlex.split(command)[1:], *few]) == 0
    settings = json.loads((group.path / "llc" / "embed.json").read_text())["settings"]
    assert settings["dtype"] == "float32" and settings["localization"] != 1.0


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        (["--restrict", "l0h1"], "the network has no trained part 'l0h1': it has"),
        (["--restrict", "unembde"], "did you mean 'unembed'?"),
        (["--restrict", "irrep:standart"], "nearest is standard"),
        (["--batch-size", "37"], "batch_size is 37, and the data set has 36 examples"),
        (["--split", "test"], "has no examples in the split 'test'"),
        (["--chains", "1"], "chains is 1: it must be at least 2"),
        (["--step-size", "0"], "step_size is 0.0: it must be a number above 0"),
        (["--draws", "many"], "invalid literal for int"),
        (["--sampler", "sgdl"], "did you mean 'sgld'?"),
        (["--checkpoints", "last"], "it must be one of all, final, log"),
        (["--loss", "ce"], "--loss"),
        (["--step", "3"], "there is no option '--step'"),
        (["--device", "gpu"], "there is no device 'gpu'"),
    ],
)
def test_a_wrong_request_is_one_line_and_leaves_nothing(request_, message, group, capsys):
    assert main(["llc", str(group.path), *FEW, *request_]) == 2
    errors = capsys.readouterr().err
    assert message in errors and errors.count("\n") == 1
    assert not (group.path / "llc").exists() and group.metrics().empty


def test_a_budget_too_small_is_one_line(group, capsys):
    assert main(["llc", "calibrate", str(group.path), "--budget", "99"]) == 2
    assert capsys.readouterr().err == "interp: the budget is 99 steps: it must be at least 100\n"


@pytest.mark.parametrize("what", ["loss", "parameter", "live", "none"])
def test_a_checkpoint_without_a_coefficient_is_one_line(what, group, capsys):
    weights = group.weights()
    scale = {"loss": 1e200, "parameter": float("inf"), "live": 0.0, "none": 1.0}[what]
    group.save_weights(group.final_step, {name: x * scale for name, x in weights.items()})
    if what == "none":
        shutil.rmtree(group.path / "checkpoints")
    assert main(["llc", str(group.path), *FEW, "--restrict", "live"]) == 2
    errors = capsys.readouterr().err
    message = {
        "loss": "the loss at w* is ",
        "parameter": "parameters are not all finite",
        "live": "no parameter is in 'live'",
        "none": "has no checkpoints",
    }
    assert message[what] in errors and errors.count("\n") == 1


def test_the_name_says_what_is_not_as_usual(group):
    usual = coefficient_of(group)
    assert usual.name == "" and usual.path(group, ".json") == group.path / "llc" / "all.json"
    assert usual.title(group) == group.name
    other: Coefficient = replace(usual, split="all", loss="kl")
    assert other.name == "kl,all" and other.path(group, ".html").name == "kl_all.html"
    assert other.title(group) == f"{group.name}, kl,all"
