"""The commands as a user meets them, with right requests and wrong ones."""

import json
import os
import subprocess
import sys

import pytest

from interp.arguments import UsageError, parse_seeds, value_of
from interp.cli import main
from interp.runs.run import Run
from tasks.composition import GroupComposition

SMALL = ["C7", "--d-embed", "8", "--d-mlp", "8", "--steps", "20", "--checkpoints", "3", "--quiet"]


def test_help_answers_without_importing_what_a_command_needs():
    heavy = ["torch", "transformer_lens", "numpy", "pandas", "jaxtyping", "plotly"]
    code = (
        "import sys, interp.cli; status = interp.cli.main(['--help']);"
        f"print(status, [m for m in {heavy} if m in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.stdout.splitlines()[-1] == "0 []"
    assert "usage: interp COMMAND" in result.stdout and "train" in result.stdout


@pytest.mark.parametrize("command", ["train", "resume", "evaluate", "report", "import", "cache"])
def test_every_command_tells_its_options(command, capsys):
    with pytest.raises(SystemExit) as exit_:
        main([command, "--help"])
    assert exit_.value.code == 0
    assert f"usage: interp {command}" in capsys.readouterr().out


def test_train_then_evaluate_then_report(tmp_path, capsys):
    assert main(["train", *SMALL, "--seeds", "0..1", "--to", str(tmp_path)]) == 0
    assert capsys.readouterr().out.split() == [
        str(tmp_path / f"C7_mlp_seed{seed}") for seed in (0, 1)
    ]
    run = Run(tmp_path / "C7_mlp_seed1")
    assert (run.recipe.init_seed, run.recipe.split_seed) == (1, 1)
    assert run.steps == [0, 1, 4, 20] and run.status()["state"] == "done"
    assert main(["evaluate", str(tmp_path), "--quiet"]) == 0
    assert json.loads((run.path / "summary.json").read_text())["step"] == 20
    capsys.readouterr()
    assert main(["evaluate", str(run.path), "--quiet", "--json"]) == 0
    (told,) = json.loads(capsys.readouterr().out)
    assert told == {"run": str(run.path), "problems": [], "summary": run.summary()}
    assert main(["report", str(tmp_path), "--to", str(tmp_path / "report.html")]) == 0
    assert "C7_mlp_seed1" in (tmp_path / "report.html").read_text()


@pytest.mark.parametrize("task", ["reverse", "fraction"])
def test_a_sequence_task_is_trained_and_measured(task, tmp_path):
    flags = ["--vocab", "x,y", "--max-length", "4", "--steps", "30", "--checkpoints", "2"]
    flags += ["--lr", "1e-2", "--seeds", "0..1", "--to", str(tmp_path), "--quiet"]
    assert main(["train", task, *flags]) == 0
    run = Run(tmp_path / f"{task}_transformer_seed1")
    assert run.recipe.task.vocab == "x,y" and run.recipe.task.max_length == 4
    assert run.recipe.model.attention_dir == ("causal" if task == "fraction" else "bidirectional")
    assert run.recipe.optimizer.weight_decay < 0.1
    assert main(["evaluate", str(run.path), "--final", "--quiet"]) == 0
    last = run.history().query("step == 30 and split == 'test'").iloc[0]
    assert run.summary()["loss/test"] == pytest.approx(last["loss"], rel=1e-5)
    if task == "reverse":
        assert run.summary()["accuracy/test"] == last["accuracy"]
    losses = run.history().query("split == 'train'")["loss"]
    assert losses.iloc[-1] < 0.8 * losses.iloc[0]


def test_chain_of_thought_is_trained_measured_and_reported(tmp_path):
    flags = ["--max-length", "4", "--d-model", "8", "--steps", "4", "--checkpoints", "1"]
    flags += ["--longest", "6", "--seeds", "0..1", "--to", str(tmp_path), "--quiet"]
    assert main(["train", "parity", *flags]) == 0
    assert main(["train", "parity", "--model", "iteration_head", *flags[:2], *flags[-7:]]) == 0
    assert main(["evaluate", str(tmp_path), "--quiet"]) == 0
    trained, exact = (
        Run(tmp_path / f"parity_{kind}_seed1").summary() for kind in ("decoder", "iteration_head")
    )
    assert 0 < trained["iteration/token_accuracy"] < 1
    assert 0 < trained["iteration/token_accuracy[beyond]"] < 1
    assert exact["iteration/free_running_accuracy[length:6]"] == 1
    assert exact["attention/above_half[L1H0:x_t]"] == 1
    assert main(["report", str(tmp_path), "--to", str(tmp_path / "report.html")]) == 0
    page = (tmp_path / "report.html").read_text()
    assert "are an iteration head" in page and "free running" in page
    for picture in ("iteration", "attention", "attention_above_half_by_component"):
        assert f"r1-{picture}" in page


def test_modular_addition_is_composition_in_c53(tmp_path):
    flags = ["--steps", "1", "--to", str(tmp_path), "--quiet"]
    assert main(["train", "modular_addition", "--equals-token", *flags]) == 0
    assert main(["train", "modular_addition", "--group", "C13", *flags]) == 0
    task = Run(tmp_path / "C53_mlp_seed0").recipe.task
    assert task == GroupComposition("C53", train_fraction=0.4, equals_token=True)
    assert len(task.examples("train")) == 1123  # of 2809, as published
    assert Run(tmp_path / "C13_mlp_seed0").recipe.task == GroupComposition("C13")


def test_a_fixed_split_and_a_name_of_ones_own(tmp_path):
    flags = ["--seeds", "3,5", "--split-seed", "9", "--name", "mine", "--to", str(tmp_path)]
    assert main(["train", *SMALL, *flags]) == 0
    runs = [Run(tmp_path / f"mine_seed{seed}") for seed in (3, 5)]
    assert [run.recipe.init_seed for run in runs] == [3, 5]
    assert [run.recipe.split_seed for run in runs] == [9, 9]


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        (["trian"], "there is no command 'trian'; did you mean 'train'?"),
        (["train", "S55"], "there is no task 'S55'"),
        (["train", "--model", "mlp"], "the task comes first"),
        (["train", "C5", "--model", "mpl"], "did you mean 'mlp'?"),
        (["train", "peek"], "there is no task 'peek'; did you mean 'peak'?"),
        (["train", "peak", "--model", "smal"], "did you mean 'small'?"),
        (["train", "peak", "--max-length", "0"], "min_length must be at least 1 and at most max"),
        (["train", "fraction", "--vocab", "a..e"], "counts the token 'x', so write x,a..e"),
        (["train", "parity", "--positions", "rotery"], "it must be one of learned, frozen, sinus"),
        (["train", "parity", "--positions", "rotery"], "did you mean 'rotary'?"),
        (["train", "polynomial", "--modulus", "12"], "must be a prime from 3 to 8191"),
        (
            ["train", "parity", "--max-length", "9", "--longest", "8"],
            "a sequence of 9 inputs is too",
        ),
        (["train", "parity", "--n-heads", "3"], "d_model is 128: 3 heads do not divide it"),
        (
            ["train", "S3", "--model", "decoder", "--index", "shared"],
            "begins anew at the token EoI",
        ),
        (
            ["train", "parity", "--positions", "none", "--index", "shared"],
            "there are none to share",
        ),
        (["train", "parity", "--train-index", "shifted"], "give the task a larger `longest`"),
        (["train", "parity", "--train-index", "shifted", "--positions", "t5"], "changes nothing"),
        (["train", "peak", "--model", "decoder"], "which a decoder does not have"),
        (
            ["train", "parity", "--model", "small", "--attention-dir", "bidirectional"],
            "the network would read what it is to say",
        ),
        (["train", "parity", "--model", "mlp"], "use a transformer"),
        (["train", "parity", "--start-from", "."], "there is no such file"),
        (["train", "C5", "--model", "iteration_head"], "is no iterative problem"),
        (
            ["train", "parity", "--start-from", "gone.safetensors"],
            "gone.safetensors: there is no such file",
        ),
        (["train", "parity", "--trained", "block.*"], "no parameter is called 'block.*'"),
        (["train", "C5", "--lrr", "1"], "there is no option '--lrr'; did you mean '--lr'?"),
        (["train", "C5", "--lr", "fast"], "--lr"),
        (["train", "C5", "--dtype", "float16"], "it must be one of float32, float64"),
        (["train", "C5", "--seeds", "3..1"], "seeds are '3..1'"),
        (["train", "C5", "--train-fraction", "2"], "must be above 0 and at most 1"),
        (["train", "[[0,1],[0,1]]"], "identity"),
        (["train", "no_such_module:Task"], "there is no module 'no_such_module'"),
        (["train", "C5", "--device", "gpu"], "device"),
        (["evaluate", "nowhere"], "there is no run"),
        (["evaluate"], "name at least one run folder"),
        (["resume", "nowhere"], "there is no run"),
        (["import"], "SOURCE is missing"),
        (["import", "nowhere"], "holds no published run"),
        (["cache", "lsit"], "did you mean 'list'?"),
    ],
)
def test_a_wrong_request_is_one_line_and_status_2(request_, message, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(request_) == 2
    captured = capsys.readouterr()
    assert message in captured.err and captured.err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_a_folder_with_another_recipe_is_left_alone(tmp_path, capsys):
    assert main(["train", *SMALL, "--to", str(tmp_path)]) == 0
    before = (tmp_path / "C7_mlp_seed0" / "recipe.json").read_bytes()
    assert main(["train", *SMALL, "--lr", "0.5", "--to", str(tmp_path)]) == 2
    assert "another recipe" in capsys.readouterr().err
    assert (tmp_path / "C7_mlp_seed0" / "recipe.json").read_bytes() == before


def test_cache_lists_verifies_and_clears(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("INTERP_CACHE_DIR", str(tmp_path))
    for action in ("list", "verify", "clear"):
        assert main(["cache", action]) == 0
    assert "removed 0" in capsys.readouterr().out


def test_seeds():
    assert parse_seeds("0..3") == [0, 1, 2, 3]
    assert parse_seeds("5, 1..2") == [5, 1, 2]
    for wrong in ("", "a", "1..", "-1", "2,2"):
        with pytest.raises(UsageError, match="seeds are"):
            parse_seeds(wrong)


def test_value_of_reads_both_spellings():
    assert value_of("--split-seed", ["--lr", "1", "--split_seed=4"]) == "4"
    assert value_of("--split-seed", ["--split-seed", "4"]) == "4"
    assert value_of("--split-seed", ["--lr", "1"]) is None


def test_one_bad_run_of_several_does_not_stop_the_others(tmp_path, capsys):
    assert main(["train", *SMALL, "--seeds", "0..1", "--to", str(tmp_path)]) == 0
    bad, good = (tmp_path / f"C7_mlp_seed{seed}" for seed in (0, 1))
    for checkpoint in (bad / "checkpoints").iterdir():
        checkpoint.write_bytes(b"damaged")
    assert main(["evaluate", str(tmp_path), str(good), "--final", "--quiet"]) == 1
    assert str(bad) in capsys.readouterr().err
    assert Run(good).summary()["step"] == 20 and Run(bad).summary() == {}
    assert main(["report", str(tmp_path), "--to", str(tmp_path)]) == 2


@pytest.mark.parametrize("command", [["--help"], ["list", "tasks"]])
def test_a_reader_that_has_seen_enough_is_no_error(command):
    source, sink = os.pipe()
    os.close(source)
    words = [sys.executable, "-m", "interp.cli", *command]
    done = subprocess.run(words, stdout=sink, stderr=subprocess.PIPE, text=True)
    os.close(sink)
    assert done.stderr == ""


@pytest.mark.parametrize("flags", [["--lr", "-1"], ["--d-mlp", "0"], ["--betas", "2", "0.9"]])
def test_a_wrong_number_leaves_no_folder(flags, tmp_path, capsys):
    assert main(["train", "C5", *flags, "--to", str(tmp_path / "runs")]) == 2
    assert "must be" in capsys.readouterr().err.replace("both ", "")
    assert not (tmp_path / "runs").exists()
