"""Our values beside the published ones: cell by cell for imported runs, in averages for all.

Where they differ, the defect of the published evaluation that explains it is named (cyclic bases
of rank 2 filled up with rounding noise, A5 "irreps" that are no representations, losses of the S6
transformers summed over 8 chunks, the transformers' squared weights left at 0). A difference
without a known defect is called `unexplained`.
"""

import json
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from analysis.representation.published_names import from_published_column, published_column
from interp.arguments import UsageError
from interp.models.config import TransformerConfig
from interp.runs.published import published_recipe
from interp.runs.recipe import Recipe
from interp.runs.run import Run
from paper.rows import COLUMNS, Rows, place_of
from tasks.composition import GroupComposition
from tasks.groups import find_irrep

CYCLIC = "cyclic hidden basis"
A5 = "A5 3-d irreps"
S6 = "S6 transformer loss x8"
SQUARES = "transformer sum of squares published as 0"
UNEXPLAINED = "unexplained"

RELATIVE = 1e-4
RELATIVE_TINY = 1e-3
"""For restricted losses under `TINY`, which the published float32 logits round off."""
TINY = 1e-6
ABSOLUTE = 1e-6
"""For cosines and shares, of which many are rounding noise about 0."""


@dataclass(frozen=True)
class Cell:
    """A published value and ours; `defect` is empty where they agree."""

    run: str
    column: str
    ours: Any
    published: Any
    ratio: float | None
    defect: str


def comparison_files(runs: Iterable[Run], rows: Rows, published: Path) -> dict[str, str]:
    """The texts of comparison.csv, comparison.md and averages.csv, averages.md.

    Raises `UsageError` when `published` holds no summaries.
    """
    folders = {path.parent.name: path.parent for path in published.rglob("summary_metrics.json")}
    if not folders:
        raise UsageError(
            f"{published} holds no published run: one is a folder with cfg.json and "
            "summary_metrics.json"
        )
    imported = [
        r for r in runs if r.read_json("manifest.json").get("imported_from") and r.summary()
    ]
    cells = [c for r in imported if r.name in folders for c in compare(r, folders[r.name])]
    table = pd.DataFrame(cells, columns=list(Cell.__dataclass_fields__))
    averages = averages_beside(rows.table, published_rows(folders.values()))
    return {
        "comparison.csv": table.to_csv(index=False),
        "comparison.md": page(table),
        "averages.csv": averages.to_csv(index=False),
        "averages.md": "# Averages beside the published ones\n\n" + _markdown(averages),
    }


def compare(run: Run, folder: Path) -> Iterator[Cell]:
    """Every column of a published summary that we have a counterpart of, and the key irreps."""
    summary, published = run.summary(), _read(folder / "summary_metrics.json")
    task = run.recipe.task
    assert isinstance(task, GroupComposition)
    for column, theirs in published.items():
        if (known := from_published_column(column)) is None:
            continue
        metric, irrep = known
        name = find_irrep(task.finite_group, irrep).name if irrep else None
        ours = summary.get(f"{metric}[irrep:{name}]" if name else metric)
        if ours is not None:
            ours, theirs = float(ours), float(theirs)
            defect = _defect(run.recipe, metric, irrep, ours, theirs)
            yield Cell(run.name, column, ours, theirs, ours / theirs if theirs else None, defect)
    if (folder / "key_reps.txt").exists() and "key_irreps" in summary:
        yield _key_irreps(run, task, (folder / "key_reps.txt").read_text().split())


def _key_irreps(run: Run, task: GroupComposition, published: list[str]) -> Cell:
    theirs = sorted(find_irrep(task.finite_group, name).name for name in published)
    ours = sorted(run.summary()["key_irreps"])
    differ = A5 if task.finite_group.name == "A5" else UNEXPLAINED
    defect = "" if ours == theirs else differ
    return Cell(run.name, "key irreps", " ".join(ours), " ".join(theirs), None, defect)


def _defect(recipe: Recipe, metric: str, irrep: str | None, ours: float, theirs: float) -> str:
    """Nothing where the values agree; else the defect that explains it, or `unexplained`."""
    if agree(metric, ours, theirs):
        return ""
    assert isinstance(recipe.task, GroupComposition)
    is_transformer = isinstance(recipe.model, TransformerConfig)
    known = known_defect(recipe.task.finite_group.name, is_transformer, metric, irrep)
    # These two say what the published value has to be.
    refuted = (known == S6 and not agree(metric, 8 * ours, theirs)) or (known == SQUARES and theirs)
    return UNEXPLAINED if refuted or not known else known


