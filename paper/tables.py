"""The tables of "A Toy Model of Universality" (arXiv 2302.03025), from evaluated runs.

`interp tables --runs RUNS --out OUT [--published DIR]` writes `mlp_all`,
`transformer_all`, `mlp_avg`, `transformer_avg` and `merge` as CSV (plain numbers under the
published headings), LaTeX (booktabs) and Markdown, `runs.md` with what is missing, and with
`--published` the `comparison` with the published values.
"""

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from interp.arguments import complain
from interp.runs.run import find_runs
from paper.rows import Rows, collect
from tasks.atomic import write_text

TRANSFORMER_HEADINGS = {"$W_a$ FVE": "$W_E$ FVE"}
"""A transformer has one embedding: its $W_b$ is left out."""
AVERAGED = (
    "$W_a$ FVE",
    "$W_b$ FVE",
    "$W_U$ FVE",
    "MLP FVE",
    "MLP $\\rho(ab)$ FVE",
    "Test Loss",
    "Exc. Loss",
    "Res. Loss",
)
SD = " sd"
SEEDS = "Seeds"
ABSENT = "–"


@dataclass(frozen=True)
class Table:
    """A table of the publication.

    `data` holds the plain numbers; a column `X sd` belongs to a column `X`, and is printed with it.
    """

    name: str
    data: pd.DataFrame
    headings: list[str] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "headings", [c for c in self.data if not c.endswith(SD)])

    def cells(self, suffix: str = "") -> list[list[str]]:
        """The printed cells, row by row; with `suffix` SD, the standard deviations."""
        columns = [
            [_printed(heading, value) for value in self.data[heading + suffix]]
            if heading + suffix in self.data
            else [""] * len(self.data)
            for heading in self.headings
        ]
        return [list(row) for row in zip(*columns, strict=True)]


def five_tables(rows: Rows) -> list[Table]:
    """mlp_all, transformer_all, mlp_avg, transformer_avg and merge."""
    runs = {architecture: _of(rows.table, architecture) for architecture in ("mlp", "transformer")}
    averages = {architecture: _averages(table) for architecture, table in runs.items()}
    merged = averages["mlp"].merge(averages["transformer"], on="Group", how="outer")
    return [
        *(Table(f"{name}_all", _labelled(table)) for name, table in runs.items()),
        *(Table(f"{name}_avg", _labelled(table)) for name, table in averages.items()),
        Table("merge", _labelled(merged)),
    ]


def _of(table: pd.DataFrame, architecture: str) -> pd.DataFrame:
    """One architecture's runs under the published headings, groups in the order C, D, S, A."""
    table = table.loc[table["Architecture"] == architecture].drop(columns="Architecture")
    if architecture == "transformer":
        table = table.drop(columns="$W_b$ FVE").rename(columns=TRANSFORMER_HEADINGS)
    family = table["Group"].map(lambda group: f"{'CDSA'.find(group[0]) % 5}{group}")
    return table.assign(family=family).sort_values(["family", "Seed"]).drop(columns="family")


def _averages(table: pd.DataFrame) -> pd.DataFrame:
    """Mean and standard deviation (n - 1) over the seeds of each group, by the group's name."""
    prefix = "T" if "$W_E$ FVE" in table else "M"
    by_group = table.groupby("Group")
    averages = pd.DataFrame({prefix + SEEDS: by_group.size().astype("Int64")})
    for heading in (TRANSFORMER_HEADINGS.get(h, h) if prefix == "T" else h for h in AVERAGED):
        if heading in table:
            values = by_group[heading]
            averages[prefix + heading] = values.mean()
            averages[prefix + heading + SD] = values.std(ddof=1)
    return averages.reset_index()


def _labelled(table: pd.DataFrame) -> pd.DataFrame:
    return table.assign(Group=table["Group"].map(group_label)).reset_index(drop=True)


def group_label(name: str) -> str:
    """`$C_{113}$` for C113; a name of another form as it is."""
    if not re.fullmatch(r"([A-Z][a-z]*\d+)(x[A-Z][a-z]*\d+)*", name):
        return name
    return "$" + re.sub(r"(\d+)", r"_{\1}", name).replace("x", r" \times ") + "$"


