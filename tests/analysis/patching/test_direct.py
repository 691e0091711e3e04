"""Direct logit attribution: that it adds up, and to what."""

import pytest
import torch
from torch import Tensor
from transformer_lens import HookedTransformer, HookedTransformerConfig

from analysis.patching.direct import direct_attribution, neuron_attribution
from analysis.patching.metrics import METRICS, measure, reference
from interp.models.config import DecoderConfig, MLPConfig, TransformerConfig
from tasks.composition import GroupComposition
from tasks.iteration import Parity
from tasks.pairs import Pairs

PARITY = Parity(max_length=3, longest=4)
GROUP = GroupComposition("C5", equals_token=True)
SIZES = {"n_layers": 2, "n_heads": 2, "d_model": 8, "d_head": 4, "n_ctx": 9, "d_vocab": 8}


def randomly(model: HookedTransformer) -> HookedTransformer:
    """Biases too."""
    generator = torch.Generator().manual_seed(3)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.5, generator=generator)
    return model.double()


def plain(**options: object) -> HookedTransformer:
    config = SIZES | {"act_fn": "gelu", "device": "cpu", "dtype": torch.float64} | options
    return randomly(HookedTransformer(HookedTransformerConfig(**config)))


def decoder(norm: str) -> HookedTransformer:
    config = DecoderConfig(n_layers=2, n_heads=2, d_model=8, norm=norm)
    return randomly(config.build(PARITY, 0))


MODELS = {
    "none": lambda: plain(normalization_type=None),
    "LN": lambda: plain(normalization_type="LN"),
    "LNPre": lambda: plain(normalization_type="LNPre"),
    "RMS": lambda: plain(normalization_type="RMS"),
    "attention only": lambda: plain(normalization_type="LN", attn_only=True),
    "published": lambda: decoder("published"),
    "pre": lambda: decoder("pre"),
    "post": lambda: decoder("post"),
}


@pytest.fixture(params=MODELS)
def model(request: pytest.FixtureRequest) -> HookedTransformer:
    return MODELS[request.param]()


def pairs() -> Pairs:
    return PARITY.pairs("x_t", 4, "all")


def close(found: object, expected: object) -> None:
    found, expected = torch.as_tensor(found), torch.as_tensor(expected)
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)


def frozen_norm(norm: torch.nn.Module, scale: Tensor, x: Tensor) -> Tensor:
    """The linear part of a norm with a given scale, and its bias."""
    if "RMS" not in type(norm).__name__:
        x = x - x.mean(dim=-1, keepdim=True)
    return x / scale * getattr(norm, "w", 1) + getattr(norm, "b", 0)


def logits_of(model: HookedTransformer, cache: dict[str, Tensor], name: str) -> Tensor:
    """What a component writes, carried to the logits by hand; biases come with `bias`."""
    is_bias = name == "bias"
    config = getattr(model, "config", None)
    kind = config.norm if config else "pre"
    written = {"embed": cache["hook_embed"], "pos_embed": cache["hook_pos_embed"]}
    nothing = torch.zeros_like(cache["hook_embed"])

    def norm(module: torch.nn.Module, place: str, x: Tensor) -> Tensor:
        y = frozen_norm(module, cache[f"{place}.hook_scale"], x)
        return y if is_bias else y - frozen_norm(module, cache[f"{place}.hook_scale"], nothing)

    stream = written.get(name, nothing)
    for i, block in enumerate(model.blocks):
        if kind == "published":
            stream = norm(block.ln1, f"blocks.{i}.ln1", stream)
        results = cache[f"blocks.{i}.attn.hook_result"].unbind(dim=2)
        heads = {f"L{i}H{head}": result for head, result in enumerate(results)}
        attention = heads.get(name, nothing) + (block.attn.b_O if is_bias else 0)
        if kind == "post":
            attention = norm(block.ln1, f"blocks.{i}.ln1", attention)
        stream = stream + attention
        if name == f"MLP{i}":
            stream = stream + cache[f"blocks.{i}.hook_mlp_out"]
    if model.cfg.normalization_type is not None:
        stream = norm(model.ln_final, "ln_final", stream)
    return stream @ model.W_U + (model.b_U if is_bias else 0)


