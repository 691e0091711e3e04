"""Interventions in trained networks, with very few steps."""

from dataclasses import replace

import pandas as pd
import pytest

import paper.group_patching
import paper.trained_circuits as module
from interp.runs.recipe import Schedule
from paper.command import run_watched
from paper.trained_circuits import GROUP, ITERATION, Options
from tasks.composition import GroupComposition
from tasks.iteration import Polynomial
from tasks.sequences import Palindrome


@pytest.fixture
def quick(monkeypatch):
    steps = Schedule(steps=2, batch_size=16, checkpoints=2)
    group = GroupComposition("C5", train_fraction=0.5, equals_token=True)
    iteration = Polynomial(modulus=3, max_length=3)
    palindrome = replace(module.palindrome(), task=Palindrome("a,b", max_length=3), schedule=steps)
    monkeypatch.setattr(module, "GROUP", replace(GROUP, task=group, schedule=steps))
    monkeypatch.setattr(module, "ITERATION", replace(ITERATION, task=iteration, schedule=steps))
    shape = module.compiled_shape(palindrome.task)
    monkeypatch.setattr(module, "palindrome", lambda: replace(palindrome, model=shape))
    monkeypatch.setattr(module, "N_PAIRS", 4)
    monkeypatch.setattr(paper.group_patching, "FIRST_DRAWN", 1)


@pytest.fixture
def drawn(monkeypatch):
    """What is drawn, without a browser."""
    figures = {}
    monkeypatch.setattr(module, "write_static", figures.update)
    return figures


def test_trained_networks_stand_beside_those_that_are_made(quick, drawn, tmp_path):
    flags = ["--to", str(tmp_path / "runs"), "--out", str(tmp_path), "--seeds", "0..1", "--quiet"]
    assert run_watched(Options, "paper.trained_circuits", module.write_tables, flags) == 0
    group = pd.read_csv(tmp_path / "group_patching.csv")
    assert len(group) == 2 * 3 * 2 * 6  # seeds, steps, operands, sites
    before = group.query("site == 'position a' and variable == 'first'")["effect"]
    assert before.to_numpy() == pytest.approx(1)  # nothing has moved yet
    for name in ("iteration", "palindrome"):
        edges = pd.read_csv(tmp_path / f"{name}_edges.csv")
        assert {"seed0", "seed1", "made", "truth"} <= set(edges)
        assert (edges.loc[edges["truth"] == "absent", "made"] < 1e-4).all()
        assert edges.loc[edges["truth"] == "variable", "made"].max() == pytest.approx(1, abs=1e-3)
    page = (tmp_path / "trained_circuits.md").read_text()
    assert "Iteration: trained beside made" in page and "seed1" in page
    assert "position a" not in page and "L0H1, second differs" in page
    means = group.query("step > 0").groupby(["variable", "site", "step"])["effect"].mean()
    lines = [line for line in drawn[tmp_path / "group_patching"].data if line.name]
    assert [line.name for line in lines] == 2 * ["L0H0", "L0H1", "MLP0"]
    for variable, of_operand in zip(("first", "second"), (lines[:3], lines[3:]), strict=True):
        for line in of_operand:
            assert line.y == pytest.approx(means[variable, line.name].to_numpy())
