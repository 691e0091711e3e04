"""What follows from the metric of every cell and example."""

import numpy as np
import pytest
import xarray as xr

from analysis.patching import Patching


def made(values: np.ndarray, clean: np.ndarray, corrupted: np.ndarray, direction: str) -> Patching:
    grid = xr.DataArray(values, {"layer": [0, 1], "head": [0, 1, 2]}, ("example", "layer", "head"))
    ends = (xr.DataArray(x, dims="example") for x in (clean, corrupted))
    return Patching(grid, *ends, "loss", direction, "corrupted", "x")


@pytest.fixture
def numbers() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    clean = rng.normal(0, 1, 400)
    values = clean[:, None, None] + rng.normal(1, 2, (400, 2, 3)) * [0, 1, 2]
    return values, clean, clean + 4 + rng.normal(0, 0.5, 400)


def test_effects_by_hand() -> None:
    clean, corrupted = np.array([1.0, 3.0]), np.array([5.0, 7.0])
    values = np.stack([np.full((2, 3), 2.0), np.full((2, 3), 6.0)])
    noise = made(values, clean, corrupted, "noise")
    assert (noise.effect == 2).all() and (noise.normalised == 0.5).all()
    denoise = made(values, clean, corrupted, "denoise")
    assert (denoise.effect == -2).all() and (denoise.normalised == 0.5).all()
    assert noise.effect.dims == ("layer", "head")
    equal_means = made(values, clean, clean[::-1].copy(), "noise")
    assert equal_means.normalised.isnull().all() and (equal_means.effect == 2).all()
    assert equal_means.interval(normalised=True).isnull().any()


def test_the_interval_is_that_of_a_normal_distribution(
    numbers: tuple[np.ndarray, np.ndarray, np.ndarray],
) -> None:
    """Of a mean of many examples: its bounds are 1.96 standard errors away."""
    found = made(*numbers, "noise")
    bounds = found.interval(n=20_000)
    change = numbers[0] - numbers[1][:, None, None]
    error = change.std(axis=0) / 20
    assert bounds.dims == ("bound", "layer", "head")
    for bound, sign in (("low", -1), ("high", 1)):
        expected = change.mean(axis=0) + sign * 1.96 * error
        assert abs(bounds.sel(bound=bound) - expected).max() < 0.06 * error.max()
    narrow = found.interval(0.5, n=20_000)
    expected = change.mean(axis=0) + 0.6745 * error
    assert abs(narrow.sel(bound="high") - expected).max() < 0.06 * error.max()


@pytest.mark.parametrize("direction", ["noise", "denoise"])
def test_the_normalised_interval_resamples_both_means(
    direction: str, numbers: tuple[np.ndarray, np.ndarray, np.ndarray]
) -> None:
    """An implementation by rows drawn, with another stream of random numbers."""
    values, clean, corrupted = numbers
    base, other = (clean, corrupted) if direction == "noise" else (corrupted, clean)
    rng, shares = np.random.default_rng(9), []
    for _ in range(4000):
        rows = rng.integers(400, size=400)
        gap = (other - base)[rows].mean()
        shares.append((values - base[:, None, None])[rows].mean(axis=0) / gap)
    expected = np.quantile(shares, [0.025, 0.975], axis=0)
    bounds = made(*numbers, direction).interval(n=4000, normalised=True)
    width = (expected[1] - expected[0]).max()
    assert abs(bounds.values - expected).max() < 0.05 * width


def test_seeds(numbers: tuple[np.ndarray, np.ndarray, np.ndarray]) -> None:
    found = made(*numbers, "noise")
    assert found.interval().equals(found.interval())
    assert not found.interval().equals(found.interval(seed=1))


def test_the_frame_has_a_row_for_each_cell(
    numbers: tuple[np.ndarray, np.ndarray, np.ndarray],
) -> None:
    found = made(*numbers, "noise")
    frame = found.frame()
    columns = ["layer", "head", "effect", "low", "high", "normalised", "n"]
    assert frame.columns.tolist() == columns and len(frame) == 6
    assert frame["layer"].tolist() == [0, 0, 0, 1, 1, 1]
    assert frame["head"].tolist() == [0, 1, 2, 0, 1, 2]
    assert (frame["effect"] == found.effect.values.ravel()).all() and (frame["n"] == 400).all()
    assert (frame["normalised"] == found.normalised.values.ravel()).all()
    inside = (frame["low"] <= frame["effect"]) & (frame["effect"] <= frame["high"])
    assert inside.all() and (frame["high"] - frame["low"])[1:3].min() > 0


@pytest.mark.parametrize("level", [0.0, 95.0])
def test_a_level_is_a_share(level: float, numbers: tuple[np.ndarray, ...]) -> None:
    with pytest.raises(ValueError, match="level is"):
        made(*numbers, "noise").interval(level)
