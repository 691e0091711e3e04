"""What `paper.llc_irreps` found: a page and a picture."""

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from analysis.llc.checks import reach
from analysis.plots.style import COLORS, INK, MUTED, hollow_where, log_axis
from paper.chain_of_thought.plots import add_band, panels, place
from paper.tables import ABSENT, Table, counted, markdown

SETTING = ["matrices", "loss", "localization"]
PAIRS = (("key", "unused"), ("key", "random"), ("unused", "random"))
TITLES = {
    "embed": "moves of the embeddings",
    "unembed": "moves of the unembedding",
    "similarity": "similarity of the logits",
}


def last(table: pd.DataFrame) -> pd.DataFrame:
    """The rows of the last checkpoint, with the number for each dimension."""
    rows = table.loc[table["step"] == table["step"].max()]
    return rows.assign(per_dimension=rows["estimate"] / rows["dimensions"])


def differences(table: pd.DataFrame) -> pd.DataFrame:
    """By how much the numbers for each dimension differ between kinds of subspaces of equal rank.

    At the last checkpoint; the mean over the networks that have both kinds (over the ranks of each
    first), and its 95% interval by Student's t. The trivial irrep is neither used nor unused.
    """
    rows = []
    for _, of_setting in last(table).groupby(SETTING):
        by_kind = of_setting.pivot_table("per_dimension", ["seed", "rank"], "kind")
        means = by_kind.reindex(columns=pd.Index(["key", "unused", "random"]))
        for first, second in PAIRS:
            both = means.loc[means[first].notna() & means[second].notna()]
            found = (both[first] - both[second]).groupby(level="seed").mean().to_numpy()
            n = len(found)
            mean = found.mean() if n else float("nan")
            half = reach(found.std(ddof=1) / n**0.5, n) if n > 1 else float("nan")
            row = {"first": first, "second": second, "networks": n, "mean": mean}
            row |= {"low": mean - half, "high": mean + half, "share": mean / both[second].mean()}
            rows.append(of_setting[SETTING].iloc[0].to_dict() | row)
    return pd.DataFrame(rows)


def page(table: pd.DataFrame, about: str, n_unused: int) -> str:
    """Markdown: what was done, the last checkpoint, and the differences.

    Args:
        table: the rows of `llc_irreps.csv`.
        about: the recipe and the sampler's settings.
        n_unused: how many networks did not generalise, and are not in the table.
    """
    passed = (table["failures"] == "").sum()
    weakest = table["localization"].min()
    rows = last(table)
    is_no_minimum = rows["matrices"].str.contains("+", regex=False) & (rows["loss"] == "task")
    return (
        "# S4: the local learning coefficient per irrep\n\n"
        f"{about}.\n\n"
        f"{table['seed'].nunique()} networks, and {n_unused} that did not generalise and are not "
        f"in what follows; {passed} of {len(table)} numbers pass all checks, the others are hollow "
        f"({counted(table['failures'])}).\n\n"
        "![The numbers along training](llc_irreps.svg)\n\n"
        f"At the last checkpoint, at localization {weakest:g}: the mean over the networks that use "
        "an irrep, over those that do not (± one standard deviation), and over random subspaces of "
        "equal rank (the smallest to the largest):\n\n"
        f"{markdown(Table('irreps', _by_irrep(rows.loc[rows['localization'] == weakest])))}\n"
        "The difference for each dimension between subspaces of equal rank, mean over networks "
        "with its 95% interval, and as a share of the second; without the trivial irrep, which in "
        "W_U is a shift of all logits. What one network uses and what it does not are different "
        "irreps; one irrep in networks that use it and in others is in the table above.\n\n"
        f"{markdown(Table('differences', _printed(differences(rows.loc[~is_no_minimum]))))}\n"
        "All three matrices together, about the network that has them in one subspace only "
        f"(localization {weakest:g}); its loss, of how many networks it is a minimum by the "
        "checks, the number by that loss, and by the divergence from its own answers, of which it "
        "is one:\n\n"
        f"{markdown(Table('joint', _joint(rows)))}"
    )


def _by_irrep(rows: pd.DataFrame) -> pd.DataFrame:
    """A row for each matrix and irrep."""
    found = []
    one = rows.loc[~rows["matrices"].str.contains("+", regex=False)]
    for matrices, of_matrix in one.groupby("matrices"):
        for name, of_irrep in of_matrix.query("kind != 'random'").groupby("subspace", sort=False):
            is_key, rank = of_irrep["kind"] == "key", of_irrep["rank"].iloc[0]
            is_random = (of_matrix["kind"] == "random") & (of_matrix["rank"] == rank)
            random = of_matrix.loc[is_random, "estimate"]
            spread = f" ({random.min():.1f} to {random.max():.1f})" if len(random) else ""
            found.append(
                {
                    "matrix": matrices,
                    "irrep": str(name).removeprefix("irrep:"),
                    "dimensions": of_irrep["dimensions"].iloc[0],
                    "used by": is_key.sum(),
                    "similarity": _mean(of_irrep.loc[is_key, "similarity"], ".2f"),
                    "LLC where used": _spread(of_irrep.loc[is_key, "estimate"]),
                    "LLC elsewhere": _spread(of_irrep.loc[~is_key, "estimate"]),
                    "LLC, random": _mean(random, ".1f") + spread,
                }
            )
    return pd.DataFrame(found)


