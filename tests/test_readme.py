"""What the README tells a user to type works, with fewer steps."""

import re

import pytest
from documented import ROOT, blocks, commands, run

README = (ROOT / "README.md").read_text()
FASTER = {
    "PUBLISHED_DIR": str(ROOT / "tests" / "data" / "published"),
    "my_module:MyTask": "larger_last:LargerLast",
    "my_module:my_metric": "larger_last:attention_to_separator",
    "my_module": "larger_last",
    "50": "4",  # pairs
}


@pytest.mark.slow
def test_every_command_works(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(ROOT / "tests" / "second_task"))
    given = commands(README, FASTER)
    assert len(given) >= 9
    for command in given:
        assert run(command) == 0, (command, capsys.readouterr().err)
    assert (tmp_path / "report.html").exists() and (tmp_path / "tables" / "merge.csv").exists()
    capsys.readouterr()
    _, thoughts, circuits, _ = blocks("python", README)
    exec(compile(thoughts, "README.md", "exec"), {})
    assert "swap_through_last_mlp" in capsys.readouterr().out
    exec(compile(circuits, "README.md", "exec"), {})
    assert "'auroc': 0.9" in capsys.readouterr().out


def test_the_python_examples_work(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    program, _, _, training = blocks("python", README)
    exec(compile(program, "README.md", "exec"), {})
    answers, *explanation = capsys.readouterr().out.splitlines()
    assert answers == "[[False, True, False, False]]"
    assert any(line.startswith("L0H0") and "left = " in line for line in explanation)
    exec(compile(training, "README.md", "exec"), {})
    irreps, numbers = capsys.readouterr().out.splitlines()
    assert irreps == "['trivial', 'standard', '5d_a', '3d_a', '3d_b']"
    assert float(numbers.split()[0]) > 0


def test_the_folders_and_files_it_links_to_exist():
    for link in re.findall(r"\]\(([^)#:]+)\)", README):
        assert (ROOT / link).exists(), link
