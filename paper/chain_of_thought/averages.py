"""Means and standard deviations over seeds, as they are printed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from paper.tables import ABSENT


@dataclass(frozen=True)
class Heading:
    """What stands above a column of numbers, or of names, and how its numbers are printed."""

    text: str
    form: str = ".3f"


Headings = Mapping[str, Heading]
"""By the column that is averaged."""

SOLVED: Headings = {
    "token_accuracy": Heading("states"),
    "sequence_accuracy": Heading("sequences"),
    "train_sequence_accuracy": Heading("sequences, training set"),
    "free_running_accuracy": Heading("sequences, own output"),
    "x_t_score": Heading("to x_t"),
    "x_t_head": Heading("head to x_t"),
    "EoI_score": Heading("to EoI"),
    "EoI_head": Heading("head to EoI"),
}
"""How well a problem is solved, and whether by an iteration head."""


def averages(rows: pd.DataFrame, labels: Sequence[str], headings: Headings) -> pd.DataFrame:
    """The printed cells: for each set of labels the number of seeds, and mean ± sd over them.

    Of a column that holds no numbers, such as the names of heads, all values are printed.
    """
    printed = [
        {
            **{label: str(group[label].iloc[0]) for label in labels},
            "seeds": str(len(group)),
            **{heading.text: _cell(group, name, heading) for name, heading in headings.items()},
        }
        for _, group in rows.groupby(list(labels), sort=False)
    ]
    return pd.DataFrame(printed)


def _cell(group: pd.DataFrame, column: str, heading: Heading) -> str:
    values = pd.Series(group[column])
    if pd.api.types.is_numeric_dtype(values):
        return mean_and_sd(values, heading.form)
    return ", ".join(sorted(set(values))) or ABSENT


def mean_and_sd(values: pd.Series, form: str = ".3f") -> str:
    """`0.962 ± 0.010`: mean and standard deviation (n - 1) of the values that are not NaN.

    There is no deviation where all values are equal. Where some are NaN, it is said how many are
    not.
    """
    known = values.dropna()
    if known.empty:
        return ABSENT
    deviation = f" ± {format(known.std(ddof=1), form)}" if known.nunique() > 1 else ""
    share = f" ({len(known)} of {len(values)})" if len(known) < len(values) else ""
    return format(known.mean(), form) + deviation + share
