"""The commands that tell what there is."""

import json
import subprocess
import sys

import pytest
import tyro

from analysis.metrics import METRICS
from interp.arguments import options_of
from interp.cli import COMMANDS, main
from interp.models.config import MLPConfig
from interp.plain_json import json_text
from interp.runs.recipe import Recipe, Schedule
from interp.runs.registry import MODELS, TASKS, named_model, named_task
from interp.runs.run import Run
from tasks.composition import GroupComposition
from tasks.groups import finite_group
from training.train import train

RECIPE = Recipe(
    GroupComposition("C7", train_fraction=0.6),
    MLPConfig(d_embed=4, d_mlp=6),
    schedule=Schedule(steps=3, checkpoints=2),
)


@pytest.fixture
def run(tmp_path) -> Run:
    return train([RECIPE], tmp_path)[0]


def listed(capsys) -> dict[str, dict[str, str]]:
    assert main(["list", "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_everything_that_is_listed_can_be_named(capsys):
    made = listed(capsys)
    names = [name for name in made["tasks"] if name not in ("GROUP", "module:name")]
    assert set(TASKS) - {"group_composition", "program"} <= set(names)
    assert {named_task(name).name for name in names}
    task = named_task("peak")
    for name in made["models"].keys() - {"module:name"}:
        named_model(name, task)
    assert set(MODELS) < set(made["models"])
    for name in ("C2xS4", "S5@published", "Dic3"):
        finite_group(name)
    assert set(made["metrics"]) == {metric.name for metric in METRICS}
    assert "S5_mlp" in made["presets"] and "small" in made["presets"]
    assert all(line for lines in made.values() for line in lines.values())


def test_a_list_has_a_line_for_each(capsys):
    assert main(["list", "models"]) == 0
    first, *lines = capsys.readouterr().out.splitlines()
    assert first == "models" and len(lines) == len(listed(capsys)["models"])


def test_a_run_in_words(run, capsys):
    assert main(["show", str(run.path)]) == 0
    out = capsys.readouterr().out
    assert out.startswith(f"{run.path}\n") and "the group C7 of order 7" in out
    assert "steps 0 to 3" in out and "state          done" in out
    assert "nothing: `interp evaluate` measures" in out
    assert main(["evaluate", str(run.path), "--quiet"]) == 0
    capsys.readouterr()
    assert main(["show", str(run.path)]) == 0
    assert "loss " in capsys.readouterr().out.splitlines()[-1]


def test_a_run_for_a_script(run, capsys):
    assert main(["show", str(run.path), "--json"]) == 0
    (found,) = json.loads(capsys.readouterr().out)
    assert found["path"] == str(run.path) and found["checkpoints"] == run.steps
    assert found["recipe"]["task"]["group"] == "C7" and found["status"]["state"] == "done"


def test_coefficients_for_a_script(run, capsys):
    flags = ["--draws", "4", "--chains", "2", "--burn-in", "0", "--quiet", "--json"]
    assert main(["llc", str(run.path), *flags]) == 0
    (found,) = json.loads(capsys.readouterr().out)
    (at_end,) = found["checkpoints"]
    assert found["run"] == str(run.path) and at_end["step"] == 3
    assert {check["name"] for check in at_end["checks"]} > {"ess_loss", "minimum"}


@pytest.mark.parametrize("command", COMMANDS)
def test_every_option_has_help(command):
    options = options_of(COMMANDS[command])
    with pytest.warns(DeprecationWarning):
        actions = tyro.extras.get_parser(options)._actions
    undocumented = [a.dest for a in actions if not a.help or a.help.startswith("(")]
    assert undocumented == []


def test_completion_knows_commands_and_their_options(capsys):
    with pytest.raises(SystemExit) as exit_:
        main(["completion", "bash"])
    assert not exit_.value.code
    script = capsys.readouterr().out
    assert all(command in script for command in COMMANDS)
    assert "--weight-decay" in script and "--localization" in script


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        (["lst"], "there is no command 'lst'; did you mean 'list'?"),
        (["list", "task"], "did you mean 'tasks'?"),
        (["show"], "name at least one run folder"),
        (["show", "nowhere"], "there is no run"),
        (["completion", "bsh"], "did you mean 'bash'?"),
        (["tables", "--out", "x"], "--runs is missing"),
    ],
)
def test_a_wrong_request_is_one_line(request_, message, capsys):
    assert main(request_) == 2
    errors = capsys.readouterr().err
    assert message in errors and errors.count("\n") == 1


def test_a_reader_that_has_seen_enough_is_no_failure_to_be_told():
    command = f"{sys.executable} -m interp.cli list metrics | head -1"
    found = subprocess.run(["bash", "-c", command], capture_output=True, text=True)
    assert found.stdout == "metrics\n" and found.stderr == ""


def test_json_has_no_nan():
    value = {"a": [float("nan"), 1.5], "b": (float("inf"), "x")}
    assert json.loads(json_text(value)) == {"a": [None, 1.5], "b": [None, "x"]}