def _printed(found: pd.DataFrame) -> pd.DataFrame:
    values = zip(found["mean"], found["low"], found["high"], strict=True)
    return pd.DataFrame(
        {
            "matrices": found["matrices"],
            "loss": found["loss"],
            "localization": found["localization"].map("{:g}".format),
            "difference": found["first"] + " less " + found["second"],
            "networks": found["networks"],
            "mean (interval)": [
                ABSENT if pd.isna(mean) else f"{mean:+.4f} ({low:+.4f} to {high:+.4f})"
                for mean, low, high in values
            ],
            "share": [ABSENT if pd.isna(share) else f"{share:+.0%}" for share in found["share"]],
        }
    )


def _joint(rows: pd.DataFrame) -> pd.DataFrame:
    """A row for each kind and rank of subspace."""
    found = []
    joint = rows.loc[rows["matrices"].str.contains("+", regex=False)]
    for (kind, rank), of_kind in joint.groupby(["kind", "rank"]):
        task, kl = (of_kind.loc[of_kind["loss"] == loss] for loss in ("task", "kl"))
        is_none = task["failures"].str.contains("minimum|below|negative")
        found.append(
            {
                "subspace": kind,
                "rank": rank,
                "dimensions": task["dimensions"].iloc[0],
                "loss": _mean(task["initial_loss"], ".2f"),
                "minima": f"{(~is_none).sum()} of {len(task)}",
                "number, task": _mean(task["estimate"], ".1f"),
                "LLC, kl": _mean(kl["estimate"], ".1f"),
                "kl passes": f"{(kl['failures'] == '').sum()} of {len(kl)}",
            }
        )
    return pd.DataFrame(found)


def _spread(values: pd.Series) -> str:
    deviation = f" ± {values.std():.1f}" if len(values) > 1 else ""
    return _mean(values, ".1f") + deviation


def _mean(values: pd.Series, form: str) -> str:
    return f"{values.mean():{form}}" if values.notna().any() else ABSENT


def irreps_figure(table: pd.DataFrame) -> go.Figure:
    """Along training, the mean over networks: solid where they use an irrep, dotted where not.

    A mark is hollow where a check fails in one of these networks. The band is the random subspaces
    of the largest rank, one in each network: their mean, and one standard deviation.
    """
    followed = table.query("loss == 'task' and localization == localization.min()")
    followed = followed.assign(per_dimension=followed["estimate"] / followed["dimensions"])
    of_irreps = followed.query("kind != 'random'")
    at_all = followed.loc[followed["step"] < followed["step"].max(), "subspace"]
    drawn = panels(
        list(TITLES.values()), 2, "Irreps of S4 along training", 290, vertical_spacing=0.18
    )
    colors = dict(zip(of_irreps["subspace"].unique(), COLORS, strict=False))
    for i, (matrices, column) in enumerate(
        (("embed", "per_dimension"), ("unembed", "per_dimension"), ("embed", "similarity"))
    ):
        where, rows = place(i, 2), of_irreps.loc[of_irreps["matrices"] == matrices]
        if column == "per_dimension":
            is_random = (followed["kind"] == "random") & (followed["matrices"] == matrices)
            random = followed.loc[is_random & followed["subspace"].isin(at_all)]
            points = pd.DataFrame({"x": random["step"], "y": random[column]})
            add_band(drawn, points, "random", MUTED, where, in_legend=i == 0)
        for name, color in colors.items():
            for kind, of_kind in rows.loc[rows["subspace"] == name].groupby("kind"):
                label = f"{name.removeprefix('irrep:')}, {kind}"
                _add_line(drawn, of_kind, column, label, color, where, in_legend=i == 0)
    for i, axis in enumerate(("estimate / dimension", "estimate / dimension", "similarity")):
        drawn.update_yaxes(title_text=axis, **place(i, 2))
    drawn.update_xaxes(title_text="training step", **log_axis(table["step"].to_numpy()))
    in_place_of_a_fourth = {"x": 0.6, "y": 0.4, "yanchor": "top"}
    return drawn.update_layout(font={"color": INK}, legend=in_place_of_a_fourth)


def _add_line(
    drawn: go.Figure,
    rows: pd.DataFrame,
    column: str,
    label: str,
    color: str,
    where: dict[str, int],
    *,
    in_legend: bool,
) -> None:
    by_step = rows.groupby("step")
    is_good = by_step["failures"].agg(lambda failures: (failures == "").all())
    is_solid = np.ones_like(is_good, dtype=bool) if column == "similarity" else is_good
    drawn.add_scatter(
        x=list(by_step.groups),
        y=by_step[column].mean(),
        name=label,
        legendgroup=label,
        showlegend=in_legend,
        mode="lines+markers",
        line={"color": color, "width": 2, "dash": "solid" if label.endswith("key") else "dot"},
        marker={"size": 6} | hollow_where(~is_solid, color),
        **where,
    )
