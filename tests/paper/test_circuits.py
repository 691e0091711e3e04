"""The benchmark of circuits, at tiny sizes."""

import pandas as pd
import pytest
import torch

import paper.circuit_rows
import paper.circuits
from analysis.circuits import METHODS, setting
from interp.models.graph import Edge
from paper.circuit_rows import why_missed
from paper.circuits import Options, known
from paper.command import run_watched
from tasks.iteration import Parity
from tasks.sequences import Histogram, Peak

ABLATIONS = ("corrupted", "mean")
QUICK = {name: METHODS[name] for name in ("exact", "eap", "random")}


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """The folder of the tables of two circuits."""
    tasks = {"histogram": Histogram("a..c", max_length=3), "parity": Parity(max_length=2)}
    folder = tmp_path_factory.mktemp("tables")
    with pytest.MonkeyPatch.context() as changed:
        changed.setattr(paper.circuits, "TASKS", tasks)
        changed.setattr(paper.circuit_rows, "METHODS", QUICK)
        changed.setattr(paper.circuit_rows, "ABLATIONS", ABLATIONS)
        changed.setattr(paper.circuit_rows, "N_DRAWS", 10)
        changed.setattr(paper.circuit_rows, "N_CURVES", 2)
        given = ["--pairs", "6", "--out", str(folder), "--quiet"]
        assert run_watched(Options, "paper.circuits", paper.circuits.benchmark, given) == 0
    return folder


def test_the_table_has_a_row_for_every_method_ablation_and_hardness(written):
    table = pd.read_csv(written / "circuit_benchmark.csv")
    assert list(table)[:6] == ["circuit", "hardness", "method", "ablation", "edges", "positives"]
    assert len(table) == 3 * len(QUICK) * len(ABLATIONS)  # histogram in two hardness values
    exact = table.query("method == 'exact' and ablation == 'corrupted'")
    assert (exact["auroc"] == 1).all() and (exact["average_precision"] > 1 - 1e-9).all()
    noise = table.query("method == 'random'")
    assert noise["auroc"].to_numpy() == pytest.approx(0.5, abs=0.15)  # the mean of many draws
    pages = (written / "circuit_benchmark.md").read_text()
    assert "## AUROC" in pages and "| least | exact | 1.000 |" in pages
    is_judged = table["node_auroc"].notna()
    assert set(table.loc[is_judged, "circuit"]) == {"histogram"} and is_judged.any()
    assert "Nodes are judged in 1 of them" in pages


def test_circuits_of_the_highest_scores_and_the_true_one_are_run(written):
    curves = pd.read_csv(written / "circuit_faithfulness.csv")
    assert len(curves) == 2 * len(QUICK) * len(ABLATIONS)  # at the least hardness
    areas = curves.pivot_table("faithfulness", ["circuit", "ablation"], "method")
    assert (areas["exact"] > areas["random"]).all()
    truth = pd.read_csv(written / "circuit_truth.csv")
    assert len(truth) == 3 * 2 * len(ABLATIONS)
    read = truth.query("kinds == 'variable and constant'")
    assert read[["faithfulness", "completeness"]].to_numpy() == pytest.approx(1, abs=1e-3)
    moved = truth.query("kinds == 'variable' and ablation == 'corrupted'")
    assert moved["faithfulness"].to_numpy() == pytest.approx(1, abs=1e-3)
    assert (moved["minimality"] > 0.1).all()
    missed = (written / "circuit_missed.md").read_text().splitlines()
    assert missed[0] == "| circuit | hardness | edge | reason |" and len(missed) == 2


def test_an_unknown_circuit_is_named(capsys):
    assert run_watched(Options, "paper.circuits", paper.circuits.benchmark, ["pariti"]) == 2
    assert "did you mean 'parity'?" in capsys.readouterr().err


@pytest.fixture
def peak(monkeypatch):
    monkeypatch.setattr(paper.circuits, "TASKS", {"peak": Peak("0..2", max_length=3)})
    return next(iter(known("peak", 12)))


def test_why_an_edge_is_missed(peak):
    """Doubled edges are redundant; what nobody reads is unreachable."""
    on = setting(peak.model, peak.pairs, "margin")
    variable = peak.truth.edges("variable")
    read = next(e for e in variable if e.receiver == "unembed")
    silent = torch.zeros_like(on.whole)
    unread = setting(
        peak.model, peak.pairs, lambda logits, reference: silent.repeat(len(logits) // len(silent))
    )
    edge = next(e for e in variable if e.receiver == read.sender)
    assert why_missed(unread, edge, variable).startswith("unreachable")
    constant = Edge("pos_embed", "unembed")
    assert why_missed(on, constant, [constant]).startswith("saturated")
