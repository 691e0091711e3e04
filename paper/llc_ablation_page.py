"""Changes of the local learning coefficient by ablation, as a page and a picture."""

from typing import Any

import pandas as pd
import plotly.graph_objects as go

from analysis.llc.checks import reach
from analysis.plots.style import COLORS, INK, hollow_where
from paper.chain_of_thought.plots import panels, place
from paper.tables import Table, markdown

KEYS = ("network", "component", "ablation")
UNSAMPLED = "minimum|r_hat_loss"
"""Checks that say of a number that it is about nothing."""
MEANS = ("loss_before", "loss_ablated", "loss_after", "before", "after", "change")


def page(table: pd.DataFrame) -> str:
    """Markdown: a row for each kind of network, component and replacement."""
    cells = [_cells(row) for row in changes(table).to_dict("records")]
    return markdown(Table("ablation", pd.DataFrame(cells)))


def changes(table: pd.DataFrame) -> pd.DataFrame:
    """Means over the networks whose numbers before and after pass; over all that have them, if
    none does, and NaN if none has.

    The interval of 95% is by Student's t, over networks, or over the chains of a single one.
    """
    is_passed = (table["before_failures"] == "") & (table["after_failures"] == "")
    rows = []
    for keys in table[list(KEYS)].drop_duplicates().itertuples(index=False):
        is_here = (table[list(KEYS)] == list(keys)).all(axis=1)
        group, passed = table.loc[is_here], table.loc[is_here & is_passed]
        used = passed if len(passed) else group
        if used["change"].notna().any():
            used = used.dropna(subset=["change"])
        mean, half = float(used["change"].mean()), float(used["change_reach"].iloc[0])
        if len(used) > 1:
            half = reach(float(used["change"].std(ddof=1)) / len(used) ** 0.5, len(used))
        failures = " ".join([*group["before_failures"], *group["after_failures"]]).split()
        row = {**dict(zip(KEYS, keys, strict=True)), "passed": len(passed), "networks": len(group)}
        row |= {name: float(used[name].mean()) for name in MEANS}
        row |= {"low": mean - half, "high": mean + half}
        rows.append(row | {"failures": " ".join(dict.fromkeys(failures))})
    return pd.DataFrame(rows)


def _cells(row: dict[Any, Any]) -> dict[str, str]:
    def bracketed(cell: str) -> str:
        if "nan" in cell:
            return "none"
        return cell if row["passed"] else f"[{cell}]"

    return {
        **{name: row[name] for name in KEYS},
        "loss before": f"{row['loss_before']:.2g}",
        "ablated": f"{row['loss_ablated']:.2g}",
        "after": f"{row['loss_after']:.2g}",
        "LLC before": bracketed(f"{row['before']:.2f}"),
        "LLC after": bracketed(f"{row['after']:.2f}"),
        "before - after": bracketed(
            f"{row['change']:+.2f} ({row['low']:+.2f} to {row['high']:+.2f})"
        ),
        "passed": f"{row['passed']} of {row['networks']}",
        "failures": row["failures"],
    }


def ablation_figure(table: pd.DataFrame) -> go.Figure:
    """The change in every network, a panel for each kind; hollow where a number fails a check.

    What is no minimum, and where chains disagree on the loss, is not in the picture.
    """
    failures = table["before_failures"] + " " + table["after_failures"]
    is_sampled = ~failures.str.contains(UNSAMPLED)
    kinds = list(table["network"].unique())
    title = "Change of the coefficient by ablation"
    drawn = panels(kinds, len(kinds), title, 380, horizontal_spacing=0.16)
    for i, kind in enumerate(kinds):
        where = place(i, len(kinds))
        drawn.update_yaxes(title_text="LLC before - after", **where)
        names = table.loc[table["network"] == kind, "component"].unique()
        drawn.update_xaxes(
            categoryorder="array", categoryarray=names, range=[-0.6, len(names) - 0.4], **where
        )
        for how, color in zip(table["ablation"].unique(), COLORS, strict=False):
            is_here = (table["network"] == kind) & (table["ablation"] == how) & is_sampled
            rows = table.loc[is_here]
            drawn.add_scatter(
                x=rows["component"],
                y=rows["change"],
                error_y={"array": rows["change_reach"], "thickness": 1, "width": 0},
                name=how,
                mode="markers",
                marker={"size": 7} | hollow_where(failures[is_here].str.strip() != "", color),
                legendgroup=how,
                offsetgroup=how,
                showlegend=i == 0,
                **where,
            )
    return drawn.update_layout(font={"color": INK}, scattermode="group")
