"""Path patching, against forward passes with everything else frozen by hand."""

import jaxtyping
import pytest
import torch
from torch import Tensor
from transformer_lens import HookedTransformer, HookedTransformerConfig

from analysis.circuits import graph as graphs
from analysis.patching import Site, patch
from analysis.patching.metrics import logit_difference, reference
from analysis.patching.paths import Path, path_patch
from interp.models.config import DecoderConfig, MLPConfig, TransformerConfig
from interp.models.transformer import TaskTransformer
from tasks.composition import GroupComposition
from tasks.iteration import Parity
from tasks.pairs import Pairs
from tasks.sequences import Peak

PARITY, PEAK = Parity(max_length=3, longest=4), Peak(vocab="0..3", max_length=5)
LATER = ("MLP0", "L1H0", "L1H1", "MLP1")


def randomly(model: HookedTransformer) -> HookedTransformer:
    generator = torch.Generator().manual_seed(3)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.5, generator=generator)
    return model.double()


def pre_norm() -> HookedTransformer:
    sizes = {"n_layers": 2, "n_heads": 2, "d_model": 8, "d_head": 4, "n_ctx": 9, "d_vocab": 8}
    options = {"act_fn": "gelu", "normalization_type": "LN"}
    options |= {"device": "cpu", "dtype": torch.float64}
    return randomly(HookedTransformer(HookedTransformerConfig(**sizes, **options)))


def decoder(norm: str) -> HookedTransformer:
    config = DecoderConfig(n_layers=2, n_heads=2, d_model=8, norm=norm)
    return randomly(config.build(PARITY, 0))


def no_norm() -> TaskTransformer:
    config = TransformerConfig(2, 2, 8, 4, 16, attention_dir="bidirectional")
    return randomly(config.build(PEAK, 0))


MODELS = {
    "pre-norm": (pre_norm, PARITY),
    "no norm": (no_norm, PEAK),
    "published": (lambda: decoder("published"), PARITY),
    "post": (lambda: decoder("post"), PARITY),
}


@pytest.fixture(params=MODELS)
def built(request: pytest.FixtureRequest) -> tuple[HookedTransformer, Pairs]:
    build, task = MODELS[request.param]
    return build(), task.pairs("example", 4, "all")


def everything(logits: Tensor, reference: object) -> Tensor:
    """A metric that no change of the logits leaves as it is."""
    weights = torch.arange(logits[0].numel()).to(logits).view_as(logits[0]).cos()
    return (logits * weights).sum(dim=(1, 2))


def close(found: object, expected: Tensor) -> None:
    torch.testing.assert_close(torch.as_tensor(found), expected, rtol=1e-9, atol=1e-9)


def frozen(
    model: HookedTransformer, pairs: Pairs, senders: tuple[str, ...], read: str
) -> dict[str, Tensor]:
    """A clean run whose heads and MLPs all write what they did, but the senders: as corrupted."""
    model.set_use_attn_result(True)
    _, clean = model.run_with_cache(pairs.clean.tokens)
    _, corrupted = model.run_with_cache(pairs.corrupted.tokens)

    def write(activation: Tensor, hook: object, names: list[str]) -> Tensor:
        replaced = clean[hook.name].clone()
        for i, name in enumerate(names):
            if name in senders:
                at = (slice(None), slice(None), i) if len(names) > 1 else ()
                replaced[at] = corrupted[hook.name][at]
        return replaced

    hooks = [("hook_embed", ["embed"]), ("hook_pos_embed", ["pos_embed"])]
    for layer in range(2):
        hooks += [(f"blocks.{layer}.attn.hook_result", [f"L{layer}H0", f"L{layer}H1"])]
        hooks += [(f"blocks.{layer}.hook_mlp_out", [f"MLP{layer}"])]
    found = {}

    def keep(activation: Tensor, hook: object) -> None:
        found[read] = activation.clone()

    fwd = [(name, lambda a, hook, names=names: write(a, hook, names)) for name, names in hooks]
    found["logits"] = model.run_with_hooks(pairs.clean.tokens, fwd_hooks=[(read, keep), *fwd])
    model.set_use_attn_result(False)
    return found


