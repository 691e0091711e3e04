import pytest
import torch

from analysis.circuits import above, connected, greedy, ranked, top
from interp.models.graph import Edge

EDGES = [
    Edge("embed", "L0H0.q"),
    Edge("embed", "L0H0.v"),
    Edge("embed", "MLP0"),
    Edge("L0H0", "MLP0"),
    Edge("embed", "unembed"),
    Edge("L0H0", "unembed"),
    Edge("MLP0", "unembed"),
]
SCORES = torch.tensor([0.9, 0.1, 0.8, 0.0, 0.2, 0.3, 0.2])


def names(edges):
    return [str(edge) for edge in edges]


def test_the_highest_scores_come_first_and_of_equals_the_later():
    assert names(ranked(EDGES, SCORES))[:2] == ["embed->L0H0.q", "embed->MLP0"]
    assert names(ranked(EDGES, SCORES))[3:5] == ["MLP0->unembed", "embed->unembed"]
    assert names(top(EDGES, SCORES, 1)) == ["embed->L0H0.q"]
    assert names(above(EDGES, SCORES, 0.3)) == ["embed->L0H0.q", "embed->MLP0"]


def test_a_greedy_circuit_grows_from_the_output():
    assert names(greedy(EDGES, SCORES, 3)) == ["L0H0->unembed", "embed->L0H0.q", "MLP0->unembed"]
    assert set(greedy(EDGES, SCORES, 7)) == set(EDGES)


def test_edges_that_lead_nowhere_are_pruned():
    loose = [EDGES[0], EDGES[2], EDGES[6]]  # into L0H0, which nothing reads
    assert names(connected(loose)) == ["embed->MLP0", "MLP0->unembed"]
    assert connected([EDGES[5], EDGES[3]]) == []  # from L0H0, which reads nothing
    assert connected(EDGES) == EDGES


def test_more_edges_than_there_are():
    with pytest.raises(ValueError, match="8 edges was asked for: the graph has 7"):
        top(EDGES, SCORES, 8)