def known_defect(group: str, is_transformer: bool, metric: str, irrep: str | None = None) -> str:
    """The defect that a published value suffers from, if any.

    Args:
        group: its name.
        is_transformer: whether the network is one; else it is an MLP.
        metric: our name.
        irrep: its published name; None for a total.
    """
    of_hidden = metric.startswith(("hidden", "progress"))
    of_irreps = of_hidden or metric.startswith(("logits", "embed", "unembed"))
    if group.startswith("C") and of_hidden and (irrep is None or irrep.startswith("freq_")):
        return CYCLIC
    if group == "A5" and of_irreps and (irrep is None or "3d" in irrep):
        return A5
    if group == "S6" and is_transformer and "loss" in metric:
        return S6
    return SQUARES if is_transformer and metric == "weights/sum_of_squares" else ""


def agree(metric: str, ours: float, theirs: float) -> bool:
    """Whether two values are equal up to the rounding of the published evaluation."""
    tiny = "restricted" in metric and abs(theirs) < TINY
    absolute = ABSOLUTE if metric.endswith(("fve", "similarity")) else 0.0
    relative = RELATIVE_TINY if tiny else RELATIVE
    return math.isclose(ours, theirs, rel_tol=relative, abs_tol=absolute)


def published_rows(folders: Iterable[Path]) -> pd.DataFrame:
    """The published summaries as `paper.rows.collect` gives ours, those of the tables alone."""
    rows = []
    for folder in folders:
        try:
            place = place_of(published_recipe(_read(folder / "cfg.json")))
        except (KeyError, TypeError) as error:
            raise UsageError(f"{folder / 'cfg.json'} is damaged: {error!r}") from error
        if place is not None:
            summary = _read(folder / "summary_metrics.json")
            values = {
                heading: summary.get(str(published_column(metric)))
                for heading, metric in COLUMNS.items()
            }
            rows.append({"Group": place[0], "Architecture": place[1], **values})
    return pd.DataFrame(rows, columns=["Group", "Architecture", *COLUMNS])


def averages_beside(ours: pd.DataFrame, theirs: pd.DataFrame) -> pd.DataFrame:
    """Mean, standard deviation and number of seeds of every column, ours and theirs.

    `published with` names the defect that the published value suffers from.
    """
    keys = ["Group", "Architecture", "column"]

    def long(table: pd.DataFrame, whose: str) -> pd.DataFrame:
        melted = table.melt(keys[:2], list(COLUMNS), "column", "value").astype({"value": float})
        value = melted.groupby(keys, sort=False)["value"]
        found = pd.DataFrame({"mean": value.mean(), "sd": value.std(), "n": value.count()})
        return found.add_prefix(f"{whose} ")

    beside = long(ours, "ours").join(long(theirs, "published"), how="inner").reset_index()
    beside["ratio"] = beside["ours mean"] / beside["published mean"]
    beside["published with"] = [
        known_defect(group, architecture == "transformer", COLUMNS[column])
        for group, architecture, column in zip(*(beside[key] for key in keys), strict=True)
    ]
    return beside


def page(table: pd.DataFrame) -> str:
    """Markdown: a count, what is unexplained, and the totals; all cells are in comparison.csv."""
    counts = table["defect"].replace("", "agree").value_counts()
    unexplained = table.loc[table["defect"] == UNEXPLAINED]
    totals = table.loc[["_rep" not in column for column in table["column"]]]
    parts = [
        "# Comparison with the published values\n",
        f"{table['run'].nunique()} imported runs, {len(table)} values.\n",
        _markdown(counts.rename_axis("defect").reset_index(name="values")),
    ]
    if len(unexplained):
        title = f"## WARNING: {len(unexplained)} UNEXPLAINED DIFFERENCES\n"
        parts += [title, _markdown(unexplained)]
    parts += ["## Totals\n", "Values by irrep are in comparison.csv.\n", _markdown(totals)]
    return "\n".join(parts)


def _markdown(table: pd.DataFrame) -> str:
    lines = [list(table.columns), ["---"] * table.shape[1]]
    lines += [[_text(value) for value in row] for row in table.itertuples(index=False)]
    return "".join(f"| {' | '.join(map(str, line))} |\n" for line in lines)


def _text(value: object) -> str:
    if isinstance(value, float):
        return "–" if math.isnan(value) else f"{value:.6g}"
    return "–" if value is None else str(value)


def _read(path: Path) -> dict[str, Any]:
    try:
        return json.loads(path.read_text())
    except (OSError, json.JSONDecodeError) as error:
        raise UsageError(f"{path} cannot be read: {error}") from error
