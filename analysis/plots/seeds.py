"""What the seeds of one recipe have in common: which irreps they learned, and in what order."""

from collections import Counter
from collections.abc import Mapping, Sequence

import plotly.graph_objects as go

from analysis.plots.style import COLORS, MUTED, figure

ORDINALS = ("first", "second", "third", "fourth", "fifth")


def key_irrep_frequency(key_irreps: Mapping[str, Sequence[str]]) -> go.Figure:
    """In how many runs each irrep is a key irrep. `key_irreps` maps a run to its own."""
    counts = Counter(irrep for irreps in key_irreps.values() for irrep in irreps)
    ranked = [irrep for irrep, _ in counts.most_common()]
    drawn = _bars("Key irreps over seeds", len(key_irreps), "irrep", ranked)
    return drawn.add_bar(
        x=[counts[irrep] for irrep in ranked], y=ranked, orientation="h", marker_color=COLORS[0]
    )


def key_irrep_number(key_irreps: Mapping[str, Sequence[str]]) -> go.Figure:
    """How many runs have how many key irreps."""
    counts = Counter(len(irreps) for irreps in key_irreps.values())
    numbers = [str(number) for number in sorted(counts)]
    drawn = _bars("Number of key irreps over seeds", len(key_irreps), "key irreps", numbers)
    return drawn.add_bar(
        x=[counts[int(number)] for number in numbers],
        y=numbers,
        orientation="h",
        marker_color=COLORS[0],
    )


def learning_order(key_irreps: Mapping[str, Sequence[str]]) -> go.Figure:
    """In how many runs each irrep was learned first, second, ...

    Args:
        key_irreps: each run's key irreps in order of learning.
    """
    counts = Counter(
        (irrep, min(place, len(ORDINALS)))
        for irreps in key_irreps.values()
        for place, irrep in enumerate(irreps)
    )
    # The earliest learned on top: by mean place among the runs that learned it.
    places = {irrep: [p for i, p in counts.elements() if i == irrep] for irrep, _ in counts}
    ranked = sorted(places, key=lambda irrep: (sum(places[irrep]) / len(places[irrep]), irrep))
    drawn = _bars("Order of learning over seeds", len(key_irreps), "irrep", ranked)
    for place, name in enumerate((*ORDINALS, "later")):
        if any((irrep, place) in counts for irrep in ranked):
            drawn.add_bar(
                x=[counts[irrep, place] for irrep in ranked],
                y=ranked,
                orientation="h",
                name=name,
                marker={
                    "color": (*COLORS[: len(ORDINALS)], MUTED)[place],
                    "pattern": {
                        "shape": ("", "/", ".", "x", "-", "")[place],
                        "fillmode": "overlay",
                    },
                },
            )
    return drawn.update_layout(barmode="stack", legend={"title": "learned", "traceorder": "normal"})


def _bars(title: str, runs: int, y: str, categories: Sequence[str]) -> go.Figure:
    """An empty chart of bars that count runs; the first category is on top, each has its name."""
    drawn = figure(title, f"runs (of {runs})", y, height=max(260, 150 + 24 * len(categories)))
    drawn.update_xaxes(rangemode="tozero", dtick=max(1, -(-runs // 8)))
    return drawn.update_yaxes(
        type="category", categoryorder="array", categoryarray=categories, autorange="reversed"
    )
