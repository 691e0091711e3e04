"""Coefficients of compiled programs, with few steps and draws."""

from dataclasses import replace

import jaxtyping
import pandas as pd
import pytest
import torch

import paper.llc_compiled as module
from analysis.llc import curvature
from analysis.llc.known import Regular
from analysis.llc.restriction import Restriction
from interp.rasp import compile_task
from paper.command import run_watched
from paper.llc_compiled import CONFIG, SAFE, Network, Options, networks, step_size
from paper.llc_compiled_page import correlations, page

NUMBERS = {"llc": 2.0, "low": 1.5, "high": 2.5, "failures": "", "steps": 10}


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)
    monkeypatch.setattr(curvature, "FLOW_STEPS", 3)
    monkeypatch.setattr(module, "CONFIG", replace(CONFIG, chains=2, burn_in=2))
    monkeypatch.setattr(module, "SIZES", (module.SMALLEST,))
    monkeypatch.setattr(module, "HARDNESS", (None, 30.0))
    monkeypatch.setattr(module, "LEAST_DRAWN", 8)
    monkeypatch.setattr(module, "PILOT", 2)
    monkeypatch.setattr(module, "SEQUENCES", 5)


@pytest.fixture
def unsampled(monkeypatch):
    """Numbers that are there without sampling."""

    def numbers(landscape, restriction, name):
        return {f"{name}_{what}": value for what, value in NUMBERS.items()}

    monkeypatch.setattr(module, "coefficient", numbers)


@pytest.fixture
def drawn(monkeypatch):
    """What is drawn, without a browser."""
    figures = {}
    monkeypatch.setattr(module, "write_static", figures.update)
    return figures


def run(folder, *programs: str) -> pd.DataFrame:
    flags = [*programs, "--out", str(folder), "--quiet"]
    assert run_watched(Options, "paper.llc_compiled", module.write_tables, flags) == 0
    return module._table(module._kept(folder / "llc_compiled.csv"))


def rows(n: int, **changes) -> pd.DataFrame:
    table = pd.DataFrame(
        {
            "program": "peak",
            "vocabulary": range(3, 3 + n),
            "length": range(10, 10 - n, -1),
            "hardness": float("nan"),
            "parameters": 100,
            "live": 10,
            "gap": 16.0,
            "examples": 40,
            "seconds": 1.0,
            **{f"{name}_{what}": x for name in ("live", "body") for what, x in NUMBERS.items()},
        }
    )
    return table.assign(**changes)


def test_a_table_a_page_and_a_picture(drawn, tmp_path):
    table = run(tmp_path, "fraction")
    assert table["hardness"].fillna(0).tolist() == [0, 30]
    least, harder = table["gap"].tolist()
    assert harder == 30 > least
    assert table["live_llc"].notna().tolist() == [True, True]
    assert table["body_llc"].notna().tolist() == [True, False]
    assert "" not in table["live_failures"].tolist()  # such short chains settle nothing
    text = (tmp_path / "llc_compiled.md").read_text()
    assert text.count("| fraction | 3 | 4 |") == 2 and "diffusion" in text
    (figure,) = drawn.values()
    assert {trace.name for trace in figure.data} == {"fraction"}


@pytest.mark.usefixtures("unsampled")
def test_what_moves_is_not_the_unembedding(drawn, tmp_path):
    live = compile_task(Network("reverse", 3, 4, None).task).live_mask()
    held = {name: mask for name, mask in live.items() if not name.startswith("unembed")}
    table = run(tmp_path, "reverse")
    assert set(table["live"]) == {sum(int(mask.sum()) for mask in held.values())}
    assert set(table["parameters"]) == {sum(mask.numel() for mask in held.values())}


@pytest.mark.usefixtures("unsampled")
def test_a_run_goes_on_where_it_was_unless_the_settings_change(drawn, tmp_path, monkeypatch):
    first = run(tmp_path, "fraction", "reverse")
    done = []
    row = module.row
    monkeypatch.setattr(module, "row", lambda network: (done.append(network), row(network))[1])
    (tmp_path / "llc_compiled.csv").write_text(first.iloc[:3].to_csv(index=False))
    again = run(tmp_path, "fraction", "reverse")
    assert done == [Network("reverse", 3, 4, 30.0)]
    pd.testing.assert_frame_equal(again.drop(columns="seconds"), first.drop(columns="seconds"))
    monkeypatch.setattr(module, "CONFIG", replace(module.CONFIG, localization=2e4))
    run(tmp_path, "fraction", "reverse")
    assert len(done) == 5


def test_other_hardness_is_for_the_smallest_size_only(monkeypatch):
    monkeypatch.setattr(module, "SIZES", (module.SMALLEST, (5, 4)))
    found = list(networks(("peak",)))
    assert len(set(found)) == len(found) == len(module.SIZES) + 1
    assert {(n.vocabulary, n.length) for n in found if n.hardness} == {module.SMALLEST}


def test_the_step_is_as_large_as_is_safe():
    config = replace(CONFIG, nbeta=100.0, localization=5.0)
    step = step_size(Regular((1.0, 7.0)).landscape(), Restriction(), config)
    assert step * (100 * 7 + 5) / 4 == pytest.approx(SAFE, rel=1e-3)
    one = Restriction("one", torch.tensor([0]))
    step = step_size(Regular((1.0, 7.0)).landscape(), one, config)
    assert step * (100 * 1 + 5) / 4 == pytest.approx(SAFE, rel=1e-3)


def test_what_is_too_stiff_is_not_sampled(drawn, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "MOST_BURN_IN", 1)
    monkeypatch.setattr(module, "llc_estimates", None)
    table = run(tmp_path, "fraction")
    assert table["live_llc"].isna().tolist() == [True, True]
    assert set(table["live_failures"]) == {"too_stiff"}
    assert "| [too_stiff] | – |" in (tmp_path / "llc_compiled.md").read_text()


def test_a_number_that_failed_is_in_brackets_with_its_checks():
    table = rows(2, live_failures=["", "trend minimum"], body_steps=[10, float("nan")])
    first, second = page(table).splitlines()[2:]
    assert first.count("2.00 (1.50 to 2.50)") == 2
    assert "| [2: trend minimum] | – |" in second


def test_what_fails_is_not_correlated():
    table = rows(6, live_llc=[1.0, 2.0, 3.0, 4.0, 5.0, -9.0])
    found = correlations(table.assign(live_failures=[""] * 5 + ["trend"]))
    assert found.set_index("with")["rho"][["vocabulary", "length"]].tolist() == ["1.00", "-1.00"]
    assert "parameters" not in found["with"].tolist()  # they are all the same
    assert correlations(table.assign(live_failures=[""] * 4 + ["trend"] * 2)).empty
