"""`interp patch` and `interp circuit`, on runs of every kind."""

import pandas as pd
import pytest
import xarray as xr

from analysis.circuits import edge_scores
from analysis.circuits.transformer_graph import TransformerGraph
from analysis.patching import sweep
from interp.cli import main
from interp.known_circuit import known_circuit
from interp.models.transformer import TaskTransformer
from interp.runs.run import Run
from tasks.pairs import joined

QUICK = ["--pairs", "5"]
KINDS = {
    "group": (["S3", "--equals-token", "--model", "transformer", "--d-model", "16"], "first"),
    "mlp": (["S3", "--d-embed", "8", "--d-mlp", "8"], "second"),
    "iteration": (["parity", "--max-length", "3", "--d-model", "8"], "x_t"),
    "head": (["parity", "--max-length", "3", "--model", "iteration_head"], "x_t"),
    "sequence": (["reverse", "--vocab", "a..c", "--max-length", "4"], "mirror"),
}


@pytest.fixture(scope="module", params=[*KINDS, "compiled"])
def made(request, tmp_path_factory):
    """A run, and a variable of its task."""
    folder = tmp_path_factory.mktemp(request.param)
    if request.param == "compiled":
        flags = ["--vocab", "a..c", "--max-length", "4", "--to", str(folder), "--check-random", "1"]
        assert main(["compile", "palindrome", *flags]) == 0
        return Run(folder), "mirror"
    flags, variable = KINDS[request.param]
    steps = [] if request.param == "head" else ["--steps", "2", "--checkpoints", "1"]
    assert main(["train", *flags, *steps, "--to", str(folder), "--quiet"]) == 0
    (path,) = folder.iterdir()
    return Run(path), variable


def test_patching_writes_what_the_sweep_measured(made, capsys):
    run, variable = made
    assert main(["patch", str(run.path), "--variable", variable, *QUICK]) == 0
    folder = run.path / "causal" / f"patching_noise_{variable}_step_{run.final_step:07d}"
    assert str(folder) in capsys.readouterr().out
    table = pd.read_csv(folder / "patching.csv")
    arrays = xr.load_dataset(folder / "patching.nc", engine="scipy")
    pairs = run.recipe.task.pairs(variable, n=5)
    assert len(table["hook"].unique()) >= 3
    for hook, rows in table.groupby("hook"):
        found = sweep(run.model(), pairs, hook)
        xr.testing.assert_allclose(arrays[hook], found.values.rename(hook))
        assert len(rows) == found.effect.size
        assert rows["effect"].to_numpy() == pytest.approx(found.effect.values.ravel(), abs=1e-6)
    assert "plotly" in (folder / "patching.html").read_text().lower()
    assert (folder / "attention.html").exists() == isinstance(run.model(), TaskTransformer)


def test_a_circuit_is_written_with_its_scores_its_curve_and_the_truth_if_known(made):
    run, _ = made
    assert main(["circuit", str(run.path), *QUICK, "--metric", "margin"]) == 0
    (folder,) = (run.path / "causal").glob("circuit_exact_corrupted_*")
    table = pd.read_csv(folder / "circuit.csv")
    task = run.recipe.task
    pairs = joined([task.pairs(variable, n=5) for variable in task.variables])
    scores = edge_scores(run.model(), pairs, "margin")
    assert list(table["edge"]) == list(scores.frame()["edge"])
    assert table["magnitude"].to_numpy() == pytest.approx(scores.frame()["magnitude"], abs=1e-6)
    arrays = xr.load_dataset(folder / "circuit.nc", engine="scipy")
    assert arrays["score"].shape == scores.values.shape
    curve = pd.read_csv(folder / "curve.csv")
    assert curve["faithfulness"].iloc[-1] == pytest.approx(1)
    is_known = run.recipe.model.__class__.__name__ in ("CompiledConfig", "IterationHeadConfig")
    assert (folder / "truth.csv").exists() == is_known == ("truth" in table)
    if is_known:
        assert pd.read_csv(folder / "truth.csv")["auroc"].item() == 1
        assert set(table.loc[table["truth"] == "absent", "magnitude"].round(4)) == {0}
        kinds = known_circuit(task, pairs).kinds
        assert dict(zip(table["edge"], table["truth"], strict=True)) == {
            str(edge): kind for edge, kind in kinds.items()
        }


@pytest.fixture
def peak(tmp_path):
    """Compiled for two tokens at most, none of which can be dominant: nothing is variable."""
    flags = ["--vocab", "0,1", "--max-length", "2", "--to", str(tmp_path), "--check-random", "1"]
    assert main(["compile", "dominant_peak", *flags]) == 0
    return tmp_path


def test_a_truth_that_cannot_be_ranked_is_left_out(peak, capsys):
    folder = peak / "causal" / "circuit_exact_corrupted_example_step_0000000"
    folder.mkdir(parents=True)
    (folder / "truth.csv").write_text("of other pairs")
    asked = ["circuit", str(peak), "--variable", "example", *QUICK, "--metric", "margin"]
    assert main(asked) == 0
    errors = capsys.readouterr().err
    assert "truth.csv is left out: 0 of" in errors and errors.count("\n") == 1
    written = {path.name for path in folder.iterdir()}
    assert written == {
        "circuit.csv",
        "circuit.nc",
        "circuit.html",
        "circuit.figures.json",
        "curve.csv",
    }
    assert set(pd.read_csv(folder / "circuit.csv")["truth"]) <= {"constant", "absent"}


def test_the_network_runs_undisturbed_once_for_each_side_of_the_pairs(peak, monkeypatch):
    def record(graph, tokens):
        recorded.append(tokens)
        return original(graph, tokens)

    recorded, original = [], TransformerGraph.record
    monkeypatch.setattr(TransformerGraph, "record", record)
    assert main(["circuit", str(peak), "--variable", "example", *QUICK]) == 0
    assert len(recorded) == 2


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        (["patch", "--hook", "zz"], "there is no hook point 'zz'"),
        (["patch", "--variable", "miror"], "has no variable 'miror'"),
        (["patch", "--step", "7"], "step"),
        (["patch", "--pairs", "0"], "it must be at least 1"),
        (["patch", "--direction", "noice"], "did you mean 'noise'?"),
        (["circuit", "--method", "exakt"], "did you mean 'exact'?"),
        (["circuit", "--ablation", "zeros"], "did you mean 'zero'?"),
        (["circuit", "--metric", "lose"], "did you mean 'loss'?"),
        (["circuit", "--edges", "9999"], "9999 edges are to be drawn"),
    ],
)
def test_a_wrong_request_is_one_line_and_leaves_nothing(request_, message, tmp_path, capsys):
    flags = ["--d-embed", "8", "--d-mlp", "8", "--steps", "1", "--to", str(tmp_path), "--quiet"]
    assert main(["train", "S3", *flags]) == 0
    (run,) = tmp_path.iterdir()
    capsys.readouterr()
    assert main([*request_, str(run)]) == 2
    errors = capsys.readouterr().err
    assert message in errors and errors.count("\n") == 1
    assert not (run / "causal").exists()
