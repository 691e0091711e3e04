import pytest
import torch
from transformer_lens import HookedTransformer, HookedTransformerConfig

from analysis.circuits import model_graph
from interp.models.config import (
    BilinearConfig,
    CompiledConfig,
    DecoderConfig,
    IterationHeadConfig,
    MLPConfig,
    TransformerConfig,
)
from interp.models.graph import Edge
from tasks.composition import GroupComposition
from tasks.iteration import Polynomial
from tasks.sequences import Peak

NETWORKS = {
    "transformer": (
        GroupComposition("S3", equals_token=True),
        TransformerConfig(n_layers=2, n_heads=2, d_model=16, d_head=8, d_mlp=32),
    ),
    "published": (Polynomial(modulus=5, max_length=3), DecoderConfig(d_model=16)),
    "post": (
        Polynomial(modulus=5, max_length=3),
        DecoderConfig(d_model=16, n_heads=2, norm="post"),
    ),
    "rotary": (
        Polynomial(modulus=5, max_length=3),
        DecoderConfig(d_model=16, norm="pre", positions="rotary"),
    ),
    "shared": (
        Polynomial(modulus=5, max_length=3),
        DecoderConfig(d_model=16, positions="alibi", index="shared"),
    ),
    "iteration head": (Polynomial(modulus=5, max_length=3), IterationHeadConfig()),
    "compiled": (Peak(vocab="0..2", max_length=4), CompiledConfig()),
    "mlp": (GroupComposition("S3"), MLPConfig(d_embed=8, d_mlp=16, bias=True)),
    "bilinear": (GroupComposition("S3"), BilinearConfig(d_embed=8)),
}


@pytest.fixture(params=NETWORKS)
def network(request):
    """A graph in float64, and the runs of clean and corrupted inputs."""
    task, config = NETWORKS[request.param]
    graph = model_graph(config.build(task, 0).double())
    pairs = task.pairs("example", n=7)
    return graph, graph.record(pairs.clean.tokens), graph.record(pairs.corrupted.tokens)


def one_hot(graph, edge):
    return graph.weights([edge])[None, None]


def close(a, b):
    return torch.allclose(a, b, atol=1e-9, rtol=0)


def test_cutting_nothing_leaves_the_run_as_it_was(network):
    graph, clean, corrupted = network
    nothing = torch.zeros(2, 1, len(graph.edges), dtype=torch.float64)
    logits = graph.logits(clean, nothing, corrupted.writes)
    assert torch.equal(clean.logits, graph.model(clean.tokens)) or close(
        clean.logits, graph.model(clean.tokens)
    )
    assert close(logits, clean.logits.expand(2, -1, -1, -1))


def test_cutting_everything_gives_the_other_run(network):
    graph, clean, corrupted = network
    everything = torch.ones(1, 1, len(graph.edges), dtype=torch.float64)
    assert close(graph.logits(clean, everything, corrupted.writes)[0], corrupted.logits)
    assert not close(clean.logits, corrupted.logits)


def test_beginning_at_the_receivers_block_changes_nothing(network):
    graph, clean, corrupted = network
    for edge in graph.edges:
        weights, start = one_hot(graph, edge), graph.block(edge.receiver)
        whole = graph.logits(clean, weights, corrupted.writes)
        assert close(whole, graph.logits(clean, weights, corrupted.writes, start=start))


def test_cells_and_examples_have_weights_of_their_own(network):
    graph, clean, corrupted = network
    generator = torch.Generator().manual_seed(0)
    weights = torch.rand(3, 7, len(graph.edges), generator=generator, dtype=torch.float64)
    together = graph.logits(clean, weights, corrupted.writes)
    for cell in range(3):
        for example in range(7):
            same = weights[cell, example].expand(1, 7, -1)
            alone = graph.logits(clean, same, corrupted.writes)[0, example]
            assert close(together[cell, example], alone)


def test_a_sender_to_all_its_receivers_is_its_node_patched(network):
    graph, clean, corrupted = network
    for sender in graph.senders:
        leaves = graph.weights([edge for edge in graph.edges if edge.sender == sender])
        nothing = torch.zeros_like(leaves)[None, None]
        sent = {sender: corrupted.writes[sender][None]}
        patched = graph.logits(clean, nothing, corrupted.writes, sent=sent)
        cut = graph.logits(clean, leaves[None, None], corrupted.writes)
        assert close(patched, cut)


