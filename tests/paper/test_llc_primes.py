"""The coefficient by modulus: slopes of tables made by hand, and the whole on two small groups."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

import paper.llc_primes as experiment
from interp.arguments import UsageError
from interp.progress import progress
from paper.llc_primes import Options, compare, page, slopes


def networks(**columns) -> pd.DataFrame:
    generator = np.random.default_rng(0)
    table = pd.DataFrame({"p": np.repeat([23, 31, 43, 61], 4), "seed": np.tile(range(4), 4)})
    frequencies = 3 + table["p"] // 10 + generator.integers(3, size=16)
    return table.assign(frequencies=frequencies, accuracy=1.0, **columns)


def test_slopes_of_what_is_linear_are_exact():
    table = networks()
    table["estimate"] = 7 + 2.5 * table["p"] - 4 * table["frequencies"]
    found = slopes(table, "estimate", ["p", "frequencies"])
    for bound in ("slope", "low", "high"):
        assert found[bound].tolist() == pytest.approx([2.5, -4.0])


def test_what_p_does_through_the_frequencies_is_not_the_slope_at_fixed_frequencies():
    table = networks()
    table["estimate"] = 10.0 * table["frequencies"]
    assert slopes(table, "estimate", ["p"]).loc["p", "low"] > 0.5
    assert slopes(table, "estimate", ["p", "frequencies"]).loc["p", "high"] == pytest.approx(0)


def test_an_interval_holds_the_slope_about_as_often_as_it_says(monkeypatch):
    monkeypatch.setattr(experiment, "RESAMPLES", 200)
    generator, table = np.random.default_rng(0), networks()
    held = []
    for _ in range(50):
        table["estimate"] = 2 * table["p"] + generator.normal(scale=20, size=len(table))
        (found,) = slopes(table, "estimate", ["p"]).itertuples()
        held.append(found.low <= 2 <= found.high)
    assert 0.8 <= np.mean(held) <= 1  # a bootstrap of 16 networks is somewhat short


def test_one_prime_has_no_slope():
    table = networks().query("p == 23").assign(estimate=[1.0, 2.0, 3.0, 4.0])
    assert slopes(table, "estimate", ["p"]).isna().all(axis=None)


def test_the_page_leaves_out_what_has_not_generalised():
    table = networks(parameters=1000)
    for name, value in {"estimate": 100.0, "stronger": 40.0}.items():
        table[name], table[f"{name}_error"], table[f"{name}_failures"] = value, 1.0, "localization"
    table.loc[0, ["accuracy", "estimate"]] = 0.5, 1e6
    table.loc[1, "estimate_failures"] = ""
    text = page(table)
    assert "15 of 16 networks generalised" in text and "p = 23, seed 0: 50.0%" in text
    assert "1 at 2.5 and 0 at 12.5 pass all checks" in text
    assert "localization 14" in text
    assert "changes by -60% in the mean (-60% to -60%)" in text
    assert "| 23 | 3 | 1000 |" in text


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(experiment, "STEPS", 20)
    config = replace(experiment.CONFIG, chains=2, draws=4, burn_in=3, thin=1, full_every=2)
    monkeypatch.setattr(experiment, "CONFIG", config)


def options(tmp_path) -> Options:
    return Options((5, 7), to=tmp_path / "runs", out=tmp_path / "out", seeds="0..1", quiet=True)


@pytest.mark.usefixtures("small")
def test_a_table_a_page_and_a_picture(tmp_path, monkeypatch):
    drawn = {}
    monkeypatch.setattr(experiment, "write_static", drawn.update)
    monkeypatch.setattr(experiment, "ACCURATE", -1.0)
    with progress(quiet=True) as show:
        assert compare(options(tmp_path), show) == 0
    table = pd.read_csv(tmp_path / "out" / "llc_primes.csv", keep_default_na=False)
    assert table["p"].tolist() == [5, 5, 7, 7]
    assert table["parameters"].tolist() == [1936, 1936, 2096, 2096]
    assert (table["stronger_failures"] != "").all()  # such short chains settle nothing
    (figure,) = drawn.values()
    for panel in figure.data:
        assert set(panel.marker.symbol) == {"circle-open"}
    assert "4 of 4 networks generalised" in (tmp_path / "out" / "llc_primes.md").read_text()


@pytest.mark.usefixtures("small")
def test_without_networks_that_generalise_there_is_nothing_to_compare(tmp_path):
    with (
        progress(quiet=True) as show,
        pytest.raises(UsageError, match="no network has a test accuracy above 99%"),
    ):
        compare(options(tmp_path), show)