@pytest.mark.parametrize(
    ("senders", "receiver"),
    [
        (("embed",), "L1H1.q"),
        (("L0H0",), "L1H0.k"),
        (("L0H1", "pos_embed"), "L1H0.v"),
        (("L0H0",), "MLP0"),
        (("MLP0", "L0H0", "embed"), "MLP1"),
        (("embed", "L0H1", "L1H0"), "unembed"),
    ],
)
def test_a_direct_path_is_what_freezing_all_others_gives(
    built: tuple[HookedTransformer, Pairs], senders: tuple[str, ...], receiver: str
) -> None:
    model, pairs = built
    node, _, x = receiver.partition(".")
    if x:
        read, head = f"blocks.{node[1]}.attn.hook_{x}", int(node[3])
    else:
        read, head = f"blocks.{node[3]}.mlp.hook_post", None
    if receiver == "unembed":
        expected = frozen(model, pairs, senders, "unembed.hook_in")["logits"]
    else:
        heard = frozen(model, pairs, senders, read)[read]

        def swap(activation: Tensor, hook: object) -> Tensor:
            at = ... if head is None else (slice(None), slice(None), head)
            activation = activation.clone()
            activation[at] = heard[at]
            return activation

        expected = model.run_with_hooks(pairs.clean.tokens, fwd_hooks=[(read, swap)])
    found = path_patch(model, pairs, {"it": Path(senders, (receiver,))}, everything)
    close(found.values.sel(cell="it").values, everything(expected, None))
    assert (found.effect.values != 0).all()


@pytest.mark.parametrize("direction", ["noise", "denoise"])
def test_all_ways_to_the_output_are_the_sender_itself(
    built: tuple[HookedTransformer, Pairs], direction: str
) -> None:
    model, pairs = built
    sites = {
        "embed": Site("embed"),
        "L0H0": Site("z", 0, layer=0),
        "L0H1": Site("z", 1, layer=0),
        "MLP0": Site("mlp_out", layer=0),
        "L1H1": Site("z", 1, layer=1),
    }
    heads = ("L0H0", "L0H1")
    paths = {
        name: Path((name,), ("unembed",), (*(heads if name == "embed" else ()), *LATER))
        for name in ("embed", *heads)
    }
    paths["MLP0"] = Path(("MLP0",), ("unembed",), LATER[1:])
    paths["L1H1"] = Path(("L1H1",), ("unembed",), ("MLP1",))
    found = path_patch(model, pairs, paths, everything, direction)
    cells = {name: [site] for name, site in sites.items()}
    expected = patch(model, pairs, cells, everything, direction)
    close(found.values.sel(cell=list(cells)).values, torch.as_tensor(expected.values.values))
    assert found.direction == direction and found.source == expected.source
    close(found.base.values, torch.as_tensor(expected.base.values))


def test_what_is_passed_through_reaches_the_receivers_alone(
    built: tuple[HookedTransformer, Pairs],
) -> None:
    """embed -> L0H0 -> MLP1, by hand: L0H0 is run on the other embedding, then its message."""
    model, pairs = built
    of_head = {}
    for x in "qkv":
        read = f"blocks.0.attn.hook_{x}"
        of_head[read] = frozen(model, pairs, ("embed",), read)[read]

    def swap(activation: Tensor, hook: object) -> Tensor:
        activation = activation.clone()
        activation[:, :, 0] = of_head[hook.name][:, :, 0]
        return activation

    model.set_use_attn_result(True)
    with model.hooks(fwd_hooks=[(name, swap) for name in of_head]):
        _, head = model.run_with_cache(pairs.clean.tokens)
    _, clean = model.run_with_cache(pairs.clean.tokens)

    def send(result: Tensor, hook: object) -> Tensor:
        result = clean[hook.name].clone()
        result[:, :, 0] = head[hook.name][:, :, 0]
        return result

    def keep(activation: Tensor, hook: object) -> None:
        heard.append(activation.clone())

    heard: list[Tensor] = []
    freeze = [
        (name, lambda activation, hook: clean[hook.name])
        for name in ("blocks.0.hook_mlp_out", "blocks.1.attn.hook_result")
    ]
    post = "blocks.1.mlp.hook_post"
    hooks = [("blocks.0.attn.hook_result", send), *freeze, (post, keep)]
    _, corrupted = model.run_with_cache(pairs.corrupted.tokens)
    hooks += [("hook_embed", lambda activation, hook: corrupted[hook.name])]
    model.run_with_hooks(pairs.clean.tokens, fwd_hooks=hooks)
    model.set_use_attn_result(False)
    put = [(post, lambda activation, hook: heard[0])]
    expected = model.run_with_hooks(pairs.clean.tokens, fwd_hooks=put)
    paths = {"it": Path(("embed",), ("MLP1",), ("L0H0",)), "direct": Path(("embed",), ("MLP1",))}
    found = path_patch(model, pairs, paths, everything)
    close(found.values.sel(cell="it").values, everything(expected, None))
    assert (found.values.sel(cell="it") != found.values.sel(cell="direct")).all()


