"""The table of how often the checks are wrong."""

import jaxtyping
import numpy as np
import pandas as pd
import pytest

from analysis.llc import Check, LLCEstimate
from paper.command import run_watched
from paper.llc_gates import CASES, Options, row, write_tables


def estimate(value: float, *failed: str) -> LLCEstimate:
    checks = tuple(Check(name, 1.0, 0.0, passed=False, reason="") for name in failed)
    return LLCEstimate(value, 0.1, (value - 0.3, value + 0.3), np.array([value]), 1.0, 0.0, checks)


def test_a_row_tells_right_from_wrong_and_passed_from_failed():
    estimates = [
        estimate(5.1),  # right
        estimate(5.6),  # wrong, and nobody noticed
        estimate(4.9, "ess_loss"),  # right, and marked
        estimate(9.0, "ess_loss", "trend"),  # wrong, and marked
    ]
    found = row("sgld", estimates)
    assert (found["failed"], found["wrong"]) == (0.5, 0.5)
    assert (found["wrong_and_passed"], found["right_and_failed"]) == (0.25, 0.25)
    assert found["failed_checks"] == "ess_loss 2 trend 1"
    assert row("saddle", estimates[:1])["wrong_and_passed"] == 1  # there is nothing to be found
    assert row("sgld", [estimate(float("nan"))])["wrong"] == 1


def test_the_command_writes_the_tables(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)
    names = ("step diverges", "localization too strong")
    flags = ["--cases", *names, "--out", str(tmp_path), "--seeds", "2", "--quiet"]
    assert run_watched(Options, "paper.llc_gates", write_tables, flags) == 0
    table = pd.read_csv(tmp_path / "llc_gates.csv")
    assert table["case"].tolist() == list(names)
    assert table["failed"].tolist() == [1.0, 1.0]
    for name, failed in zip(names, table["failed_checks"], strict=True):
        assert f"{CASES[name].check} 2" in failed
    assert "100%" in (tmp_path / "llc_gates.md").read_text()


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--cases", "sadle"], "there is no case 'sadle'"),
        (["--seeds", "0"], "--seeds is 0"),
    ],
)
def test_wrong_requests(flags: list[str], message: str, capsys):
    assert run_watched(Options, "paper.llc_gates", write_tables, flags) == 2
    assert message in capsys.readouterr().err