def _printed(heading: str, value: Any) -> str:
    """A cell as the publication prints it."""
    if isinstance(value, str):
        return value
    if value is None or pd.isna(value):
        return ABSENT
    if "FVE" in heading:
        return f"{value:.2%}"
    if heading.endswith(("Test Loss", "Res. Loss")):
        return f"{value:.2e}"
    return f"{value:.2f}" if heading.endswith("Exc. Loss") else f"{value:.0f}"


def markdown(table: Table) -> str:
    """A Markdown table; standard deviations stand in the cell, after ±."""
    lines = [table.headings, ["---"] * len(table.headings)]
    for cells, deviations in zip(table.cells(), table.cells(SD), strict=True):
        lines.append(
            [
                f"{c} ± {d}" if d not in ("", ABSENT) else c
                for c, d in zip(cells, deviations, strict=True)
            ]
        )
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def latex(table: Table) -> str:
    """A `tabular` for booktabs; standard deviations stand in a smaller row below the means."""
    lines = [rf"\begin{{tabular}}{{{'c' * len(table.headings)}}}", r"\toprule"]
    lines += [_latex_row(table.headings), r"\midrule"]
    for cells, deviations in zip(table.cells(), table.cells(SD), strict=True):
        lines.append(_latex_row(cells))
        small = [rf"{{\scriptsize $\pm$ {d}}}" if d not in ("", ABSENT) else "" for d in deviations]
        if any(small):
            lines.append(_latex_row(small))
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}", ""])


def _latex_row(cells: list[str]) -> str:
    return " & ".join(_escaped(cell) for cell in cells) + r" \\"


def _escaped(cell: str) -> str:
    """Special characters outside of formulas, and the dash for an absent value."""
    parts = cell.split("$")
    parts[::2] = [re.sub(r"(?<!\\)([%&#_])", r"\\\1", part) for part in parts[::2]]
    return "$".join(parts).replace(ABSENT, "--")


def runs_page(rows: Rows) -> str:
    """Markdown: how many runs the tables rest on, and which are missing or left out."""
    sections = [f"# Runs\n\nThe tables hold {len(rows.table)} runs.\n"]
    for title, lines in (
        (f"Missing of the publication's 56 ({len(rows.missing)})", rows.missing),
        (f"Left out ({len(rows.left_out)})", rows.left_out),
    ):
        if lines:
            sections.append(f"## {title}\n\n" + "".join(f"- {line}\n" for line in lines))
    return "\n".join(sections)


@dataclass(frozen=True)
class Options:
    """Write the publication's tables from evaluated runs."""

    runs: Path
    """Folder with the runs, at any depth."""
    out: Path
    """Folder for the tables."""
    published: Path | None = None
    """The published runs (folders with summary_metrics.json), to compare with."""


def write_tables(options: Options) -> int:
    """Write all tables; the work of `interp tables`."""
    runs = find_runs(options.runs)
    rows = collect(runs)
    files = {"runs.md": runs_page(rows)}
    for table in five_tables(rows):
        files[f"{table.name}.csv"] = table.data.to_csv(index=False)
        files[f"{table.name}.tex"] = latex(table)
        files[f"{table.name}.md"] = markdown(table)
    if options.published is not None:
        from paper.comparison import UNEXPLAINED, comparison_files

        files |= comparison_files(runs, rows, options.published)
        if count := files["comparison.csv"].count(f",{UNEXPLAINED}\n"):
            complain(f"{count} unexplained differences: see {options.out / 'comparison.md'}")
    write_files(options.out, files)
    print(f"{len(rows.table)} runs in the tables, {len(rows.missing)} of 56 missing: {options.out}")
    return 0


def counted(cells: Iterable[str]) -> str:
    """How often each word is in the cells, the most frequent first, as `minimum 3, trend 1`."""
    words = Counter(word for cell in cells for word in cell.split())
    return ", ".join(f"{word} {n}" for word, n in words.most_common()) or "none"


def write_files(folder: Path, files: Mapping[str, str]) -> None:
    """Write texts under their names, each whole or not at all."""
    for name, text in files.items():
        write_text(folder / name, text)
