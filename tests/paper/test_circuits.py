"""The benchmark of circuits, at tiny sizes."""

import pandas as pd
import pytest
import torch

import paper.circuits
from analysis.circuits import METHODS, setting
from interp.models.graph import Edge
from paper.circuits import ABLATIONS, Options, known, why_missed
from paper.command import run_module
from tasks.iteration import Parity
from tasks.sequences import Histogram, Peak


@pytest.fixture
def small(monkeypatch):
    tasks = {"histogram": Histogram("a..c", max_length=3), "parity": Parity(max_length=3)}
    monkeypatch.setattr(paper.circuits, "TASKS", tasks)


def test_the_table_has_a_row_for_every_method_ablation_and_hardness(small, tmp_path):
    given = ["--pairs", "8", "--out", str(tmp_path), "--quiet"]
    assert run_module(Options, "paper.circuits", paper.circuits._work, given) == 0
    table = pd.read_csv(tmp_path / "circuit_benchmark.csv")
    assert list(table)[:6] == ["circuit", "hardness", "method", "ablation", "edges", "positives"]
    assert len(table) == 3 * len(METHODS) * len(ABLATIONS)  # histogram in two hardness values
    exact = table.query("method == 'exact' and ablation == 'corrupted'")
    assert (exact["auroc"] == 1).all() and (exact["average_precision"] > 1 - 1e-9).all()
    noise = table.query("method == 'random'")
    assert (noise["auroc"] < 1).any()
    pages = (tmp_path / "circuit_benchmark.md").read_text()
    assert "## AUROC" in pages and "| least | exact | 1.000 |" in pages
    missed = (tmp_path / "circuit_missed.md").read_text().splitlines()
    assert missed[0] == "| circuit | hardness | edge | reason |" and len(missed) == 2


def test_an_unknown_circuit_is_named(small, capsys):
    assert run_module(Options, "paper.circuits", paper.circuits._work, ["pariti"]) == 2
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
