"""The experiments on chain of thought, with tiny networks."""

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
import torch

from analysis.evaluate import evaluate_run
from interp.models.config import DecoderConfig, IterationHeadConfig
from interp.runs.recipe import FineTuning, Recipe, Schedule, recipe_from_json
from interp.runs.run import find_runs
from paper.chain_of_thought import __main__ as command
from paper.chain_of_thought import mixed, positions, published, transfer
from paper.chain_of_thought.averages import Heading, averages, mean_and_sd
from paper.chain_of_thought.experiments import EXPERIMENTS, Cell
from paper.chain_of_thought.report import Results
from paper.chain_of_thought.scores import best_head
from paper.command import run_module
from tasks.iteration import Mixed, Parity, Polynomial, problems
from training.train import train

CPU = torch.device("cpu")
SIZES = {"max_length": 3, "n_per_length": 16}
PARITY = Parity(**SIZES)
POLYNOMIAL = Polynomial(modulus=3, **SIZES)
MIXED = Mixed(mix=("copy", "parity"), **SIZES)
PUBLISHED = {"max_length": 3, "n_per_length": 16, "preset": "published"}
MLP = ("blocks.1.mlp.*",)


def cell(labels, task, start: str | None = None, trained=(), every_checkpoint=False) -> Cell:
    """A network that takes four steps, with a checkpoint every two."""
    schedule = Schedule(4, batch_size=8, checkpoint_every=2, log_every=2)
    recipe = Recipe(task, DecoderConfig(d_model=8), schedule=schedule)
    return Cell(labels, replace(recipe, fine_tuning=FineTuning(start, trained)), every_checkpoint)


def checkpoint(folder: Path, name: str, step: int) -> str:
    return str(folder / f"{name}_seed{{seed}}" / "checkpoints" / f"step_{step:07d}.safetensors")


def tiny_published(small, folder):
    task, begin = Parity(**PUBLISHED), checkpoint(folder, "polynomial", 2)
    polynomial = Polynomial(modulus=3, **PUBLISHED)
    yield cell({"experiment": "polynomial"}, polynomial, every_checkpoint=True)
    yield cell({"experiment": "polynomial-to-parity"}, task, begin, every_checkpoint=True)


def tiny_scaling(small, folder):
    for kind in ("cot", "no-cot"):
        labels = {"problem": "parity", "kind": kind, "max_length": 3, "d_model": 8}
        yield cell(labels, replace(PARITY, chain_of_thought=kind == "cot"))


def tiny_positions(small, folder):
    for name in ("learned", "none"):
        made = cell({"positions": name}, replace(POLYNOMIAL, longest=5))
        model = DecoderConfig(d_model=8, positions=name)
        yield replace(made, recipe=replace(made.recipe, model=model))


def tiny_slack(small, folder):
    task = replace(PARITY, chain_of_thought=False, slack=2, targets="final")
    yield cell({"problem": "parity", "variant": "slack-2"}, task)


def tiny_transfer(small, folder):
    begin = checkpoint(folder, "scratch_copy_all", 4)
    for source, target, part, start, trained in (
        ("scratch", "copy", "all", None, ()),
        ("copy", "parity", "all", begin, ()),
        ("copy", "parity", "last-mlp", begin, MLP),
    ):
        labels = {"source": source, "target": target, "trained": part}
        yield cell(labels, replace(MIXED, drawn=(target,)), start, trained)


def tiny_mixed(small, folder):
    yield cell({"problems": "copy+parity"}, MIXED)


def tiny_ablations(small, folder):
    yield cell({"changed": "nothing", "value": ""}, PARITY)
    yield cell({"changed": "n_per_length", "value": 8}, replace(PARITY, n_per_length=8))


TINY = {kind: globals()[f"tiny_{kind}"] for kind in EXPERIMENTS}


def run(out: Path, *arguments: str) -> int:
    given = [*arguments, "--to", str(out / "runs"), "--out", str(out), "--quiet"]
    return run_module(command.Options, "paper.chain_of_thought", command.carry_out, given)


