"""What the README tells a user to type works, with fewer steps."""

import re
import runpy
import shlex
import sys
from pathlib import Path

import pytest

from interp.cli import main

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
FASTER = {
    "PUBLISHED_DIR": str(ROOT / "tests" / "data" / "published"),
    "my_module:MyTask": "larger_last:LargerLast",
    "my_module:my_metric": "larger_last:attention_to_separator",
    "my_module": "larger_last",
    "50": "4",  # pairs
}


def blocks(language: str, page: str = README) -> list[str]:
    """A page's code blocks of a language, in order."""
    return re.findall(rf"```{language}\n(.*?)```", page, flags=re.DOTALL)


def commands() -> list[list[str]]:
    """Every `interp` and `python -m` command, in order."""
    lines = [line.partition("  #")[0] for block in blocks("sh") for line in block.splitlines()]
    lines += re.findall(r"`(python -m [^`]*)`", README)
    words = [shlex.split(line) for line in lines if line.startswith(("interp ", "python -m "))]
    return [[FASTER.get(word, word) for word in command] for command in words]


def run(command: list[str]) -> int:
    if command[0] == "interp":
        is_trained = command[1] == "train" and "iteration_head" not in command
        fewer = ["--steps", "30", "--checkpoints", "3"] if is_trained else []
        if command[1] == "llc":
            fewer = ["--budget", "240"] if command[2] == "calibrate" else LITTLE
            fewer = [*fewer, "--chains", "2"]
        return main([*command[1:], *fewer, *(["--quiet"] if command[1] in QUIET else [])])
    with pytest.MonkeyPatch.context() as patch, pytest.raises(SystemExit) as done:
        patch.setattr(sys, "argv", command[2:])
        for name in (command[2], f"{command[2]}.__main__"):
            sys.modules.pop(name, None)
        runpy.run_module(command[2], run_name="__main__")
    return int(done.value.code or 0)


QUIET = ("train", "evaluate", "llc")
LITTLE = ["--draws", "4", "--full-every", "2", "--burn-in", "2"]


def test_every_command_works(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(ROOT / "tests" / "second_task"))
    given = commands()
    assert len(given) >= 9
    for command in given:
        assert run(command) == 0, (command, capsys.readouterr().err)
    assert (tmp_path / "report.html").exists() and (tmp_path / "tables" / "merge.csv").exists()
    capsys.readouterr()
    _, thoughts, circuits, _ = blocks("python")
    exec(compile(thoughts, "README.md", "exec"), {})
    assert "swap_through_last_mlp" in capsys.readouterr().out
    exec(compile(circuits, "README.md", "exec"), {})
    assert "'auroc': 0.9" in capsys.readouterr().out


def test_the_python_examples_work(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    program, _, _, training = blocks("python")
    exec(compile(program, "README.md", "exec"), {})
    answers, *explanation = capsys.readouterr().out.splitlines()
    assert answers == "[[False, True, False, False]]"
    assert any(line.startswith("L0H0") and "left = " in line for line in explanation)
    exec(compile(training, "README.md", "exec"), {})
    irreps, numbers = capsys.readouterr().out.splitlines()
    assert irreps == "['trivial', 'standard', '5d_a', '3d_a', '3d_b']"
    assert float(numbers.split()[0]) > 0


def test_the_guide_to_chain_of_thought_works(capsys):
    names: dict[str, object] = {}
    for example in blocks("python", (ROOT / "docs" / "chain_of_thought.md").read_text()):
        exec(compile(example, "chain_of_thought.md", "exec"), names)
    printed = capsys.readouterr().out
    assert "1: 1.0" in printed  # as published, all short test sequences were trained on
    assert "counter -1 1 1 EoI 3 0 1" in printed
    assert "swap_through_last_mlp" in printed


def test_the_guide_to_causal_analysis_works(capsys):
    names: dict[str, object] = {}
    for example in blocks("python", (ROOT / "docs" / "causal.md").read_text()):
        exec(compile(example, "causal.md", "exec"), names)
    printed = capsys.readouterr().out
    assert "('mirror', 'token', 'own', 'example')" in printed
    assert "('layer', 'head', 'position')" in printed
    assert "'faithfulness': 1.0" in printed or "'faithfulness': 0.99" in printed
    assert "'auroc': 1.0" in printed


def test_the_guide_to_local_learning_coefficients_works(capsys):
    page = (ROOT / "docs" / "llc.md").read_text()
    (example,) = blocks("python", page)
    exec(compile(example, "llc.md", "exec"), {})
    untrained, shift = capsys.readouterr().out.splitlines()
    assert untrained.startswith("no estimate: ") and "w* is not a minimum" in untrained
    assert shift.removeprefix("-") == "0.000 ()"


def test_the_guide_to_rasp_works(capsys):
    names: dict[str, object] = {}
    for example in blocks("python", (ROOT / "docs" / "rasp.md").read_text()):
        exec(compile(example, "rasp.md", "exec"), names)
    printed = capsys.readouterr().out
    assert "share = aggregate(select(indices, indices, <=), numerical(tokens == 'x'))" in printed
    assert "[[Fraction(0, 1), Fraction(1, 2), Fraction(2, 3)]]" in printed
    assert "all agree" in printed
    assert "embed->L0H0.q" in printed


def test_the_folders_and_files_it_links_to_exist():
    for link in re.findall(r"\]\(([^)#:]+)\)", README):
        assert (ROOT / link).exists(), link