@pytest.mark.parametrize("edge", ["embed->L0H1.q", "L0H0->L1H0.k", "L0H1->L1H1.v"])
def test_an_edge_into_a_head_is_that_head_run_on_another_stream(edge):
    """Against the network's own modules, without the graph."""
    task, config = NETWORKS["transformer"]
    model = config.build(task, 0).double()
    graph, pairs = model_graph(model), task.pairs("example", n=7)
    clean, corrupted = (graph.record(part.tokens) for part in (pairs.clean, pairs.corrupted))
    sender, receiver = edge.split("->")
    layer, head, x = int(receiver[1]), int(receiver[3]), receiver[-1]
    _, cache = model.run_with_cache(pairs.clean.tokens)
    stream = cache[f"blocks.{layer}.hook_resid_pre"]
    stream = stream + corrupted.writes[sender] - clean.writes[sender]
    new = stream @ getattr(model.blocks[layer].attn, f"W_{x.upper()}")[head]

    def replace(activation, hook):
        activation[:, :, head] = new
        return activation

    hooks = [(f"blocks.{layer}.attn.hook_{x}", replace)]
    expected = model.run_with_hooks(pairs.clean.tokens, fwd_hooks=hooks)
    assert close(graph.logits(clean, one_hot(graph, edge), corrupted.writes)[0], expected)
    assert not close(expected, clean.logits)


VARIANTS = {
    "rotary": {"positional_embedding_type": "rotary"},
    "alibi": {"positional_embedding_type": "alibi", "normalization_type": "LNPre"},
    "LN": {"normalization_type": "LN", "use_qk_norm": True},
    "RMS": {"normalization_type": "RMS", "attn_only": True},
    "bounded": {"output_logits_soft_cap": 5.0, "attn_scores_soft_cap": 3.0, "clip_qkv": 1.5},
}


def variant(**options):
    """Two layers of random weights in float64, biases and gains among them."""
    cfg = {"normalization_type": None, "act_fn": "gelu", "d_mlp": 16} | options
    model = HookedTransformer(
        HookedTransformerConfig(
            n_layers=2, d_model=12, n_heads=2, d_head=6, n_ctx=4, d_vocab=5, device="cpu",
            dtype=torch.float64, init_weights=False, **cfg,
        )
    )  # fmt: skip
    generator = torch.Generator().manual_seed(0)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.5, generator=generator)
    return model


def written(model, tokens):
    """What every sender writes, by the hooks of TransformerLens."""
    model.set_use_attn_result(True)
    _, cache = model.run_with_cache(tokens)
    model.set_use_attn_result(False)
    names = {"embed": "hook_embed", "pos_embed": "hook_pos_embed"}
    names |= {f"MLP{layer}": f"blocks.{layer}.hook_mlp_out" for layer in range(2)}
    found = {name: cache[point] for name, point in names.items() if point in cache}
    for layer in range(2):
        results = cache[f"blocks.{layer}.attn.hook_result"].unbind(dim=2)
        found |= {f"L{layer}H{head}": result for head, result in enumerate(results)}
    return found


def run_with_input(model, tokens, receiver, change):
    """The logits when a receiver reads the stream and a change, by the hooks of TransformerLens."""
    node, _, x = receiver.partition(".")
    layer = node.strip("LM P")[0]

    def add(read, hook):
        part = read[:, :, int(node[-1])] if x else read
        part += change
        return read

    point = f"blocks.{layer}.hook_{x}_input" if x else f"blocks.{layer}.hook_mlp_in"
    if receiver == "unembed":
        point = "blocks.1.hook_resid_post"
    model.set_use_split_qkv_input(True)
    model.cfg.use_hook_mlp_in = True
    logits = model.run_with_hooks(tokens, fwd_hooks=[(point, add)])
    model.set_use_split_qkv_input(False)
    model.cfg.use_hook_mlp_in = False
    return logits


