import pytest
import torch

from analysis.circuits import METHODS, edge_scores, setting
from analysis.circuits.acdc import LOWEST, acdc
from analysis.circuits.attribution import (
    attribution,
    integrated_activations,
    integrated_inputs,
    node_attribution,
)
from analysis.circuits.exact import exact
from analysis.circuits.scores import score
from interp.models.config import MLPConfig, TransformerConfig
from interp.models.graph import node_of
from tasks.composition import GroupComposition


@pytest.fixture
def linear():
    """Attention without MLPs, its patterns frozen: every logit is linear in every message."""
    task = GroupComposition("S3", equals_token=True)
    config = TransformerConfig(n_layers=2, n_heads=2, d_model=12, d_head=6, d_mlp=1)
    model = config.build(task, 0).double()
    for block in model.blocks:
        block.mlp.W_out.data.zero_()
        uniform = lambda _, __, pattern: torch.ones_like(pattern).tril() / 3  # noqa: E731
        block.attn.hook_pattern.register_forward_hook(uniform)
    return model, task.pairs("example", n=9)


def leaving(on, senders):
    """1 at the edges that leave some senders."""
    return on.graph.weights([edge for edge in on.graph.edges if edge.sender in senders])


def close(a, b, atol=1e-9):
    return torch.allclose(a, b, atol=atol, rtol=0)


@pytest.mark.parametrize("ablation", ["corrupted", "zero", "mean", "position_mean", "resample"])
def test_on_a_linear_network_attribution_is_exact(linear, ablation):
    on = setting(*linear, "margin", ablation)
    expected = exact(on)
    assert expected.abs().max() > 1e-2
    for estimate in (attribution, integrated_inputs, integrated_activations):
        assert close(estimate(on), expected)


def test_exact_scores_are_those_of_one_edge_at_a_time(gelu):
    on = setting(*gelu)
    found = exact(on)
    for i in range(len(on.graph.edges)):
        weights = torch.zeros(1, 1, len(on.graph.edges), dtype=torch.float64)
        weights[..., i] = 1
        alone = on.measured(on.graph.logits(on.run, weights, on.other))[0] - on.whole
        assert close(found[:, i], alone)


def test_memory_bounds_change_nothing(gelu, monkeypatch):
    on = setting(*gelu)
    expected = exact(on), integrated_inputs(on)
    monkeypatch.setattr("analysis.circuits.graph.BATCH_BYTES", 1)
    assert on.graph.cells_at_once(on.run) == 1
    assert close(exact(on), expected[0]) and close(integrated_inputs(on), expected[1])


def test_attribution_is_the_slope_of_cutting_a_little(decoder):
    on = setting(*decoder)
    found, step = attribution(on), 1e-6
    some = torch.eye(len(on.graph.edges), dtype=torch.float64) * step
    assert close((on.cut(some) - on.whole).T / step, found, atol=1e-4 * found.abs().max())


def test_integrated_inputs_add_up_to_the_gap_over_the_cut_behind_the_embeddings(gelu, decoder):
    for model, pairs in (gelu, decoder):
        on = setting(model, pairs)
        cut = leaving(on, on.graph.stages[0])
        gap = on.cut(cut[None])[0] - on.whole
        found = integrated_inputs(on, steps=64)[:, cut.bool()].sum(dim=1)
        assert gap.abs().max() > 0.1
        assert close(found, gap, atol=1e-3 * gap.abs().max())


def test_integrated_activations_add_up_to_the_gap_over_every_stage(gelu, decoder):
    for model, pairs in (gelu, decoder):
        on = setting(model, pairs)
        scores = integrated_activations(on, steps=64)
        for stage in on.graph.stages:
            cut = leaving(on, stage)
            gap = on.cut(cut[None])[0] - on.whole
            assert close(scores[:, cut.bool()].sum(dim=1), gap, atol=2e-3 * on.whole.abs().max())


