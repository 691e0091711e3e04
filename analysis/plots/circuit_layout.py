"""Where the nodes and edges of a circuit are drawn. Columns and rows are 1 apart."""

from collections import defaultdict
from collections.abc import Iterable, Mapping

import numpy as np

from interp.models.graph import UNEMBED, Edge, node_of

HALF_WIDTH, HALF_HEIGHT = 0.37, 0.3
"""Of a node's box."""
MARGIN = 0.05
"""Around a box, within which an edge counts as touching it."""
CLEARANCE = 0.42
"""How far from the middle of a box an edge passes; between two boxes there is room for two."""
PORTS = {"q": -0.19, "k": 0.0, "v": 0.19}
"""Where edges enter a head, from its middle downward."""
STAGGER = 0.25
"""By how much the heads of odd layers are lower, and those of even layers higher: edges past a
layer are then seen between its heads."""

Places = Mapping[str, tuple[float, float]]
"""The column of every node, and its row from the top."""
Curve = tuple[np.ndarray, np.ndarray]


def node_places(edges: Iterable[Edge]) -> Places:
    """The embeddings, the heads of a layer, its MLP, ..., the unembedding: each a column."""
    columns: dict[tuple[float, bool], list[str]] = defaultdict(list)
    for node in dict.fromkeys(node_of(end) for edge in edges for end in edge):
        columns[_depth(node)].append(node)
    lowest = max(map(len, columns.values())) / 2 + 0.75
    return {
        node: (float(column), _row(node, depth[0], i - (len(nodes) - 1) / 2, lowest))
        for column, (depth, nodes) in enumerate(sorted(columns.items()))
        for i, node in enumerate(nodes)
    }


def _depth(node: str) -> tuple[float, bool]:
    """What sorts nodes: their layer, and whether they are its MLP."""
    if "embed" in node:
        return (float("inf") if node == UNEMBED else -1.0), False
    layer = node.removeprefix("MLP").removeprefix("L").partition("H")[0]
    return float(layer), node.startswith("MLP")


def _row(node: str, layer: float, centred: float, lowest: float) -> float:
    if node.startswith("MLP"):  # below all heads, where no edge between them passes
        return lowest
    return centred if "embed" in node else centred + STAGGER * (1 if layer % 2 else -1)


def edge_curve(places: Places, edge: Edge) -> Curve:
    """From the right of the sender to a port of the receiver, and round the nodes between."""
    (x0, y0), (x1, y1) = places[edge.sender], places[node_of(edge.receiver)]
    start = (x0 + HALF_WIDTH, y0)
    end = (x1 - HALF_WIDTH, y1 + PORTS.get(edge.receiver.partition(".")[2], 0.0))
    between = [place for place in places.values() if x0 < place[0] < x1]
    curve = _level_curve(start, end)
    if not any(_touches(curve, place) for place in between):
        return curve
    points = [start]
    for x in sorted({column for column, _ in between}):
        y = np.interp(x, [start[0], end[0]], [start[1], end[1]])
        y = _beside(float(y), [row for column, row in between if column == x])
        points += [(x - HALF_WIDTH, y), (x + HALF_WIDTH, y)]
    pieces = [_level_curve(*pair) for pair in zip(points[::2], [*points[1::2], end], strict=True)]
    x, y = (np.concatenate(parts) for parts in zip(*pieces, strict=True))
    return x, y


def _touches(curve: Curve, place: tuple[float, float]) -> bool:
    """Whether a curve enters the box of a node, or comes near."""
    near_x = abs(curve[0] - place[0]) < HALF_WIDTH + MARGIN
    return bool((near_x & (abs(curve[1] - place[1]) < HALF_HEIGHT + MARGIN)).any())


def _beside(y: float, rows: Iterable[float]) -> float:
    """The height nearest to `y` that is clear of the boxes of a column."""
    for row in rows:
        if abs(y - row) < CLEARANCE:
            return row + CLEARANCE if y >= row else row - CLEARANCE
    return y


def _level_curve(start: tuple[float, float], end: tuple[float, float]) -> Curve:
    """A cubic Bezier curve that is level at both ends."""
    (x0, y0), (x1, y1) = start, end
    middle = (x0 + x1) / 2
    t = np.linspace(0, 1, 41)[:, None]
    weights = np.hstack([(1 - t) ** 3, 3 * t * (1 - t) ** 2, 3 * t**2 * (1 - t), t**3])
    x, y = (weights @ np.array([[x0, y0], [middle, y0], [middle, y1], [x1, y1]])).T
    return x, y