def test_the_output_hears_nothing_but_the_senders(built: tuple[HookedTransformer, Pairs]) -> None:
    model, pairs = built
    graph = graphs.model_graph(model)
    paths = {"all": Path(graph.senders, ("unembed",)), "none": Path(("pos_embed",), ("L0H0",))}
    found = path_patch(model, pairs, paths, everything)
    corrupted = torch.as_tensor(found.corrupted.values)
    close(found.values.sel(cell="all").values, corrupted)  # though inside, all is clean
    same = Pairs(pairs.clean, pairs.clean)
    nothing = path_patch(model, same, paths, everything)
    close(nothing.effect.values, torch.zeros(2).double())


def test_a_head_hears_with_queries_keys_and_values() -> None:
    model, pairs = pre_norm(), PARITY.pairs("x_t", 4, "all")
    some = {"one": Path(("L0H0",), ("L1H0",))}
    some["three"] = Path(("L0H0",), ("L1H0.q", "L1H0.k", "L1H0.v"))
    found = path_patch(model, pairs, some, everything).values
    close(found.sel(cell="one").values, torch.as_tensor(found.sel(cell="three").values))


def test_paths_in_a_batch_are_paths_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    model, pairs = decoder("published"), PARITY.pairs("x_t", 4, "all")
    graph = graphs.model_graph(model)
    paths = {str(edge): Path((edge.sender,), (edge.receiver,)) for edge in graph.edges}
    for i, through in enumerate([("MLP0",), ("MLP0", "L1H0"), ("L1H1",)]):
        paths[f"through {i}"] = Path(("embed", "L0H1"), ("MLP1", "unembed"), through)
    together = path_patch(model, pairs, paths, "margin").values
    monkeypatch.setattr(graphs, "BATCH_BYTES", 1)
    alone = path_patch(model, pairs, paths, "margin").values
    assert together.dims == ("example", "cell") and list(together["cell"].values) == list(paths)
    close(together.values, torch.as_tensor(alone.values))


def test_an_mlp_has_paths() -> None:
    task = GroupComposition("C5", equals_token=True)
    model, pairs = MLPConfig(8, 16).build(task, 0).double(), task.pairs("first", 6, "all")
    paths = {"to": Path(("embed_a",), ("MLP0",)), "on": Path(("embed_a",), ("unembed",), ("MLP0",))}
    found = path_patch(model, pairs, paths)
    for name in paths:
        close(found.values.sel(cell=name).values, torch.as_tensor(found.corrupted.values))
    ref = reference(model, pairs)
    close(found.clean.values, logit_difference(ref.clean, ref))
    with pytest.raises(ValueError, match="no edge leads from embed_a to unembed"):
        path_patch(model, pairs, {"no": Path(("embed_a",), ("unembed",))})


@pytest.mark.parametrize(
    ("path", "message"),
    [
        (Path(("embeds",), ("unembed",)), "no sender 'embeds'.*named like embed and MLP1.*'embed'"),
        (Path(("embed",), ("L1H0.x",)), "no receiver 'L1H0.x'.*mean 'L1H0"),
        (Path(("embed",), ("L1H2",)), "no receiver 'L1H2'"),
        (Path(("embed",), ("unembed",), ("L1H0.q",)), "no node to go through 'L1H0.q'.*'L1H0'"),
        (Path(("embed",), ("unembed",), ("unembed",)), "no node to go through 'unembed'"),
        (Path(("MLP0",), ("unembed",), ("MLP0",)), "cannot go through MLP0"),
        (Path(("embed",), ("L1H0.v",), ("L1H0",)), "cannot go through L1H0"),
        (Path(("L1H0",), ("L0H0",)), "no edge leads from L1H0 to L0H0"),
        (Path(("L0H0",), ("L0H1",), ("MLP0",)), "no edge leads from L0H0 to L0H1"),
        (Path(("MLP1",), ("L1H0",), ("L0H0",)), "no edge leads from MLP1"),
        (Path((), ("L1H0",)), "no edge leads"),
        (Path("embed", ("L1H0",)), "'embed' is one name"),
    ],
)
def test_paths_that_are_not_there(path: Path, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        path_patch(pre_norm(), PARITY.pairs("x_t", 2, "all"), {"it": path})


def test_other_errors(monkeypatch: pytest.MonkeyPatch) -> None:
    model, pairs = pre_norm(), PARITY.pairs("x_t", 2, "all")
    paths = {"it": Path(("embed",), ("unembed",))}
    with pytest.raises(ValueError, match=r"no metric 'margins'.*mean 'margin'"):
        path_patch(model, pairs, paths, "margins")
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)
    with pytest.raises(ValueError, match=r"direction is 'noises'.*mean 'noise'"):
        path_patch(model, pairs, paths, direction="noises")  # type: ignore[arg-type]


def test_no_paths_no_cells() -> None:
    found = path_patch(pre_norm(), PARITY.pairs("x_t", 2, "all"), {})
    assert found.values.shape == (2, 0)