def test_a_nodes_attribution_is_the_slope_of_all_its_edges_together(gelu):
    on = setting(*gelu)
    step = 1e-6
    slope = {
        s: (on.cut(leaving(on, [s])[None] * step)[0] - on.whole) / step for s in on.graph.senders
    }
    for edge, found in zip(on.graph.edges, node_attribution(on).T, strict=True):
        ends = torch.stack([slope[node] for node in map(node_of, edge) if node in slope])
        lesser = ends.gather(0, ends.abs().argmin(dim=0, keepdim=True))[0]
        assert close(found, lesser, atol=1e-4)


def test_acdc_keeps_what_a_loop_over_edges_keeps(gelu, monkeypatch):
    monkeypatch.setattr("analysis.circuits.acdc.N_THRESHOLDS", 4)
    on = setting(*gelu)
    n = len(on.graph.edges)
    whole = (on.cut(torch.ones(1, n, dtype=torch.float64)) - on.whole).abs().mean()
    expected = torch.zeros(n, dtype=torch.float64)
    for threshold in whole * torch.logspace(-4, 0, 4, dtype=torch.float64):
        cut, kept = torch.zeros(n, dtype=torch.float64), on.whole
        for i in reversed(range(n)):
            cut[i] = 1
            found = on.cut(cut[None])[0]
            if (found - kept).abs().mean() < threshold:
                kept = found
            else:
                cut[i] = 0
        expected[cut == 0] = threshold
    assert LOWEST == 1e-4
    assert close(acdc(on)[0], expected)
    assert len(expected.unique()) > 2


def test_every_method_has_the_same_signature_and_result(gelu):
    for method in METHODS:
        scores = edge_scores(*gelu, method=method)
        frame = scores.frame()
        assert scores.values.shape[1] == len(scores.edges) == len(frame)
        assert frame["magnitude"].is_monotonic_decreasing
        assert frame.loc[0, "edge"] == str(scores.edges[int(scores.magnitude.argmax())])
        assert max(scores.nodes().values()) == scores.magnitude.max().item()
    again = edge_scores(*gelu, method="random")
    assert torch.equal(again.values, scores.values)


def test_a_setting_is_scored_as_its_network_is(gelu):
    for method in METHODS:
        given = edge_scores(*gelu, "margin", method=method, ablation="resample", seed=3)
        found = score(setting(*gelu, "margin", "resample", seed=3), method)
        assert torch.equal(found.values, given.values) and found.edges == given.edges
        assert (found.method, found.ablation) == (method, "resample")


def test_scores_are_ranked_by_size_and_not_by_their_signed_mean(gelu):
    scores = edge_scores(*gelu)
    signed = scores.values.mean(dim=0)
    assert (scores.magnitude >= signed.abs() - 1e-12).all()
    assert torch.equal(scores.magnitude, scores.values.abs().mean(dim=0))


def test_unknown_methods_and_ablations_are_named(gelu):
    with pytest.raises(ValueError, match=r"no method 'exakt'.*exact"):
        edge_scores(*gelu, method="exakt")
    with pytest.raises(ValueError, match=r"no ablation 'zeros'.*corrupted.*'zero'"):
        edge_scores(*gelu, ablation="zeros")
    with pytest.raises(ValueError, match=r"no metric 'los'.*'loss'"):
        edge_scores(*gelu, "los")


def test_a_metric_must_return_a_number_for_each_example(gelu):
    with pytest.raises(ValueError, match=r"shape \(9,\)"):
        edge_scores(*gelu, lambda logits, reference: logits.mean())


def test_the_scores_of_networks_without_positions_are_those_of_their_nodes():
    task = GroupComposition("S3")
    model, pairs = MLPConfig(d_embed=8, d_mlp=16).build(task, 0), task.pairs("first", n=9)
    scores = edge_scores(model, pairs)
    table = scores.frame().set_index("edge")["magnitude"]
    assert table["embed_b->MLP0"] == 0 < table["embed_a->MLP0"]
    assert table["embed_a->MLP0"] == pytest.approx(table["MLP0->unembed"], rel=1e-4)
