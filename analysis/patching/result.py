"""What interventions did: a number for each cell and example, and what follows from them."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
import xarray as xr

Direction = Literal["noise", "denoise"]


@dataclass(frozen=True, eq=False)
class Patching:
    """The metric under every intervention of a grid."""

    values: xr.DataArray
    """[example, *grid], with the layers, heads, positions or names of the cells as coordinates."""
    clean: xr.DataArray
    """[example]: the metric of the undisturbed run."""
    corrupted: xr.DataArray
    metric: str
    direction: Direction
    """Whether the run that is disturbed is the clean one (noise) or the corrupted one (denoise)."""
    source: str
    """What is put in: the activations of the corrupted or the clean run, or an ablation's."""
    variable: str
    """What differs between the inputs of a pair."""
    seed: int | None = None
    """Of an ablation that draws."""

    @property
    def base(self) -> xr.DataArray:
        """[example]: the metric of the run that is disturbed."""
        return self.clean if self.direction == "noise" else self.corrupted

    @property
    def effect(self) -> xr.DataArray:
        """By how much each cell changes the metric of the base run, in its units: [*grid]."""
        return (self.values - self.base).mean("example")

    @property
    def normalised(self) -> xr.DataArray:
        """The effect as a share of the way from the base run's mean to the other's: [*grid].

        NaN where both have the same mean.
        """
        return self.effect / self._gap(np.ones(len(self.base)) / len(self.base))

    def interval(
        self, level: float = 0.95, n: int = 1000, seed: int = 0, *, normalised: bool = False
    ) -> xr.DataArray:
        """Percentile bootstrap over examples of the effect, or of its normalised form.

        Efron and Tibshirani (1993), section 13.3.

        Args:
            level: the share of resampled effects between the two bounds.
            n: how often the examples are resampled.
            seed: draws them.
            normalised: of the share of the gap, whose own error counts too.

        Returns:
            [bound, *grid], the bounds being low and high.

        Raises:
            ValueError: the level is not between 0 and 1.
        """
        if not 0 < level < 1:
            raise ValueError(f"level is {level}: it must be between 0 and 1, such as 0.95")
        n_examples = len(self.base)
        counts = np.random.default_rng(seed).multinomial(
            n_examples, np.full(n_examples, 1 / n_examples), size=n
        )
        weights = counts / n_examples
        change = self.values - self.base
        means = weights @ change.values.reshape(n_examples, -1)
        if normalised:
            means = means / self._gap(weights)[:, None]
        bounds = np.quantile(means, [(1 - level) / 2, (1 + level) / 2], axis=0)
        grid = self.effect
        return xr.DataArray(
            bounds.reshape(2, *grid.shape),
            coords={"bound": ["low", "high"], **grid.coords},
            dims=("bound", *grid.dims),
        )

    def frame(self, level: float = 0.95) -> pd.DataFrame:
        """A row for each cell: its place in the grid; effect, low and high; normalised; and n,
        the number of examples."""
        bounds = self.interval(level)
        columns = {
            "effect": self.effect,
            "low": bounds.sel(bound="low", drop=True),
            "high": bounds.sel(bound="high", drop=True),
            "normalised": self.normalised,
        }
        if self.effect.dims:
            cells = xr.Dataset(columns).to_dataframe(dim_order=list(self.effect.dims))
            frame = cells.reset_index()
        else:  # one cell, and no axis to index it by
            frame = pd.DataFrame({name: [value.item()] for name, value in columns.items()})
        return frame.assign(n=len(self.base))

    def _gap(self, weights: np.ndarray) -> np.ndarray:
        """The other run's mean less the base run's, NaN where there is none."""
        other = self.corrupted if self.direction == "noise" else self.clean
        gap = weights @ (other - self.base).values
        return np.where(gap == 0, np.nan, gap)
