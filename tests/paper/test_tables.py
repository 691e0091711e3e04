"""The publication's tables against numbers worked out by hand, and against the published ones."""

import json
import math
import shutil
import subprocess

import pandas as pd
import pytest

from analysis.representation.published_names import TOTALS
from interp.cli import main
from interp.models.config import MLPConfig
from paper.tables import Table, _escaped, group_label, latex


def tables(tmp_path, *more: str) -> int:
    arguments = ["--runs", str(tmp_path / "runs"), "--out", str(tmp_path / "out"), *more]
    return main(["tables", *arguments])


def read(tmp_path, name: str) -> str:
    return (tmp_path / "out" / name).read_text()


@pytest.fixture
def two_seeds(made_run):
    made_run("a", "C5", seed=1, values={"loss/test": 1e-5, "hidden/fve": 0.9})
    made_run(
        "b",
        "C5",
        seed=2,
        values={"loss/test": 3e-5, "hidden/fve": 0.8, "key_irreps": ["freq_2", "freq_1"]},
    )
    made_run("c", "S3", "transformer", seed=3, values={"hidden/excluded_loss": 12.5})
    made_run("d", "A4", seed=1, values={"loss/test": 1.0})


def test_averages_and_deviations_are_those_worked_out_by_hand(tmp_path, two_seeds):
    assert tables(tmp_path) == 0
    row = pd.read_csv(tmp_path / "out/mlp_avg.csv").set_index("Group").loc["$C_{5}$"]
    assert row["MSeeds"] == 2
    assert row["MTest Loss"] == pytest.approx(2e-5, rel=1e-12)
    assert row["MTest Loss sd"] == pytest.approx(math.sqrt(2) * 1e-5, rel=1e-12)
    assert row["MMLP FVE"] == pytest.approx(0.85, rel=1e-12)
    line = next(x for x in read(tmp_path, "mlp_avg.md").splitlines() if "$C_{5}$" in x)
    assert "| 2.00e-05 ± 1.41e-05 |" in line and "| 85.00% ± 7.07% |" in line


def test_one_seed_has_no_deviation(tmp_path, two_seeds):
    tables(tmp_path)
    row = pd.read_csv(tmp_path / "out/transformer_avg.csv").iloc[0]
    assert row["TExc. Loss"] == 12.5 and math.isnan(row["TExc. Loss sd"])
    assert "| 12.50 |" in read(tmp_path, "transformer_avg.md")


def test_rows_columns_and_irreps_are_laid_out_as_published(tmp_path, two_seeds):
    tables(tmp_path)
    runs = pd.read_csv(tmp_path / "out/mlp_all.csv")
    assert list(runs["Group"]) == ["$C_{5}$", "$C_{5}$", "$A_{4}$"]  # C, D, S, A
    assert list(runs["Key Irreps"])[1] == "2, 1"
    expected = "Group,Seed,Key Irreps,Test Loss,Exc. Loss,Res. Loss,Logit FVE,$W_a$ FVE,$W_b$ FVE"
    assert ",".join(runs.columns).startswith(expected)
    transformers = pd.read_csv(tmp_path / "out/transformer_all.csv")
    assert "$W_E$ FVE" in transformers and "$W_b$ FVE" not in transformers
    averages = pd.read_csv(tmp_path / "out/mlp_avg.csv")
    assert list(averages["Group"]) == ["$A_{4}$", "$C_{5}$"]  # alphabetical
    merged = pd.read_csv(tmp_path / "out/merge.csv")
    assert list(merged["Group"]) == ["$A_{4}$", "$C_{5}$", "$S_{3}$"]


def test_averages_of_the_published_runs_print_as_published(tmp_path, made_run, published):
    corrected = json.loads((published / "corrected.json").read_text())
    for seed in range(1, 5):
        known = corrected[f"S5_MLP_seed{seed}"]
        values = {ours: known[theirs] for theirs, ours in TOTALS.items() if theirs in known}
        made_run(f"S5_{seed}", "S5@published", seed=seed, values=values)
    tables(tmp_path)
    folder = published.parent / "published_tables"
    theirs = pd.read_csv(folder / "mlp_avg.csv", dtype=str).set_index("Group").loc["$S_{5}$"]
    lines = read(tmp_path, "mlp_avg.tex").splitlines()
    headings, means = lines[2].removesuffix(r" \\"), lines[4].removesuffix(r" \\")
    ours = dict(zip(headings.split(" & "), means.split(" & "), strict=True))
    assert {heading: ours[heading] for heading in theirs.index} == dict(theirs)