@pytest.fixture
def tiny(monkeypatch):
    """Tiny experiments, and a list of the static pictures that would be drawn."""
    drawn: list[str] = []
    monkeypatch.setattr(command, "EXPERIMENTS", TINY)
    monkeypatch.setattr(command, "write_static", lambda figures: drawn.extend(map(str, figures)))
    return drawn


@pytest.fixture(scope="module")
def outcome(tmp_path_factory):
    """The folder of all experiments, trained with two seeds, and the pictures."""
    out = tmp_path_factory.mktemp("experiments")
    with pytest.MonkeyPatch.context() as patch:
        drawn: list[Path] = []
        patch.setattr(command, "EXPERIMENTS", TINY)
        patch.setattr(command, "write_static", drawn.extend)
        assert run(out, "--small", "--seeds", "0..1") == 0
    return out, [path.name for path in drawn]


@pytest.mark.slow
def test_every_experiment_has_its_files(outcome):
    out, drawn = outcome
    for kind in EXPERIMENTS:
        name = f"{kind}-small"
        table = pd.read_csv(out / f"{name}.csv")
        n_cells = len(list(TINY[kind](True, out / "runs" / name)))
        assert len(table) == 2 * n_cells and sorted(set(table["seed"])) == [0, 1]
        text = (out / f"{name}.md").read_text()
        assert f"`python -m paper.chain_of_thought {kind} --small --seeds 0..1`" in text
        assert "nan" not in text and "Failed" not in text
        assert "plotly" in (out / f"{name}.html").read_text()[:100_000]
        assert any(picture.startswith(f"{name}_") for picture in drawn)
    assert len(set(drawn)) == len(drawn)


@pytest.mark.slow
def test_the_page_has_the_means_and_deviations_of_the_csv(outcome):
    out, _ = outcome
    text = (out / "ablations-small.md").read_text()
    for _, rows in pd.read_csv(out / "ablations-small.csv").groupby("changed"):
        first, second = rows["token_accuracy"]
        deviation = f" ± {abs(first - second) / 2**0.5:.3f}" if first != second else ""
        assert f"| 2 | {(first + second) / 2:.3f}{deviation} |" in text


@pytest.mark.slow
def test_started_again_it_trains_nothing_and_says_the_same(outcome, tiny):
    out, _ = outcome
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*.safetensors")}
    tables = {path: path.read_text() for kind in ("csv", "md") for path in out.glob(f"*.{kind}")}
    assert run(out, "published", "transfer", "--small", "--seeds", "0..1") == 0
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*.safetensors")} == before
    assert {path: path.read_text() for path in tables} == tables
    assert tiny == [
        str(out / name)
        for name in ("published-small_curves", "transfer-small_after", "transfer-small_curves")
    ]


@pytest.mark.slow
def test_the_recipes_are_those_that_are_trained(outcome, tiny, capsys):
    out, _ = outcome
    assert run(out, "--small", "--seeds", "0..1", "--recipes") == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    trained = {str(run.path): run.recipe for run in find_runs(out / "runs")}
    assert {line["run"]: recipe_from_json(json.dumps(line)) for line in lines} == trained
    assert len(lines) == len(trained)


@pytest.mark.slow
def test_epochs_are_counted_from_the_steps_and_go_on_where_tuning_began(outcome):
    out, _ = outcome
    final = pd.read_csv(out / "published-small.csv").set_index(["experiment", "seed"])
    table = pd.read_csv(out / "published-small_epochs.csv")
    # 24 sequences to train on are 3 minibatches of 8.
    assert list(table["epoch"].head(3)) == [0, 2 / 3, 4 / 3]
    tuned = table["experiment"] == "polynomial-to-parity"
    assert set(table.loc[tuned, "begun"]) == {2 / 3} and set(table.loc[~tuned, "begun"]) == {0}
    last = table.groupby(["experiment", "seed"], sort=False)["sequence_accuracy"].last()
    pd.testing.assert_series_equal(last, final["sequence_accuracy"])


