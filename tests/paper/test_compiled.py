"""The table of compiled programs, at tiny sizes."""

import functools

import pandas as pd
import pytest

import paper.compiled
from interp.rasp import PROGRAMS, compile_task
from paper.command import run_module
from paper.compiled import SIZES, Options, Tracr, write_table
from tasks.sequences import Fraction, Histogram, Reverse

HISTOGRAM, FRACTION = Histogram("a..c", max_length=4), Fraction("x,a", max_length=3)
REVERSE = Reverse("a,b", max_length=4)


@pytest.fixture
def tabulate(tmp_path, monkeypatch):
    """Runs the command on tasks of small size: its status, the table and the page."""
    sizes = {HISTOGRAM: Tracr(3, 2, 1000, 3.5), FRACTION: Tracr(2, 1, 71, 7.0), REVERSE: None}
    monkeypatch.setattr(paper.compiled, "SIZES", sizes)

    def run(*arguments):
        given = [*arguments, "--check-random", "5", "--out", str(tmp_path)]
        status = run_module(Options, "paper.compiled", write_table, given)
        table = pd.read_csv(tmp_path / "compiled.csv").set_index("program")
        return status, table, (tmp_path / "compiled.md").read_text()

    return run


def test_the_table_says_what_the_compiled_models_are(tabulate):
    status, table, _ = tabulate()
    assert status == 0 and list(table.index) == ["histogram", "fraction", "reverse"]
    for task in (HISTOGRAM, FRACTION, REVERSE):
        compiled, row = compile_task(task), table.loc[task.name]
        cfg = compiled.model.cfg
        assert row["vocabulary"] == task.vocab and row["max_length"] == task.max_length
        assert [row["layers"], row["heads"], row["d_head"]] == [
            cfg.n_layers,
            cfg.n_heads,
            cfg.d_head,
        ]
        assert row["d_mlp"] == (cfg.d_mlp or 0) and row["d_model"] == cfg.d_model
        blocks = [p for n, p in compiled.model.named_parameters() if n.startswith("blocks.")]
        assert row["parameters"] == sum(p.numel() for p in blocks)
        assert row["non_zero"] == sum(int((p != 0).sum()) for p in blocks)
    assert list(table["inputs"]) == [3 + 9 + 27 + 5, 2 + 4 + 8 + 5, 2 + 4 + 8 + 5]
    assert not table[["network_wrong", "program_wrong"]].any(axis=None)
    assert table["leakage"].between(0, 1e-6).all() and (table["seconds"] > 0).all()


def test_tracr_stands_in_brackets_where_it_is_comparable(tabulate):
    _, table, page = tabulate()
    assert list(table.loc["histogram", "tracr_layers":]) == [3, 2, 1000, 3.5]
    assert table.loc["reverse", "tracr_layers":].isna().all()
    histogram, _, reverse = page.splitlines()[2:]
    assert "| 1 (3) | 1 (2) |" in histogram and " (1,000) | 0." in histogram
    assert " (3.5) | " in histogram and "(" not in reverse


def test_only_named_programs_are_tabulated(tabulate):
    status, table, _ = tabulate("reverse")
    assert status == 0 and list(table.index) == ["reverse"]


def test_a_wrong_program_is_told(tabulate, monkeypatch, capsys):
    monkeypatch.setitem(PROGRAMS, "reverse", PROGRAMS["sort"])
    status, table, _ = tabulate("reverse", "fraction")
    assert status == 1
    # Of two and three tokens, all but the descending ones; five more inputs are random.
    assert 1 + 4 <= table.loc["reverse", "program_wrong"] <= 1 + 4 + 5
    assert table.loc["reverse", "network_wrong"] == table.loc["fraction", "program_wrong"] == 0
    assert "reverse is wrong on some inputs" in capsys.readouterr().err


def test_a_wrong_network_is_told(tabulate, monkeypatch):
    soft = functools.partial(compile_task, hardness=0.01)
    monkeypatch.setattr(paper.compiled, "compile_task", soft)
    status, table, _ = tabulate("reverse")
    assert status == 1
    assert table.loc["reverse", "network_wrong"] > 0 and table.loc["reverse", "leakage"] > 0.1
    assert table.loc["reverse", "program_wrong"] == 0


def test_every_program_has_a_row():
    assert {task.name for task in SIZES} == set(PROGRAMS)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["histogrm"], "there is no program 'histogrm': there are peak, "),
        (["histogrm"], "did you mean 'histogram'?"),
        (["--check-random", "0"], "--check-random is 0: it must be at least 1"),
        (["--check-ranom", "5"], "did you mean '--check-random'?"),
    ],
)
def test_a_wrong_request_is_told_in_one_line(arguments, message, tmp_path, capsys):
    given = [*arguments, "--out", str(tmp_path / "out")]
    assert run_module(Options, "paper.compiled", write_table, given) == 2
    told = capsys.readouterr().err
    assert message in told and len(told.splitlines()) == 1
    assert not (tmp_path / "out").exists()
