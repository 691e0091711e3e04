"""When curves along training change, and whether one foretells another, seed by seed.

Two curves that both fall are correlated whatever they measure. So what is compared is when each of
them changes, which depends on whether one looks at a loss or its logarithm; and, at one step,
whether a seed with a larger number than others has a larger test loss at the next checkpoint.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float, Int64
from scipy.stats import spearmanr

from paper.tables import Table, markdown

MEASURES = {
    "estimate": "LLC",
    "stronger": "LLC, stronger localization",
    "published": "LLC, settings of earlier work",
    "weight_norm": "weight norm",
    "hessian_trace": "trace of the Hessian",
    "loss/train": "training loss",
    "loss/test": "test loss",
}
"""What is followed, by columns, of which a table may lack some."""
CURVES = {
    **MEASURES,
    "log hessian_trace": "logarithm of the trace",
    "log loss/train": "logarithm of the training loss",
    "log loss/test": "logarithm of the test loss",
}
"""What changes, and is compared with when the test loss or its logarithm does."""
DRAWS, CORRELATIONS = 1000, 200
"""Of the bootstraps; of that of correlations, which are slow."""
FEWEST = 5
"""Seeds for which correlations are computed."""


def change_point(steps: Sequence[int], values: Float[np.ndarray, "checkpoint"]) -> float:
    """The step at which a curve changes most: where two levels, one before it and one from it on,
    come closest to the curve in the least squares. Halfway, in the logarithm, between checkpoints;
    NaN if there is but one.
    """
    if len(values) < 2:
        return float("nan")
    rests = [
        ((values[:i] - values[:i].mean()) ** 2).sum()
        + ((values[i:] - values[i:].mean()) ** 2).sum()
        for i in range(1, len(values))
    ]
    i = int(np.argmin(rests)) + 1
    return float(np.sqrt(steps[i - 1] * steps[i]))


def change_points(table: pd.DataFrame) -> pd.DataFrame:
    """When each curve of each seed changes, from the largest test loss on.

    Those of the sampled numbers with a 95% interval (columns `_low`, `_high`), by a bootstrap of
    the numbers within their errors.
    """
    rows = []
    for seed, of_seed in table.groupby("seed"):
        late = of_seed.iloc[of_seed["loss/test"].argmax() :]
        steps = late["step"].tolist()
        row: dict[str, Any] = {"seed": seed}
        for name in CURVES:
            if name.removeprefix("log ") not in late:
                continue
            values = _values(late, name)
            row[name] = change_point(steps, values)
            if f"{name}_error" in late:
                noise = np.random.default_rng(0).normal(size=(DRAWS, len(late)))
                drawn = values + noise * late[f"{name}_error"].to_numpy()
                found = [change_point(steps, one) for one in drawn]
                row[f"{name}_low"], row[f"{name}_high"] = np.quantile(found, [0.025, 0.975])
        rows.append(row)
    return pd.DataFrame(rows)


def leads(changes: pd.DataFrame) -> pd.DataFrame:
    """By how many factors of e of the steps each curve changes before the test loss does, and
    before its logarithm does: mean over seeds, and its 95% interval by a bootstrap of the seeds.

    Seeds whose test loss is largest at the last checkpoint have no change, and are left out.
    """
    changes, rows = changes.dropna(subset="loss/test"), []
    for name, label in _in(changes, CURVES).items():
        for before in ("loss/test", "log loss/test"):
            lead = np.log(changes[before].to_numpy() / changes[name].to_numpy())
            low, high = np.quantile(_resampled(lead).mean(axis=1), [0.025, 0.975])
            row = {"measure": label, "before": CURVES[before], "lead": lead.mean()}
            rows.append(row | {"low": low, "high": high})
    return pd.DataFrame(rows)


def foretelling(table: pd.DataFrame) -> pd.DataFrame:
    """The rank correlation over seeds of each measure at a checkpoint with the test loss at the
    next, its mean over checkpoints, and a 95% interval by a bootstrap of the seeds.
    """
    measures = _in(table, MEASURES)
    wide = {name: table.pivot(index="step", columns="seed", values=name) for name in measures}
    following = wide["loss/test"].to_numpy()[1:]
    n_seeds = following.shape[1]
    picks = _resampled(np.arange(n_seeds))[:CORRELATIONS]
    rows = []
    for name, label in measures.items():
        now = wide[name].to_numpy()[:-1]
        found = _mean_correlation(now, following)
        row = {"measure": label, "correlation": found, "low": found, "high": found}
        if np.isfinite(found):
            drawn = [_mean_correlation(now[:, pick], following[:, pick]) for pick in picks]
            row["low"], row["high"] = np.nanquantile(drawn, [0.025, 0.975])
        rows.append(row)
    return pd.DataFrame(rows)


def changes_page(table: pd.DataFrame) -> str:
    """Markdown: when each curve changes, how long before the test loss, and what foretells it."""
    found = change_points(table)
    changes = found.dropna(subset="loss/test")
    printed = {"seed": changes["seed"]}
    for name, label in _in(changes, CURVES).items():
        printed[label] = changes[name].map("{:.0f}".format)
        if f"{name}_low" in changes:
            bounds = zip(
                printed[label], changes[f"{name}_low"], changes[f"{name}_high"], strict=True
            )
            printed[label] = [f"{at} ({low:.0f} to {high:.0f})" for at, low, high in bounds]
    parts = [
        "The step at which each curve changes most, after the largest test loss, with the interval "
        f"that the error of sampling leaves{_left_out(found)}:\n",
        markdown(Table("changes", pd.DataFrame(printed))),
    ]
    if len(changes) >= FEWEST:
        parts += [
            "\nBy how much it changes before the test loss, or its logarithm, does (the logarithm "
            "of the ratio of steps, mean over seeds; negative: after it; checkpoints are about "
            f"{_spacing(table):.2f} apart):\n",
            _printed(leads(changes), "lead", "before"),
            "\nDoes it foretell? The rank correlation, over seeds, of each measure with the test "
            "loss at the next checkpoint, mean over checkpoints:\n",
            _printed(foretelling(table).assign(of="correlation"), "correlation", "of"),
        ]
    return "\n".join(parts)


def _left_out(changes: pd.DataFrame) -> str:
    seeds = changes.loc[changes["loss/test"].isna(), "seed"]
    if seeds.empty:
        return ""
    named = ", ".join(map(str, seeds))
    return f" (but for seeds whose test loss is largest at the last checkpoint: {named})"


def _in(table: pd.DataFrame, labels: dict[str, str]) -> dict[str, str]:
    """The columns that there are, and their labels."""
    return {name: label for name, label in labels.items() if name in table}


def _printed(found: pd.DataFrame, value: str, heading: str) -> str:
    """A row for each measure: a value with its interval under each heading."""
    numbers = zip(found[value], found["low"], found["high"], strict=True)
    cells = [f"{mean:+.2f} ({low:+.2f} to {high:+.2f})" for mean, low, high in numbers]
    wide = found.assign(cell=cells).pivot(index="measure", columns=heading, values="cell")
    ordered = wide.loc[found["measure"].unique(), found[heading].unique()]
    return markdown(Table("found", ordered.reset_index()))


def _values(table: pd.DataFrame, name: str) -> Float[np.ndarray, "checkpoint"]:
    if name.startswith("log "):
        return np.log(table[name.removeprefix("log ")].to_numpy().clip(1e-9))
    return table[name].to_numpy()


def _resampled(values: np.ndarray) -> np.ndarray:
    """Rows of as many values, drawn with replacement."""
    picks: Int64[np.ndarray, "draw seed"] = np.random.default_rng(0).integers(
        len(values), size=(DRAWS, len(values))
    )
    return values[picks]


def _mean_correlation(
    now: Float[np.ndarray, "checkpoint seed"], following: Float[np.ndarray, "checkpoint seed"]
) -> float:
    rows = [
        spearmanr(x, y).statistic
        for x, y in zip(now, following, strict=True)
        if np.ptp(x) > 0 and np.ptp(y) > 0
    ]
    return float(np.mean(rows)) if rows else float("nan")


def _spacing(table: pd.DataFrame) -> float:
    """The largest step between neighbouring checkpoints, in logarithms."""
    steps = np.sort(table.loc[table["step"] > 0, "step"].unique())
    return float(np.diff(np.log(steps[len(steps) // 2 :])).max())
