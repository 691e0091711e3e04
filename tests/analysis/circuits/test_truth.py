import math

import pytest
import torch

from analysis.circuits import against_truth, missed
from analysis.circuits.truth import nodes_against_truth
from interp.models.graph import Edge

EDGES = [
    Edge("embed", "L0H0.v"),
    Edge("pos_embed", "L0H0.q"),
    Edge("pos_embed", "L0H0.v"),
    Edge("L0H0", "unembed"),
    Edge("embed", "unembed"),
    Edge("embed", "MLP0"),
]
KINDS = dict(
    zip(EDGES, ["variable", "constant", "absent", "variable", "absent", "absent"], strict=True)
)


def test_variable_edges_are_judged_against_absent_ones_among_live_nodes():
    scores = torch.tensor([3.0, 9.0, 2.0, 1.0, 0.0, 0.0])
    found = against_truth(EDGES, scores, KINDS)
    # Live are embed, pos_embed, L0H0, unembed; of 2 x 2 comparisons one is wrong.
    assert (found["edges"], found["positives"]) == (4, 2)
    assert found["auroc"] == 3 / 4
    assert found["auroc_all_nodes"] == 5 / 6  # with embed->MLP0
    assert found["average_precision"] == pytest.approx((1 / 1 + 2 / 3) / 2)
    assert (found["precision"], found["recall"]) == (2 / 3, 1.0)


def test_ties_count_half_and_edges_without_effect_are_missed():
    scores = torch.tensor([3.0, 9.0, 0.0, 0.0, 0.0, 0.0])
    found = against_truth(EDGES, scores, KINDS)
    assert found["auroc"] == (2 + 0.5 * 2) / 4
    assert found["recall"] == 0.5
    assert missed(EDGES, scores, KINDS) == [EDGES[3]]


def test_nodes_of_variable_edges_are_judged_against_dead_ones():
    # Of pos_embed all edges that are read are constant: it counts as neither.
    scores = {"embed": 3.0, "pos_embed": 9.0, "L0H0": 1.0, "unembed": 5.0, "MLP0": 2.0}
    found = nodes_against_truth(scores, KINDS)
    assert found["node_auroc"] == 2 / 3  # MLP0 is above L0H0 alone
    assert found["node_average_precision"] == pytest.approx((1 + 1 + 3 / 4) / 3)


def test_without_dead_nodes_there_is_no_ranking_of_nodes():
    kinds = {edge: kind for edge, kind in KINDS.items() if edge.receiver != "MLP0"}
    scores = {"embed": 3.0, "pos_embed": 9.0, "L0H0": 1.0, "unembed": 5.0}
    assert all(math.isnan(value) for value in nodes_against_truth(scores, kinds).values())


def test_a_circuit_without_variable_edges_cannot_be_ranked():
    with pytest.raises(ValueError, match="0 of 2 edges are variable"):
        constant = {
            edge: "constant" if kind == "variable" else kind for edge, kind in KINDS.items()
        }
        against_truth(EDGES, torch.ones(6), constant)