def test_a_failure_leaves_the_others(tmp_path, tiny, monkeypatch, capsys):
    def partly(small, folder):
        yield cell({"changed": "nothing", "value": ""}, PARITY)
        yield cell({"changed": "start", "value": 1}, PARITY, start=str(folder / "absent"))

    monkeypatch.setitem(TINY, "ablations", partly)
    assert run(tmp_path, "ablations", "--seeds", "0") == 1
    told = capsys.readouterr().err
    assert len(told.splitlines()) == 1
    assert told.startswith("interp: ablations, start_1: start_from is") and "absent" in told
    assert list(pd.read_csv(tmp_path / "ablations.csv")["changed"]) == ["nothing"]
    assert "Failed, and not in the tables: start_1." in (tmp_path / "ablations.md").read_text()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["positons"], "there is no experiment 'positons': there are published, scaling,"),
        (["positons"], "did you mean 'positions'?"),
        (["--seeds", "0..x"], "write them as 0..3 or 1,5,7"),
        (["--device", "tpu"], "tpu"),
    ],
)
def test_a_wrong_request_is_told_in_one_line(arguments, message, tmp_path, capsys):
    assert run(tmp_path, *arguments) == 2
    told = capsys.readouterr().err
    assert message in told and len(told.splitlines()) == 1
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("small", [True, False])
@pytest.mark.parametrize("kind", EXPERIMENTS)
def test_networks_have_their_own_folders_and_begin_where_others_were_saved(kind, small):
    cells = list(EXPERIMENTS[kind](small, Path("runs")))
    assert max(Counter(cell.name for cell in cells).values()) == 1
    saved: set[str] = set()
    for made in cells:
        begin = made.recipe.fine_tuning.start_from
        assert begin is None or begin in saved
        steps = made.recipe.schedule.checkpoint_steps()
        saved |= {checkpoint(Path("runs"), made.name, step) for step in steps}


def circuit(folder: Path, task):
    """An evaluated run of the network that is set by hand."""
    (made,) = train([Recipe(task, IterationHeadConfig(), schedule=Schedule(0))], folder)
    assert not evaluate_run(made)
    return made


def test_the_circuit_generalises(tmp_path):
    made = circuit(tmp_path, replace(POLYNOMIAL, longest=5))
    row = positions.measure(made, CPU)
    heads = {name: row.pop(name) for name in list(row) if name.endswith(("head", "head_longest"))}
    assert heads == {"x_t_head": "L1H0", "EoI_head": "L0H0", "x_t_head_longest": "L1H0"}
    assert row.pop("chance_longest") == pytest.approx(3.0**-5)
    assert row.pop("first_wrong_longest") == 6  # none of 5 is wrong
    assert row.pop("guess") == pytest.approx(2 / 3)  # 1 after 0, else one of two
    assert set(row.values()) == {1}
    steps = positions.steps(made, CPU)
    assert list(steps["t"]) == [1, 2, 3, 4, 5] and set(steps["trained"]) == {3}
    assert set(steps["teacher_forced"]) == {1} and set(steps["length"]) == {5}


def test_the_best_guess_from_the_state_before():
    assert positions.guess(problems.polynomial(5)) == pytest.approx(0.4)
    assert positions.guess(problems.parity()) == positions.guess(problems.copy()) == 0.5
    assert positions.guess(problems.prefix_product("S3")) == pytest.approx(1 / 6)


def test_the_circuit_uses_one_head_for_all_problems(tmp_path):
    task = Mixed(mix=("copy", "polynomial:3", "parity"), drawn=("copy", "polynomial:3"), **SIZES)
    table = mixed.problems(circuit(tmp_path, task), CPU).set_index("problem")
    assert list(table.index) == ["copy", "polynomial:3"]
    assert len(set(table["x_t_head"])) == 1 and set(table["same_head"]) == {1}
    for column in ("token_accuracy", "sequence_accuracy", "x_t_score", "EoI_score", "swap"):
        assert set(table[column]) == {1}
    assert (table["knock_out"] > 0.1).all()


