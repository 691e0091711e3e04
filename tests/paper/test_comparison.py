"""Every difference from the published values has a name, and nothing else gets one."""

import json

import pandas as pd
import pytest

from analysis.representation.published_names import TOTALS
from interp.cli import main
from interp.runs.published import published_recipe
from paper.comparison import A5, CYCLIC, S6, SQUARES, UNEXPLAINED, agree
from tasks.groups import find_irrep


def compared(tmp_path, published) -> pd.DataFrame:
    arguments = ["--runs", str(tmp_path / "runs"), "--out", str(tmp_path / "out")]
    arguments += ["--published", str(published)]
    assert main(["tables", *arguments]) == 0
    return pd.read_csv(tmp_path / "out/comparison.csv", keep_default_na=False)


def imported(made_run, name, recipe, values):
    architecture = "transformer" if recipe.task.equals_token else "mlp"
    group, seed = recipe.task.group, recipe.init_seed
    made_run(name, group, architecture, seed, values).write_manifest(imported_from="somewhere")


@pytest.fixture
def corrected(made_run, published):
    """Runs whose measurements are the corrected headline values, where any are given."""
    for name, known in json.loads((published / "corrected.json").read_text()).items():
        recipe = published_recipe(json.loads((published / name / "cfg.json").read_text()))
        values = {TOTALS[k]: v for k, v in known.items() if k in TOTALS and v is not None}
        group = recipe.task.finite_group
        values["key_irreps"] = [find_irrep(group, irrep).name for irrep in known["key_reps"]]
        if recipe.task.equals_token:
            values["weights/sum_of_squares"] = 700.0
        imported(made_run, name, recipe, values)


def test_each_known_defect_is_named_and_nothing_is_unexplained(tmp_path, corrected, published):
    cells = compared(tmp_path, published)
    assert cells["run"].nunique() == 12 and UNEXPLAINED not in set(cells["defect"])
    by_cell = cells.set_index(["run", "column"])["defect"]
    assert by_cell["C113_MLP_seed1", "total_hidden_restricted_loss"] == CYCLIC
    assert by_cell["C118_T_seed1", "percent_hidden_explained"] == CYCLIC
    assert by_cell["C113_MLP_seed1", "percent_x_embed_explained"] == ""
    assert by_cell["A5_T_seed2", "percent_unembed_explained"] == A5
    assert by_cell["A5_T_seed2", "key irreps"] == A5
    assert by_cell["A5_MLP_seed2", "test_loss"] == ""
    assert by_cell["S5_T_seed1", "sum_of_squared_weights"] == SQUARES
    defective = cells[cells["defect"] != ""]
    assert not defective["run"].str.match("S5_MLP|S6_MLP").any()
    assert set(defective.loc[defective["run"].str.match("D59|S5"), "defect"]) == {SQUARES}


def test_an_unexplained_difference_is_shown_loudly(
    tmp_path, corrected, published, capsys, made_run
):
    run = made_run("S5_MLP_seed2", "S5@published", seed=2)
    run.write_json("summary.json", run.summary() | {"logits/fve": 0.85})
    cells = compared(tmp_path, published)
    loud = cells[cells["defect"] == UNEXPLAINED]
    assert list(zip(loud["run"], loud["column"], strict=True)) == [
        ("S5_MLP_seed2", "percent_logits_explained")
    ]
    assert "WARNING: 1 UNEXPLAINED" in (tmp_path / "out/comparison.md").read_text()
    assert "1 unexplained differences" in capsys.readouterr().err


@pytest.fixture
def published_s6(tmp_path):
    folder = tmp_path / "published/S6_T_seed1"
    folder.mkdir(parents=True)
    config = {"model": "Transformer", "group": "SymmetricGroup", "group_parameter": 6, "seed": 1}
    config |= {"frac_train": 0.4, "num_epochs": 10, "lr": 0.001, "weight_decay": 1, "layers": {}}
    (folder / "cfg.json").write_text(json.dumps(config | {"betas": [0.9, 0.98]}))
    losses = {"train_loss": 8e-6, "test_loss": 7.9e-6, "percent_x_embed_explained": 0.9}
    (folder / "summary_metrics.json").write_text(json.dumps(losses))
    return folder


def test_the_s6_defect_explains_a_factor_of_eight_and_no_other(tmp_path, made_run, published_s6):
    recipe = published_recipe(json.loads((published_s6 / "cfg.json").read_text()))
    values = {"loss/train": 1e-6, "loss/test": 1e-6, "embed_a/fve": 0.9}
    imported(made_run, "S6_T_seed1", recipe, values)
    cells = compared(tmp_path, published_s6.parent).set_index("column")["defect"]
    assert dict(cells) == {
        "train_loss": S6,
        "test_loss": UNEXPLAINED,
        "percent_x_embed_explained": "",
    }


def test_runs_trained_here_are_compared_in_averages_only(tmp_path, made_run, published_s6):
    for seed, loss in ((1, 1e-6), (2, 3e-6)):
        made_run(f"s{seed}", "S6@published", "transformer", seed, {"loss/test": loss})
    assert compared(tmp_path, published_s6.parent).empty
    averages = pd.read_csv(tmp_path / "out/averages.csv").set_index("column").loc["Test Loss"]
    assert averages["ours mean"] == pytest.approx(2e-6) and averages["ours n"] == 2
    assert averages["published mean"] == 7.9e-6 and averages["published with"] == S6


def test_tolerances():
    assert agree("loss/test", 1.00009, 1.0) and not agree("loss/test", 1.0002, 1.0)
    assert agree("hidden/restricted_loss", 1.0009e-7, 1e-7)
    assert not agree("hidden/excluded_loss", 1.0009e-7, 1e-7)
    assert agree("hidden_a/fve", 0.0, 3e-15) and not agree("loss/train", 0.0, 3e-15)


def test_a_folder_without_published_runs_is_refused(tmp_path, made_run, capsys):
    made_run("a", values={})
    arguments = ["--runs", str(tmp_path / "runs"), "--out", str(tmp_path / "out")]
    arguments += ["--published", str(tmp_path / "runs")]
    assert main(["tables", *arguments]) == 2
    assert "holds no published run" in capsys.readouterr().err
