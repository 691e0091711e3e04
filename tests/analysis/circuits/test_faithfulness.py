import math

import numpy as np
import pytest
import torch

from analysis.circuits import area, circuit_curve, edge_scores, evaluate_circuit, ranked, setting
from interp.known_circuit import known_circuit
from interp.rasp import compile_task
from tasks.sequences import Palindrome


@pytest.fixture(scope="module")
def compiled():
    """A compiled program on pairs, and its true circuit."""
    task = Palindrome(vocab="a..c", max_length=4)
    pairs = task.pairs("example", n=20)
    model = compile_task(task, dtype="float64").model
    return setting(model, pairs, "margin"), known_circuit(task, pairs).edges("variable")


def test_the_true_circuit_is_all_that_is_needed(compiled):
    on, circuit = compiled
    found = evaluate_circuit(on, circuit)
    assert abs(found["faithfulness"] - 1) < 1e-4
    assert abs(found["completeness"] - 1) < 1e-4
    assert found["minimality"] > 0.01
    worse = evaluate_circuit(on, circuit[:-1])
    assert worse["faithfulness"] < 0.9 or worse["completeness"] < 0.9


def test_a_circuit_with_an_edge_too_many_is_not_minimal(compiled):
    on, circuit = compiled
    extra = next(edge for edge in on.graph.edges if edge not in circuit)
    assert evaluate_circuit(on, [*circuit, extra])["minimality"] < 1e-4


def test_the_whole_network_is_faithful_and_nothing_is_not(gelu):
    on = setting(*gelu)
    curve = circuit_curve(on, on.graph.edges)
    assert np.isclose(curve["faithfulness"].iloc[[0, -1]], [0, 1]).all()
    assert np.isclose(curve["completeness"].iloc[[0, -1]], [0, 1]).all()
    assert list(curve["edges"]) == list(range(len(on.graph.edges) + 1))


def test_a_curve_is_its_circuits_one_by_one(gelu):
    model, pairs = gelu
    on, scores = setting(*gelu), edge_scores(model, pairs)
    ranking = ranked(scores.edges, scores.magnitude)
    curve = circuit_curve(on, ranking)
    sizes = curve.dropna().index[[0, 4, -1]]
    assert list(sizes[[0, -1]]) == [1, len(ranking)]
    for size in sizes:
        alone = evaluate_circuit(on, ranking[:size])
        for name, value in alone.items():
            assert math.isclose(curve.loc[size, name], value, abs_tol=1e-9)


def test_shares_are_those_of_the_definition(gelu):
    on = setting(*gelu)
    circuit = on.graph.edges[::3]
    inside = on.graph.weights(circuit)

    def metric(kept):
        weights = (1 - kept)[None, None]
        return on.measured(on.graph.logits(on.run, weights, on.other)).mean().item()

    whole, nothing = metric(torch.ones_like(inside)), metric(torch.zeros_like(inside))
    less = [metric(inside - on.graph.weights([edge])) for edge in circuit]
    found = evaluate_circuit(on, circuit)
    gap = whole - nothing
    assert math.isclose(found["faithfulness"], (metric(inside) - nothing) / gap, abs_tol=1e-9)
    assert math.isclose(found["completeness"], (whole - metric(1 - inside)) / gap, abs_tol=1e-9)
    smallest = min(abs(metric(inside) - value) for value in less) / abs(gap)
    assert math.isclose(found["minimality"], smallest, abs_tol=1e-9)


def test_the_area_is_over_the_share_of_edges(gelu):
    on = setting(*gelu)
    curve = circuit_curve(on, on.graph.edges)
    by_hand = curve["faithfulness"].rolling(2).mean().iloc[1:].mean()
    assert math.isclose(area(curve), by_hand, abs_tol=1e-9)


def test_where_cutting_everything_changes_nothing_there_are_no_shares(gelu):
    model, pairs = gelu
    on = setting(model, pairs, lambda logits, reference: torch.zeros(len(logits)))
    assert all(math.isnan(value) for value in evaluate_circuit(on, on.graph.edges).values())
    assert math.isnan(area(circuit_curve(on, on.graph.edges)))


def test_an_edge_that_does_not_exist(gelu):
    with pytest.raises(ValueError, match="no edge 'L9H0->unembed'"):
        evaluate_circuit(setting(*gelu), ["L9H0->unembed"])
