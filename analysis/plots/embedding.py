"""An embedding of a group's elements, seen in the basis of the group's irreps."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import plotly.graph_objects as go
import torch
from jaxtyping import Float
from plotly.subplots import make_subplots
from torch import Tensor
from torch.nn import Module

from analysis.plots.style import CYCLIC, DIVERGING, INK, SEQUENTIAL, TEMPLATE, figure
from interp.models.anatomy import hidden_layer
from tasks.composition import GroupComposition
from tasks.groups import FiniteGroup, find_irrep, fourier_basis, irreps

MAX_CIRCLES = 8
PER_ROW = 4


@dataclass(frozen=True, eq=False)
class Embedding:
    """One vector for every element of a group; `directions` says what its coordinates are."""

    group: FiniteGroup
    matrix: Float[Tensor, "element direction"]
    directions: str = "neuron"

    def in_irrep(self, irrep: str) -> Float[Tensor, "mode direction"]:
        """Coefficients on an orthonormal basis of the irrep's matrix entries."""
        names = [one.name for one in irreps(self.group)]
        basis = fourier_basis(self.group)
        return basis.matrix[:, basis.blocks[names.index(irrep)]].T @ self.matrix.double()


def embeddings_of(model: Module, task: GroupComposition) -> dict[str, Embedding]:
    """A network's effective embeddings by operand, `a` and `b`; of `a` alone where both are one.

    Directions are neurons where the network has an embedding for each operand, as they come before
    the ReLU; else the embedding's principal directions.

    Raises `ValueError` for a network of an architecture that is not known.
    """
    a, b = (matrix.detach() for matrix in hidden_layer(model).embeddings)
    group = task.finite_group
    if torch.equal(a, b):
        principal = a @ torch.linalg.svd(a, full_matrices=False)[2].T
        return {"a": Embedding(group, principal[: group.order], "principal direction")}
    return {"a": Embedding(group, a[: group.order]), "b": Embedding(group, b[: group.order])}


def energy_figure(embedding: Embedding, title: str) -> go.Figure:
    """How long each direction's part in each irrep is; directions are sorted by main irrep.

    A network that learned few irreps shows few rows, each direction in one of them.
    """
    names = [irrep.name for irrep in irreps(embedding.group)]
    norms = torch.stack([embedding.in_irrep(name).norm(dim=0) for name in names])
    order = sorted(
        range(norms.shape[1]), key=lambda j: (int(norms[:, j].argmax()), -float(norms[:, j].max()))
    )
    drawn = figure(
        title,
        f"{embedding.directions} (sorted by main irrep)",
        "irrep",
        height=max(300, 150 + (18 if len(names) <= 40 else 13) * len(names)),
    )
    drawn.add_heatmap(
        z=norms[:, order].numpy(),
        y=names,
        colorscale=SEQUENTIAL,
        zmin=0,
        colorbar={"title": {"text": "norm"}},
        hovertemplate="%{y}: %{z:.3g}<extra></extra>",
    )
    return drawn.update_yaxes(type="category", autorange="reversed", nticks=len(names))


def entries_figure(embedding: Embedding, irrep: str, title: str) -> go.Figure:
    """The embedding against the matrix entries of an irrep, in the directions that carry it.

    Directions are sorted by the entry they load on most; those under a tenth of the longest are
    left out.
    """
    dimension = find_irrep(embedding.group, irrep).dimension
    coefficients = embedding.in_irrep(irrep)
    norms = coefficients.norm(dim=0)
    kept = (norms > norms.max() / 10).nonzero().flatten()
    kept = kept[coefficients[:, kept].abs().argmax(dim=0).argsort(stable=True)]
    entries = (
        [f"ρ({i + 1},{j + 1})" for i in range(dimension) for j in range(dimension)]
        if len(coefficients) == dimension**2
        else [f"mode {k + 1}" for k in range(len(coefficients))]
    )
    drawn = figure(
        title,
        f"{embedding.directions} ({len(kept)} that carry {irrep})",
        "matrix entry",
        height=max(260, 170 + 16 * len(entries)),
    )
    drawn.add_heatmap(
        z=coefficients[:, kept].numpy(),
        y=entries,
        colorscale=DIVERGING,
        zmid=0,
        colorbar={"title": {"text": "coefficient"}},
        hovertemplate="%{y}: %{z:.3g}<extra></extra>",
    )
    return drawn.update_yaxes(type="category", autorange="reversed")


def circles_figure(embedding: Embedding, frequencies: Sequence[str], title: str) -> go.Figure:
    """Every element in the plane where the embedding turns at each frequency of a cyclic group.

    The plane is spanned by the two directions in which the part of the embedding in the irrep is
    largest; what is drawn is the whole embedding, so what does not belong there shows as noise.
    Colour is the angle 2 pi k g / n that the element g has in the irrep `freq_k`.

    Args:
        embedding: of a cyclic group.
        frequencies: two-dimensional irreps `freq_k`; of more than eight, those in which the
            embedding is largest are drawn.
        title: of the figure.
    """
    largest = sorted(frequencies, key=lambda name: -float(embedding.in_irrep(name).norm()))
    shown = [name for name in frequencies if name in largest[:MAX_CIRCLES]]
    columns = min(PER_ROW, len(shown))
    rows = math.ceil(len(shown) / columns)
    grid = [
        [{} if r * columns + c < len(shown) else None for c in range(columns)] for r in range(rows)
    ]
    spacing = 0.2 / rows
    drawn = make_subplots(rows, columns, specs=grid, subplot_titles=shown, vertical_spacing=spacing)
    drawn.update_xaxes(showticklabels=False, ticks="")
    drawn.update_yaxes(showticklabels=False, ticks="")
    for place, name in enumerate(shown):
        row, col = place // columns + 1, place % columns + 1
        drawn.add_trace(_circle(embedding, name), row=row, col=col)
        drawn.update_yaxes(scaleanchor=f"x{place + 1}" if place else "x", row=row, col=col)
        if place + columns >= len(shown):
            drawn.update_xaxes(title_text="first direction", row=row, col=col)
        if col == 1:
            drawn.update_yaxes(title_text="second direction", row=row, col=col)
    return drawn.update_layout(
        template=TEMPLATE,
        title={"text": title},
        height=130 + 270 * rows,
        margin={"t": 90},
        showlegend=False,
    )


def _circle(embedding: Embedding, name: str) -> go.Scatter:
    _, _, directions = torch.linalg.svd(embedding.in_irrep(name), full_matrices=False)
    points = embedding.matrix.double() @ directions[:2].T
    n, k = embedding.group.order, int(name.removeprefix("freq_"))
    angles = [k * element % n / n for element in range(n)]
    return go.Scatter(
        x=points[:, 0].numpy(),
        y=points[:, 1].numpy(),
        mode="markers",
        marker={
            "color": angles,
            "colorscale": CYCLIC,
            "cmin": 0,
            "cmax": 1,
            "size": 8,
            "line": {"width": 0.5, "color": INK},
        },
        text=list(embedding.group.element_names),
        hovertemplate="%{text}<extra></extra>",
    )
