"""When curves change, and what foretells what."""

import numpy as np
import pandas as pd
import pytest

from paper.llc_changes import (
    MEASURES,
    change_point,
    change_points,
    changes_page,
    foretelling,
    leads,
)


def test_the_change_point_is_where_a_step_is():
    steps = [1, 10, 100, 1000]
    assert change_point(steps, np.array([5.0, 5.1, 0.1, 0.0])) == pytest.approx(31.6, abs=0.1)
    assert change_point(steps, np.array([5.0, 0.1, 0.1, 0.0])) == pytest.approx(3.16, abs=0.1)


STEPS = [1, 10, 100, 1000, 10_000]


def table(n_seeds: int) -> pd.DataFrame:
    """The estimate falls a checkpoint before the test loss, and a seed's height is that of its next
    test loss; the weight norm's is the opposite.
    """
    rows = []
    for seed in range(n_seeds):
        one = pd.DataFrame({"seed": seed, "step": STEPS})
        for name in MEASURES:
            one[name] = [1.0, 9.0, 8.0, 8.0, 1e-3]
        one["loss/test"] += 0.01 * seed
        one["estimate"] = np.array([0.0, 200.0, 200.0, 50.0, 40.0]) + seed
        one["estimate_error"] = 1.0
        one["weight_norm"] -= 0.01 * seed
        rows.append(one)
    return pd.concat(rows)


def test_changes_are_looked_for_after_the_largest_test_loss():
    (row,) = change_points(table(1)).to_dict("records")
    assert row["estimate"] == pytest.approx(316, abs=1)
    assert row["estimate_low"] == row["estimate_high"] == row["estimate"]
    assert row["loss/test"] == row["weight_norm"] == pytest.approx(3162, abs=1)


def test_errors_make_the_interval_wider():
    noisy = table(1).assign(estimate_error=100.0)
    (row,) = change_points(noisy).to_dict("records")
    assert row["estimate_low"] < row["estimate"] < row["estimate_high"]


def test_what_changes_first_leads():
    found = leads(change_points(table(6))).set_index(["before", "measure"]).loc["test loss"]
    assert found.loc["LLC", "lead"] == pytest.approx(np.log(10))
    assert found.loc["LLC", "low"] == found.loc["LLC", "high"] == found.loc["LLC", "lead"]
    assert found.loc["weight norm", "lead"] == found.loc["test loss", "lead"] == 0


def test_a_logarithm_changes_later():
    falling = table(6)
    falling["loss/test"] = np.tile([1.0, 9.0, 0.9, 0.8, 1e-6], 6)
    found = leads(change_points(falling)).set_index(["before", "measure"])["lead"]
    assert found["logarithm of the test loss", "test loss"] == pytest.approx(2 * np.log(10))
    assert found["test loss", "logarithm of the test loss"] == pytest.approx(-2 * np.log(10))


def test_what_foretells_has_a_correlation_over_seeds():
    found = foretelling(table(6)).set_index("measure")["correlation"]
    assert found["LLC"] == pytest.approx(1)
    assert found["weight norm"] == pytest.approx(-1)
    assert np.isnan(found["LLC, stronger localization"])  # the same for all seeds


def test_few_seeds_have_no_correlations():
    assert "foretell" not in changes_page(table(4))
    assert "foretell" in changes_page(table(6))


def test_a_test_loss_that_never_falls_has_no_change():
    some = table(7)
    some.loc[some["seed"] == 3, "loss/test"] = [0.1, 0.2, 0.3, 0.4, 9.5]
    others = leads(change_points(some[some["seed"] != 3]))
    pd.testing.assert_frame_equal(leads(change_points(some)), others)
    text = changes_page(some)
    assert "largest at the last checkpoint: 3)" in text and "| 3 |" not in text
    assert "nan" not in text.split("foretell")[0]
    assert "last checkpoint" not in changes_page(table(7))
