"""Loss, accuracy and weight norm along training."""

from collections.abc import Mapping, Sequence

import pandas as pd

from interp.runs.run import Run


class History:
    """The rows of `history.parquet` of a batch's runs: step, split, loss, accuracy, weight_norm.

    A row at `step` is about the network after `step` updates, for both splits alike. The loss is
    in float64; the accuracy is NaN for a regression task; the weight norm is Euclidean, over all
    parameters.
    """

    def __init__(self, runs: Sequence[Run], before: int) -> None:
        """Rows that are already there, from steps `before` on excepted: they will come again."""
        self._rows: list[list[dict]] = []
        for run in runs:
            rows = run.history().to_dict(orient="records")
            self._rows.append([row for row in rows if row["step"] < before])

    def add(
        self,
        step: int,
        split: str,
        losses: Sequence[float],
        accuracies: Sequence[float],
        norms: Sequence[float],
    ) -> None:
        """One row for every run."""
        columns = zip(self._rows, losses, accuracies, norms, strict=True)
        for rows, loss, accuracy, norm in columns:
            values = {"loss": loss, "accuracy": accuracy, "weight_norm": norm}
            rows.append({"step": step, "split": split, **values})

    def write(self, runs: Mapping[int, Run]) -> None:
        """Replace the files of the instances in `runs`."""
        for instance, run in runs.items():
            run.write_history(pd.DataFrame(self._rows[instance]))