@pytest.mark.parametrize("metric", ["logit_difference", "margin"])
def test_every_component_adds_what_it_adds_by_hand(model: HookedTransformer, metric: str) -> None:
    ref = reference(model, pairs())
    model.set_use_attn_result(True)
    _, cache = model.run_with_cache(pairs().clean.tokens)
    model.set_use_attn_result(False)
    found = direct_attribution(model, pairs(), metric)
    assert found.dims == ("example", "component", "position")
    names = list(found["component"].values)
    mlps = [] if model.cfg.attn_only else ["MLP0", "MLP1"]
    heads = ["L0H0", "L0H1", "L1H0", "L1H1"]
    assert set(names) == {"embed", "pos_embed", *heads, *mlps, "bias"}
    for name in names:
        by_hand = METRICS[metric](logits_of(model, cache, name), ref)
        close(found.sel(component=name).sum("position").values, by_hand.detach())
    close(found.sum(("component", "position")).values, METRICS[metric](ref.clean, ref))
    assert not model.hook_dict["hook_embed"].fwd_hooks and all(
        p.grad is None for p in model.parameters()
    )


def test_a_position_is_where_the_logits_are_read(model: HookedTransformer) -> None:
    found = direct_attribution(model, pairs())
    somewhere = pairs().changed.numpy()
    assert ((found.sel(component="embed") != 0).values == somewhere).all()
    assert (found.sum("component").values[~somewhere] == 0).all()


def test_the_neurons_add_up_to_their_mlp() -> None:
    for name in ("none", "LN", "published", "pre", "post"):
        model = MODELS[name]()
        with torch.no_grad():
            for block in model.blocks:  # its own share, which neurons do not have
                block.mlp.b_out.zero_()
                if name == "post":
                    block.ln2.b.zero_()
        whole = direct_attribution(model, pairs())
        for mlp in ("MLP0", "MLP1"):
            found = neuron_attribution(model, pairs(), mlp)
            assert found.dims == ("example", "neuron", "position")
            assert found.sizes["neuron"] == model.cfg.d_mlp
            close(found.sum("neuron").values, whole.sel(component=mlp).values)


def test_a_neuron_adds_its_activation_times_what_it_writes() -> None:
    model = MODELS["none"]()
    ref = reference(model, pairs())
    _, cache = model.run_with_cache(pairs().clean.tokens)
    found = neuron_attribution(model, pairs(), "MLP0", "margin")
    mlp = model.blocks[0].mlp
    for neuron in (0, 5):
        logits = cache["blocks.0.mlp.hook_post"][..., [neuron]] * (mlp.W_out[neuron] @ model.W_U)
        expected = METRICS["margin"](logits, ref).detach()
        close(found.sel(neuron=neuron).sum("position").values, expected)


def test_the_networks_without_a_stream() -> None:
    model = MLPConfig(8, 16, bias=True).build(GROUP, 0).double()
    some = GROUP.pairs("first", 6, "all")
    ref = reference(model, some)
    found = direct_attribution(model, some)
    assert found.shape == (6, 2, 1) and list(found["component"].values) == ["MLP0", "bias"]
    close(found.sel(component="bias").values, torch.zeros(6, 1).double())
    close(found.sum(("component", "position")).values, METRICS["logit_difference"](ref.clean, ref))
    neurons = neuron_attribution(model, some, "MLP0")
    _, cache = model.run_with_cache(some.clean.tokens)
    logits = cache["mlp.hook_post"][:, None, 3:4] * model.W_U[3]
    expected = measure(METRICS["logit_difference"], logits[None], ref)[0].detach()
    close(neurons.sel(neuron=3, position=0).values, expected)
    close(neurons.sum("neuron").values, found.sel(component="MLP0").values)


def test_a_task_whose_answer_is_read_once() -> None:
    model = randomly(TransformerConfig(1, 2, 8, 4, 16).build(GROUP, 0))
    some = GROUP.pairs("second", 6, "all")
    found = direct_attribution(model, some)
    assert (found.values[:, :, :-1] == 0).all() and (found.values[:, :, -1] != 0).all()


@pytest.mark.parametrize("metric", ["loss", "margins"])
def test_what_is_no_sum_of_logits(metric: str) -> None:
    hint = "; did you mean 'margin'" * (metric == "margins")
    with pytest.raises(ValueError, match=f"'{metric}': only a sum of logits.*or margin{hint}"):
        direct_attribution(MODELS["none"](), pairs(), metric)


def test_an_mlp_that_is_not_there() -> None:
    with pytest.raises(ValueError, match=r"no MLP 'MLP2': there are MLP0, MLP1; did you"):
        neuron_attribution(MODELS["none"](), pairs(), "MLP2")
    with pytest.raises(ValueError, match="there are none"):
        neuron_attribution(MODELS["attention only"](), pairs(), "MLP0")
