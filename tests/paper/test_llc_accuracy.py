"""The accuracy table of learning coefficients, at tiny sizes."""

import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

import paper.llc_accuracy
from analysis.llc.config import LLCConfig
from analysis.llc.known import DeepLinear, NormalCrossing, Regular, RegularData
from paper.command import run_watched
from paper.llc_accuracy import Options, row
from paper.llc_cases import CASES, Reference, Setting, reference
from paper.llc_devinterp import Model
from paper.llc_engines import job, ours

CONFIG = LLCConfig(
    "sgld",
    chains=4,
    step_size=1e-3,
    nbeta=100.0,
    localization=1.0,
    burn_in=50,
    draws=100,
    full_every=50,
)
SMALL = Setting("regular", Regular((1.0, 2.0)), CONFIG, beside=True)


def run(tmp_path: Path, monkeypatch, *flags: str) -> int:
    monkeypatch.setattr(paper.llc_accuracy, "CASES", {"regular": (SMALL,)})
    given = ["--out", str(tmp_path), "--repetitions", "5", "--quiet", *flags]
    return run_watched(Options, "paper.llc_accuracy", paper.llc_accuracy.accuracy, given)


def test_the_table(tmp_path, monkeypatch):
    assert run(tmp_path, monkeypatch) == 0
    (found,) = pd.read_csv(tmp_path / "llc_accuracy.csv").to_dict("records")
    assert (found["case"], found["engine"], found["repetitions"]) == ("regular", "ours", 5)
    assert found["reference"] == Regular((1.0, 2.0)).expected(100.0, 1.0, 1e-3)
    assert abs(found["bias"]) < 5 * found["standard_error"] < 1
    assert found["lambda"] == 1 and found["passed"] == 0  # burn-in is far too short
    assert "| regular | ours |" in (tmp_path / "llc_accuracy.md").read_text()


def test_mistakes_are_told_in_a_line(tmp_path, monkeypatch, capsys):
    assert run(tmp_path, monkeypatch, "regulr") == 2
    assert "did you mean 'regular'?" in capsys.readouterr().err
    assert run(tmp_path, monkeypatch, "--devinterp-1", str(tmp_path / "python")) == 2
    assert "there is no Python at" in capsys.readouterr().err


def test_a_row_by_hand():
    """Estimates 3 and 1 with standard errors 0.5 and 0.1, and a reference of 2.

    With two chains Student's factor is 12.7, so that the first interval has a reach of 6.4, and the
    second of 1.27: both hold 2, and only one holds 3.
    """
    chains = np.array([[2.5, 3.5], [0.9, 1.1]])
    passed = np.array([False, True])
    found = row(SMALL, "ours", chains, Reference(2.0, 0.0, "closed form", 1.0), passed)
    assert found["bias"] == 0 and found["estimate"] == 2
    assert found["spread"] == pytest.approx(2**0.5) and found["standard_error"] == 1
    assert found["step_bias_in_errors"] == pytest.approx(2**-0.5)
    assert (found["coverage"], found["passed"], found["coverage_passed"]) == (1, 0.5, 1)
    found = row(SMALL, "ours", chains, Reference(3.0, 0.0, "closed form", 3.0), passed)
    assert (found["coverage"], found["coverage_passed"]) == (0.5, 0)


@pytest.mark.parametrize("sampler", ["sgld", "sgnht"])
def test_repetitions_are_independent_runs(sampler):
    """Chains of one long run, shared out, are what the chains of each share would be."""
    config = replace(CONFIG, sampler=sampler)
    chains, passed = ours(replace(SMALL, config=config), 3)
    assert chains.shape == (3, 4) and passed.shape == (3,)
    first, _ = ours(replace(SMALL, config=replace(config, chains=6)), 2)
    np.testing.assert_allclose(first.flatten(), chains.flatten())


@pytest.mark.parametrize("known", [NormalCrossing((1, 1)), DeepLinear((1, 1, 1), 0)], ids=str)
def test_references(known):
    """(a b)^2 / 2 at twice the nbeta is (a b)^2."""
    nbeta = 20.0 if isinstance(known, DeepLinear) else 10.0
    found = reference(known, replace(CONFIG, nbeta=nbeta, localization=4.0))
    expected = NormalCrossing((1, 1)).expected(10.0, 4.0)
    assert abs(found.value - expected) <= 4 * found.standard_error < 0.05


def test_the_regular_reference_has_both_biases():
    known, config = RegularData((1.0,), 10), replace(CONFIG, batch_size=2)
    found = reference(known, config)
    assert found.value == known.expected(100.0, 1.0, 1e-3, 2) > known.expected(100.0, 1.0, 1e-3)
    assert found.exact == known.expected(100.0, 1.0)
    assert reference(known, replace(config, sampler="sgnht")).value == found.exact


@pytest.mark.parametrize("name", CASES)
def test_devinterp_has_the_same_losses(name):
    setting = CASES[name][-1]
    assert setting.beside
    landscape, asked = setting.known.landscape(), json.loads(json.dumps(job(setting, seed=0)))
    model = Model(asked).double()
    generator = torch.Generator().manual_seed(0)
    move = 0.1 * torch.randn(landscape.centres.shape, generator=generator, dtype=torch.float64)
    for weights in (landscape.centres, landscape.centres + move):
        everything = torch.arange(landscape.n_examples)[None]
        expected = landscape.losses(weights[:, None], everything).mean()
        model.weights.data = weights[0]
        found = model(torch.tensor(asked["examples"], dtype=torch.float64))
        torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-12)


@pytest.mark.slow
def test_devinterp_agrees(tmp_path, monkeypatch):
    assert run(tmp_path, monkeypatch, "--devinterp-2", sys.executable) == 0
    table = pd.read_csv(tmp_path / "llc_accuracy.csv").set_index("engine")
    assert list(table.index) == ["ours", "devinterp 2.0.1"]
    both = table["estimate"]
    error = (table["standard_error"] ** 2).sum() ** 0.5
    assert abs(both.iloc[0] - both.iloc[1]) < 4 * error
