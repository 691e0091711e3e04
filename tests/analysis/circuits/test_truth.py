import pytest
import torch

from analysis.circuits import against_truth, missed
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


def test_a_circuit_without_variable_edges_cannot_be_ranked():
    with pytest.raises(ValueError, match="0 of 2 edges are variable"):
        constant = {
            edge: "constant" if kind == "variable" else kind for edge, kind in KINDS.items()
        }
        against_truth(EDGES, torch.ones(6), constant)
