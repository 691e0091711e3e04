"""Pictures of local learning coefficients: what is drawn is what was given."""

import numpy as np
import pandas as pd
import pytest
import torch

from analysis.llc import Check, FunctionLandscape, LLCConfig, sample
from analysis.plots.llc import (
    FAILED,
    MOST_DRAWS,
    calibration_figure,
    checks_figure,
    llc_curve_figure,
    trace_figure,
)


def curve(steps=(0, 1, 10, 100), values=(-500.0, 3.0, 4.0, 5.0), failed=(0, 1)) -> pd.DataFrame:
    value = np.array(values)
    failures = ["no minimum; too hot" if i in failed else "" for i in range(len(steps))]
    columns = {"step": steps, "value": value, "low": value - 1, "high": value + 2}
    return pd.DataFrame({**columns, "failures": failures})


def drawn_values(figure) -> tuple[np.ndarray, np.ndarray]:
    passed, failed = figure.data[:2]
    return np.array(passed.y, dtype=float), np.array(failed.y, dtype=float)


def test_only_what_passed_is_a_line_with_its_interval():
    figure = llc_curve_figure({"ours": curve()}, title="a run")
    line, hollow = figure.data[:2]
    assert np.isnan(line.y[:2]).all() and list(line.y[2:]) == [4, 5]
    assert list(line.error_y.array[2:]) == [2, 2] and list(line.error_y.arrayminus[2:]) == [1, 1]
    assert list(hollow.x) == [0.5, 1] and all(s.endswith("-open") for s in hollow.marker.symbol)
    assert hollow.text[0] == "no estimate (-500)<br>no minimum<br>too hot"


def test_what_is_far_off_is_a_triangle_at_the_edge():
    figure = llc_curve_figure({"ours": curve()}, title="a run")
    low, high = figure.layout.yaxis.range
    hollow = figure.data[1]
    assert list(hollow.marker.symbol) == ["triangle-down-open", "circle-open"]
    assert list(hollow.y) == [low, 3] and low < 0 < 7 < high


def test_step_0_has_a_place_on_the_logarithmic_axis():
    axis = llc_curve_figure({"ours": curve()}, title="a run").layout.xaxis
    assert axis.type == "log" and axis.title.text == "training step"
    ticks = dict(zip(axis.tickvals, axis.ticktext, strict=True))
    assert ticks == {
        0.5: "0",
        1: "10<sup>0</sup>",
        10: "10<sup>1</sup>",
        100: "10<sup>2</sup>",
    }


@pytest.mark.parametrize("steps", [(0,), (0, 9)])
def test_few_checkpoints_are_on_a_plain_axis(steps):
    table = curve(steps, (2.0,) * len(steps), failed=())
    figure = llc_curve_figure({"made": table}, title="a run")
    assert figure.layout.xaxis.type is None and list(figure.data[0].x) == list(steps)


def test_without_any_estimate_all_points_are_seen():
    table = curve(failed=range(4)).replace({"value": {3.0: np.nan}})
    figure = llc_curve_figure({"ours": table}, title="a run")
    _, failed = drawn_values(figure)
    assert list(failed) == [-500, 4, 5] and figure.layout.yaxis.range is None


@pytest.mark.parametrize(("names", "failed"), [(1, ()), (1, (0,)), (2, ()), (2, (0,))])
def test_the_legend_says_what_is_needed(names, failed):
    curves = {f"curve {i}": curve(failed=failed) for i in range(names)}
    figure = llc_curve_figure(curves, title="a run")
    shown = [trace.name for trace in figure.data if trace.showlegend is not False]
    expected = list(curves) if names > 1 else []
    assert shown == [*expected, *["a check failed"] * bool(failed)]


def test_a_sweep_is_a_line_for_each_temperature():
    rows = [
        (eps, nbeta, 10 * nbeta + i, 0.5, "step_size" if eps > 1e-3 else "")
        for nbeta in (3.0, 1.0)
        for i, eps in enumerate((2e-3, 1e-3, 5e-4))
    ]
    names = ["step_size", "nbeta", "estimate", "standard_error", "failures"]
    figure = calibration_figure(pd.DataFrame(rows, columns=names), title="a run")
    line, hollow, other = figure.data[:3]
    assert (line.name, other.name) == ("1", "3")
    assert list(line.x) == [5e-4, 1e-3, 2e-3] and list(line.y[:2]) == [12, 11]
    assert list(line.error_y.array[:2]) == [1, 1] and np.isnan(line.y[2])
    assert list(hollow.x) == [2e-3] and "step_size" in hollow.text[0]
    assert figure.layout.xaxis.type == "log" and figure.layout.xaxis.title.text == "step size"


def test_a_trace_has_every_chain_of_its_point():
    def loss(weights):
        return weights.square().sum(dim=-1) / 2

    landscape = FunctionLandscape(loss, torch.zeros(3, dtype=torch.float64), 100).about([0, 0])
    config = LLCConfig(step_size=1e-2, chains=3, draws=2 * MOST_DRAWS + 1, burn_in=0)
    trace = sample(landscape, config, nbeta=torch.tensor([1.0, 10.0]))
    figure = trace_figure(trace, 1, title="Chains")
    chains = [line for line in figure.data if line.name != "mean"]
    assert len(chains) == 6
    energy = 10 * trace.excess[1].numpy()
    for i, expected in enumerate([*energy, *trace.distance[1].numpy()]):
        assert list(chains[i].x[:3]) == [0, 3, 6] and len(chains[i].x) <= MOST_DRAWS
        np.testing.assert_allclose(chains[i].y, expected[::3], rtol=1e-6)
    (mean,) = (line for line in figure.data if line.name == "mean")
    assert mean.y[0] == mean.y[1] == pytest.approx(energy.mean())
    assert figure.layout.yaxis.title.text == "nβ (L(w) − L(w*))"
    assert figure.layout.yaxis2.title.text == "|w − w*|²"


def test_the_table_marks_what_failed():
    good, bad = Check("trend", 0.01, 0.05, True, ""), Check("trend", 0.2, 0.05, False, "moves")
    diverged = Check("diverged", 2.0, 0.0, False, "lost")
    (table,) = checks_figure({"step 0": (good,), "step 9": (bad,), "step 10": (diverged,)}).data
    assert list(table.header["values"]) == ["check<br>limit", "trend<br>0.05", "diverged<br>0"]
    steps, trend, lost = table.cells["values"]
    assert list(steps) == ["step 0", "step 9", "step 10"]
    assert list(trend) == ["0.01", "0.2", ""] and list(lost) == ["", "", "2"]
    assert list(table.cells.fill.color[1]) == ["white", FAILED, "white"]


def test_a_limit_that_differs_between_points_is_not_shown():
    checks = {str(i): (Check("negative", 1.0, -float(i), True, ""),) for i in range(2)}
    assert checks_figure(checks).data[0].header["values"][1] == "negative<br>"
