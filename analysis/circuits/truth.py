"""How well scores find a circuit that is known."""

import math
from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float
from torch import Tensor

from interp.models.graph import Edge, node_of
from interp.models.true_circuit import Kind

NOTHING = 1e-6
"""An edge is found if its score is above this share of the largest."""


class NoRankingError(ValueError):
    """A circuit that no ranking of its edges can be judged by."""


def against_truth(
    edges: Sequence[Edge], scores: Float[Tensor, "edge"], kinds: Mapping[Edge, Kind]
) -> dict[str, int | float]:
    """Are the variable edges of a known circuit ranked before the absent ones?

    Constant edges count as neither: they are read, but no input that occurs could change them.

    Returns:
        edges: how many are ranked, those among live nodes: ends of variable or constant edges.
        positives: how many of them are variable.
        auroc: the probability that a variable edge is above an absent one; ties count half.
        auroc_all_nodes: the same with all absent edges, which flatters: dead nodes are easy.
        average_precision: the mean precision at the ranks of the variable edges.
        precision, recall: of the edges that are found at all.

    Raises:
        NoRankingError: no edge is variable, or none is absent.
    """
    from sklearn.metrics import average_precision_score, roc_auc_score

    live = live_nodes(kinds)
    is_judged = np.array([kinds[edge] != "constant" for edge in edges])
    is_variable = np.array([kinds[edge] == "variable" for edge in edges])
    is_live = np.array([live.issuperset(map(node_of, edge)) for edge in edges])
    score = scores.double().cpu().numpy()
    ranked, everywhere = is_judged & is_live, is_judged
    if len(set(is_variable[ranked])) < 2:
        raise NoRankingError(
            f"{is_variable.sum()} of {ranked.sum()} edges are variable: a ranking needs some that "
            "are and some that are not"
        )
    true, given = is_variable[ranked], score[ranked]
    found = given > NOTHING * score.max()
    return {
        "edges": len(true),
        "positives": int(true.sum()),
        "auroc": float(roc_auc_score(true, given)),
        "auroc_all_nodes": float(roc_auc_score(is_variable[everywhere], score[everywhere])),
        "average_precision": float(average_precision_score(true, given)),
        "precision": float(true[found].mean()) if found.any() else 0.0,
        "recall": float(found[true].mean()),
    }


def nodes_against_truth(
    scores: Mapping[str, float], kinds: Mapping[Edge, Kind]
) -> dict[str, float]:
    """Are the nodes of variable edges ranked before those that do nothing?

    A node is positive if it is an end of a variable edge, and negative if it is live by no edge at
    all. Ends of constant edges alone count as neither.

    Args:
        scores: of every node, see `EdgeScores.nodes`.
        kinds: what the edges truly are.

    Returns:
        node_auroc, node_average_precision: as of edges; NaN where no node is positive, or none is
            negative.
    """
    from sklearn.metrics import average_precision_score, roc_auc_score

    variable = {node_of(end) for edge, kind in kinds.items() if kind == "variable" for end in edge}
    constant = live_nodes(kinds) - variable
    true = [node in variable for node in scores if node not in constant]
    given = [score for node, score in scores.items() if node not in constant]
    is_ranking = len(set(true)) == 2
    return {
        "node_auroc": float(roc_auc_score(true, given)) if is_ranking else math.nan,
        "node_average_precision": (
            float(average_precision_score(true, given)) if is_ranking else math.nan
        ),
    }


def missed(
    edges: Sequence[Edge], scores: Float[Tensor, "edge"], kinds: Mapping[Edge, Kind]
) -> list[Edge]:
    """The variable edges that are not found."""
    largest = scores.max()
    return [
        edge
        for edge, score in zip(edges, scores, strict=True)
        if kinds[edge] == "variable" and score <= NOTHING * largest
    ]


def live_nodes(kinds: Mapping[Edge, Kind]) -> set[str]:
    """The ends of the edges that are read."""
    return {node_of(end) for edge, kind in kinds.items() if kind != "absent" for end in edge}