def test_the_best_head_of_a_role():
    shares = {"L0H0:x_t": 0.1, "L1H2:x_t": 0.7, "L1H0:x_t": 0.2, "L0H1:EoI": 0.9}
    assert best_head(shares, "x_t") == {"x_t_score": 0.7, "x_t_head": "L1H2"}
    none = best_head({}, "x_t")
    assert none["x_t_head"] == "" and none["x_t_score"] != none["x_t_score"]


def test_means_of_what_is_known():
    nan = float("nan")
    assert mean_and_sd(pd.Series([0.5, 0.7])) == "0.600 ± 0.141"
    assert mean_and_sd(pd.Series([0.25, 0.25, 0.25])) == "0.250"
    assert mean_and_sd(pd.Series([100.0, nan, 140.0]), ".0f") == "120 ± 28 (2 of 3)"
    assert mean_and_sd(pd.Series([nan, nan])) == "–"


def test_averages_are_over_the_seeds_of_each_network():
    rows = {"name": ["b", "a", "b"], "lr": [1e-3, 1, 1e-3], "x": [1.0, 3.0, 2.0], "head": [*"hgf"]}
    table = averages(
        pd.DataFrame(rows), ["name", "lr"], {"x": Heading("X", ".1f"), "head": Heading("H")}
    )
    assert table.to_dict(orient="list") == {
        "name": ["b", "a"],
        "lr": ["0.001", "1.0"],
        "seeds": ["2", "1"],
        "X": ["1.5 ± 0.7", "3.0"],
        "H": ["f, h", "g"],
    }


def test_published_values_stand_beside_our_nearest_epoch():
    epochs = range(0, 181, 10)
    ours = {"experiment": "parity", "epoch": epochs, "x_t_score": 0.5}
    table = published.beside_published(
        pd.DataFrame(ours).assign(sequence_accuracy=lambda rows: rows["epoch"] / 1000)
    )
    at = table.set_index("epoch")
    assert set(at["network"]) == {"parity"}
    assert list(at.index) == ["60", "150", "180", "200", "300", "500", "1000"]
    assert list(at["sequences"]) == ["0.060", "0.150", "0.180", *["–"] * 4]
    assert list(at["sequences, published"]) == ["0.175", "0.45", "–", "0.6", "0.77", "0.87", "0.95"]
    assert at.loc["150", "L1H0 to x_t, published"] == "0.41"


def test_an_encoding_generalises_in_all_seeds_or_some_or_none():
    accuracy = {"a": (0.96, 0.95), "b": (0.96, 0.94), "c": (0.2, 0.94)}
    rows = [
        {
            **dict.fromkeys(positions.HEADINGS, 0.5),
            "positions": name,
            "token_accuracy_beyond": value,
        }
        for name, values in accuracy.items()
        for value in values
    ]
    (table,) = positions.tables(Results(["positions"], pd.DataFrame(rows), pd.DataFrame())).values()
    assert list(table["generalises"]) == ["yes", "1 of 2", "no"]


@pytest.mark.slow
def test_the_matrix_has_scratch_first_and_nothing_from_a_problem_to_itself(outcome):
    out, _ = outcome
    rows = pd.read_csv(out / "transfer-small.csv")
    found = transfer.matrix(rows, "last-mlp", "token_accuracy")
    assert list(found.index) == ["scratch", "copy"] and list(found) == ["copy", "parity"]
    assert found.isna().to_numpy().tolist() == [[False, True], [True, False]]
    picked = (rows["trained"] == "last-mlp") & (rows["target"] == "parity")
    assert found.loc["copy", "parity"] == pytest.approx(rows.loc[picked, "token_accuracy"].mean())
