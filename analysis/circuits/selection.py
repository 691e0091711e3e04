"""From scores to circuits: sets of edges."""

from collections.abc import Iterable, Sequence

from jaxtyping import Float
from torch import Tensor

from interp.models.graph import UNEMBED, Edge, node_of


def ranked(edges: Sequence[Edge], scores: Float[Tensor, "edge"]) -> list[Edge]:
    """The edges, the highest score first; among equals, those nearer to the output."""
    last_first = range(len(edges) - 1, -1, -1)
    return [edges[i] for i in sorted(last_first, key=lambda i: -scores[i].item())]


def top(edges: Sequence[Edge], scores: Float[Tensor, "edge"], n: int) -> list[Edge]:
    """The n edges with the highest scores. Raises `ValueError` when there are not as many."""
    _check(edges, n)
    return ranked(edges, scores)[:n]


def above(edges: Sequence[Edge], scores: Float[Tensor, "edge"], threshold: float) -> list[Edge]:
    """The edges with a score above a threshold, the highest first."""
    return [edge for edge in ranked(edges, scores) if scores[edges.index(edge)] > threshold]


def greedy(edges: Sequence[Edge], scores: Float[Tensor, "edge"], n: int) -> list[Edge]:
    """n edges, each the one with the highest score of those that enter what is there already.

    It begins at the output, so that every part of the circuit is connected to it (Hanna et al.
    2024). Raises `ValueError` when there are not as many edges.
    """
    _check(edges, n)
    order, nodes, found = ranked(edges, scores), {UNEMBED}, []
    while len(found) < n:
        edge = next((edge for edge in order if node_of(edge.receiver) in nodes), None)
        if edge is None:
            break
        order.remove(edge)
        nodes.add(edge.sender)
        found.append(edge)
    return found


def connected(edges: Iterable[Edge]) -> list[Edge]:
    """Those on a way from the embeddings to the output: others cannot carry anything there."""
    edges = list(edges)
    starts = {edge.sender for edge in edges if "embed" in edge.sender}
    forward = _reached(starts, [(e.sender, node_of(e.receiver)) for e in edges])
    backward = _reached({UNEMBED}, [(node_of(e.receiver), e.sender) for e in edges])
    return [e for e in edges if e.sender in forward and node_of(e.receiver) in backward]


def _reached(starts: set[str], steps: list[tuple[str, str]]) -> set[str]:
    """All nodes that steps lead to from `starts`."""
    reached, newest = set(starts), set(starts)
    while newest:
        newest = {end for begin, end in steps if begin in newest} - reached
        reached |= newest
    return reached


def _check(edges: Sequence[Edge], n: int) -> None:
    if not 0 <= n <= len(edges):
        raise ValueError(f"a circuit of {n} edges was asked for: the graph has {len(edges)}")