@pytest.mark.parametrize("options", VARIANTS.values(), ids=VARIANTS)
def test_every_edge_is_a_run_with_another_input(options):
    """Against TransformerLens alone, edge by edge."""
    model = variant(**options)
    generator = torch.Generator().manual_seed(0)
    tokens = torch.randint(5, (3, 4), generator=generator)
    graph, clean = model_graph(model), written(model, tokens)
    run = graph.record(tokens)
    assert run.writes.keys() == set(graph.senders) == clean.keys()
    assert all(close(run.writes[name], message) for name, message in clean.items())
    change = {name: torch.randn(3, 4, 12, generator=generator).double() for name in clean}
    other = {name: clean[name] + change[name] for name in clean}
    for sender, receiver in graph.edges:
        weights, start = one_hot(graph, Edge(sender, receiver)), graph.block(receiver)
        found = graph.logits(run, weights, other, start=start)[0]
        expected = run_with_input(model, tokens, receiver, change[sender])
        assert close(found, expected), (sender, receiver)
        assert not close(found, run.logits), (sender, receiver)


@pytest.mark.parametrize("name", ["rotary", "alibi"])
def test_positions_that_are_no_part_of_the_stream_are_no_sender(name):
    graph = model_graph(variant(**VARIANTS[name]))
    assert graph.stages[0] == ("embed",)
    assert "pos_embed" not in graph.senders
    with pytest.raises(ValueError, match="no edge 'pos_embed->unembed'"):
        graph.index("pos_embed->unembed")


def test_some_sent_messages_reach_all_that_read_them():
    """Against the same heads patched by TransformerLens."""
    model = variant(normalization_type="LN")
    tokens = torch.randint(5, (2, 3, 4), generator=torch.Generator().manual_seed(0))
    graph, other = model_graph(model), written(model, tokens[1])
    nothing = torch.zeros(1, 1, len(graph.edges), dtype=torch.float64)
    sent = {name: other[name][None] for name in ("L0H1", "MLP1")}
    found = graph.logits(graph.record(tokens[0]), nothing, other, sent=sent)[0]

    def put(tensor, hook):
        tensor[:, :, 1] = other["L0H1"]
        return tensor

    model.set_use_attn_result(True)
    model.add_hook("blocks.0.attn.hook_result", put)
    model.add_hook("blocks.1.hook_mlp_out", lambda tensor, hook: other["MLP1"])
    assert close(found, model(tokens[0]))


def test_an_edge_through_a_norm_of_the_stream(decoder):
    """embed->unembed by hand: the stream at the end with another embedding and all else clean."""
    model, pairs = decoder
    graph = model_graph(model)
    clean, corrupted = (graph.record(part.tokens) for part in (pairs.clean, pairs.corrupted))
    _, cache = model.run_with_cache(pairs.clean.tokens)
    outs = [f"blocks.{layer}.hook_{x}_out" for layer in range(2) for x in ("attn", "mlp")]
    hooks = [(name, lambda activation, hook: cache[hook.name]) for name in outs]
    hooks.append(("hook_embed", lambda activation, hook: corrupted.writes["embed"]))
    expected = model.run_with_hooks(pairs.clean.tokens, fwd_hooks=hooks)
    found = graph.logits(clean, one_hot(graph, "embed->unembed"), corrupted.writes)[0]
    assert close(found, expected)


def test_the_network_is_left_as_it_was(decoder):
    model, pairs = decoder
    flags = "use_attn_result", "use_hook_mlp_in", "use_split_qkv_input"

    def state():
        hooks = [(*point._forward_hooks, *point._forward_pre_hooks) for point in model.modules()]
        return [getattr(model.cfg, name) for name in flags], hooks

    before = state()
    model_graph(model).record(pairs.clean.tokens)
    with pytest.raises(IndexError):
        model_graph(model).record(pairs.clean.tokens + 10**6)
    assert state() == before


def test_unknown_edges_are_named_with_the_nearest(network):
    graph, _, _ = network
    known = str(graph.edges[0])
    with pytest.raises(ValueError, match=f"no edge '{known}s'.*{known}"):
        graph.weights([known + "s"])
    assert graph.weights([Edge(*graph.edges[0])]).sum() == 1


def test_networks_without_a_graph_are_refused():
    with pytest.raises(ValueError, match="Linear has no graph"):
        model_graph(torch.nn.Linear(2, 2))


def test_positions_that_enter_in_every_block_are_refused():
    with pytest.raises(ValueError, match=r"HookedTransformer has no graph.*shortformer"):
        model_graph(variant(positional_embedding_type="shortformer"))