def test_latex_is_a_complete_booktabs_tabular(tmp_path, two_seeds):
    tables(tmp_path)
    for name in ("mlp_all", "transformer_all", "mlp_avg", "transformer_avg", "merge"):
        lines = read(tmp_path, f"{name}.tex").splitlines()
        width = lines[0].removeprefix(r"\begin{tabular}{").removesuffix("}")
        assert set(width) == {"c"} and lines[-1] == r"\end{tabular}"
        assert [lines[1], lines[3], lines[-2]] == [r"\toprule", r"\midrule", r"\bottomrule"]
        for row in [lines[2], *lines[4:-2]]:
            assert row.endswith(r" \\") and row.count(" & ") == len(width) - 1
            assert row.count("$") % 2 == 0 and row.count("{") == row.count("}")


def test_latex_escapes_text_but_not_formulas():
    assert _escaped(r"99% of $W_a$ & a_b #1") == r"99\% of $W_a$ \& a\_b \#1"
    data = pd.DataFrame({"Group": ["$C_{5}$"], "MLP FVE": [0.5]})
    assert r"$C_{5}$ & 50.00\% \\" in latex(Table("x", data))


def test_group_labels():
    assert group_label("C113") == "$C_{113}$"
    assert group_label("C2xS4") == r"$C_{2} \times S_{4}$"
    assert group_label("(0 1 2)") == "(0 1 2)"


def test_what_is_not_in_the_tables_is_listed_with_the_reason(tmp_path, made_run, capsys):
    made_run("done", "S5@published", seed=1, values={})
    made_run("plain", "S5@published", seed=2)
    made_run("begun", "S5@published", seed=3, step=4)
    made_run("narrow", "S5@published", seed=1, values={}, model=MLPConfig(64, 32))
    made_run("far", "S5@published", seed=5, values={})
    assert tables(tmp_path) == 0
    assert "1 runs in the tables, 55 of 56 missing" in capsys.readouterr().out
    page = read(tmp_path, "runs.md")
    assert "- S5 mlp seed 2: not evaluated (`interp evaluate " in page
    assert "- S5 mlp seed 3: trained to step 4 of 10" in page
    assert "- S5 mlp seed 4: not there" in page and "S5 mlp seed 1" not in page
    assert "## Missing of the publication's 56 (55)" in page
    assert "- narrow: not of the publication's table" in page and "- far: not of" in page


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--runs", "nowhere", "--out", "x"], "there is no run"),
        (["--runs", "nowhere"], "--out is missing"),
        (["--runs", "x", "--out", "x", "--publish", "x"], "did you mean '--published'?"),
    ],
)
def test_a_wrong_request_is_told_in_one_line(arguments, message, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["tables", *arguments]) == 2
    told = capsys.readouterr().err
    assert message in told and len(told.splitlines()) == 1
    assert not (tmp_path / "x").exists()


def test_two_runs_for_one_row_are_refused(tmp_path, made_run, capsys):
    made_run("a", "C5", values={})
    made_run("b", "C5", values={})
    assert tables(tmp_path) == 2
    assert "are both C5 mlp seed 1" in capsys.readouterr().err


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="there is no pdflatex")
def test_every_table_compiles(tmp_path, two_seeds):
    tables(tmp_path)
    names = sorted(path.stem for path in (tmp_path / "out").glob("*.tex"))
    assert len(names) == 5
    inputs = "\n".join(rf"\input{{{name}}}\par" for name in names)
    head = r"\documentclass{article}\usepackage{booktabs}\begin{document}\tiny"
    page = tmp_path / "out" / "page.tex"
    page.write_text(f"{head}\n{inputs}\n\\end{{document}}\n")
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", page.name]
    done = subprocess.run(command, cwd=page.parent, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-2000:]
    assert page.with_suffix(".pdf").stat().st_size > 0
