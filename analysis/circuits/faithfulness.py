"""Does a circuit do what the network does, and is all of it needed?

With m(S) the mean metric when all edges but those of S are cut, M all edges and ∅ none, a circuit C
has

- faithfulness (m(C) - m(∅)) / (m(M) - m(∅)),
- completeness (m(M) - m(M \\ C)) / (m(M) - m(∅)), 1 if what is left of the network does nothing,
- minimality, the smallest |m(C) - m(C \\ e)| / |m(M) - m(∅)| of its edges e,

after Wang et al. (2022), arXiv 2211.00593, and Marks et al. (2024), arXiv 2403.19647. All are NaN
where m(M) = m(∅).
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float, Float64
from torch import Tensor

from analysis.circuits.setting import Setting
from interp.models.graph import Edge

N_SIZES = 12
"""Points of a curve that have a minimality: it takes a run for each edge of the circuit."""

Inside = Float[Tensor, "circuit edge"]
"""1 at the edges of each circuit."""


def evaluate_circuit(on: Setting, circuit: Sequence[Edge | str]) -> dict[str, float]:
    """The faithfulness, completeness and minimality of a circuit.

    Raises `ValueError` for an edge that does not exist.
    """
    inside = on.graph.weights(circuit)
    shares = {name: values.item() for name, values in _shares(on, inside[None]).items()}
    return shares | {"minimality": _minimality(on, inside)}


def circuit_curve(
    on: Setting, ranking: Sequence[Edge | str], *, minimality: bool = True
) -> pd.DataFrame:
    """The circuits of the first 0, 1, 2, ... edges of a ranking.

    Returns columns edges (how many), faithfulness, completeness and minimality. The last is NaN
    but at `N_SIZES` numbers of edges, evenly spaced on a log scale, and everywhere if not asked
    for.
    """
    n = len(ranking)
    order = torch.tensor([on.graph.index(edge) for edge in ranking])
    inside = torch.zeros(n + 1, len(on.graph.edges)).to(on.run.logits)
    inside[:, order] = torch.ones(n + 1, n).tril(-1).to(inside)
    found = pd.DataFrame({"edges": range(n + 1), **_shares(on, inside), "minimality": np.nan})
    sizes = np.geomspace(1, n, N_SIZES if minimality else 0)
    for size in np.unique(sizes.round().astype(int)):
        found.loc[size, "minimality"] = _minimality(on, inside[size])
    return found


def area(curve: pd.DataFrame, column: str = "faithfulness") -> float:
    """The area under a column of a curve, over the share of the edges that are in the circuit.

    NaN where the column is.
    """
    known = curve.dropna(subset=[column])
    if known.empty:
        return float("nan")
    return float(np.trapezoid(known[column], known["edges"] / curve["edges"].max()))


def _shares(on: Setting, inside: Inside) -> dict[str, Float64[np.ndarray, "circuit"]]:
    whole, gap = _ends(on)
    alone, rest = _mean_metric(on, inside), _mean_metric(on, 1 - inside)
    return {"faithfulness": 1 + (alone - whole) / gap, "completeness": (whole - rest) / gap}


def _minimality(on: Setting, inside: Float[Tensor, "edge"]) -> float:
    less = inside - torch.eye(len(inside)).to(inside)[inside.bool()]
    if not len(less):
        return float("nan")
    change = _mean_metric(on, less) - _mean_metric(on, inside[None])
    return float(np.abs(change / _ends(on)[1]).min())


def _ends(on: Setting) -> tuple[float, float]:
    """m(M), and m(M) - m(∅), NaN if it is 0."""
    whole = on.whole.double().mean().item()
    gap = whole - _mean_metric(on, torch.zeros(1, len(on.graph.edges)).to(on.run.logits)).item()
    return whole, gap or float("nan")


def _mean_metric(on: Setting, inside: Inside) -> Float64[np.ndarray, "circuit"]:
    return on.cut(1 - inside).double().mean(dim=1).cpu().numpy()
