"""The logit lens: its last layer, and those before."""

import pytest
import torch
from transformer_lens import HookedTransformer

from analysis.patching.lens import logit_lens
from analysis.patching.metrics import METRICS, measure, reference
from interp.models.config import DecoderConfig, MLPConfig, TransformerConfig
from interp.models.iteration_head import iteration_head
from interp.rasp import compile_task
from tasks.composition import GroupComposition
from tasks.iteration import Parity
from tasks.pairs import Pairs
from tasks.sequences import Peak

PARITY, PEAK = Parity(max_length=3, longest=4), Peak(vocab="0..3", max_length=5)
GROUP = GroupComposition("C5", equals_token=True)


def decoder(norm: str, **options: object) -> HookedTransformer:
    config = DecoderConfig(n_layers=3, n_heads=2, d_model=8, norm=norm, **options)
    return config.build(PARITY, 0).double()


MODELS = {
    "published": (lambda: decoder("published"), PARITY.pairs("x_t", 4, "all")),
    "pre": (lambda: decoder("pre"), PARITY.pairs("x_t", 4, "all")),
    "post, shared": (lambda: decoder("post", index="shared"), PARITY.pairs("x_t", 4, "all")),
    "pads": (lambda: TransformerConfig(2, 2, 8, 4, 16).build(PEAK, 0), PEAK.pairs(n=4)),
    "once": (lambda: TransformerConfig(2, 2, 8, 4, 16).build(GROUP, 0), GROUP.pairs(n=4)),
}
models = pytest.mark.parametrize("name", MODELS)


def built(name: str) -> tuple[HookedTransformer, Pairs]:
    build, pairs = MODELS[name]
    return build().double(), pairs


def close(found: object, expected: torch.Tensor) -> None:
    torch.testing.assert_close(torch.as_tensor(found), expected, rtol=1e-9, atol=1e-9)


@models
@pytest.mark.parametrize("metric", METRICS)
def test_the_last_layer_is_the_network(name: str, metric: str) -> None:
    model, pairs = built(name)
    found = logit_lens(model, pairs, metric)
    n_layers = model.cfg.n_layers
    assert found.dims == ("example", "layer") and found.shape == (4, n_layers + 1)
    ref = reference(model, pairs)
    last = measure(METRICS[metric], ref.clean[None], ref)[0]
    close(found.sel(layer=n_layers).values, last.double())


@models
def test_a_layer_is_the_network_whose_later_blocks_are_missing(name: str) -> None:
    model, pairs = built(name)
    ref = reference(model, pairs)
    found = logit_lens(model, pairs, "margin")
    blocks = model.blocks
    for n in range(len(blocks) + 1):
        model.blocks, model.cfg.n_layers = blocks[:n], n
        logits = model(pairs.clean.tokens).detach()
        close(found.sel(layer=n).values, METRICS["margin"](logits, ref))


def test_an_iteration_head_knows_after_its_last_block() -> None:
    model, pairs = iteration_head(PARITY), PARITY.pairs("x_t", 16, "all")
    found = logit_lens(model, pairs, "accuracy").mean("example")
    assert found.sel(layer=2) == 1 and found.sel(layer=1) < 0.9 and found.sel(layer=0) < 0.9


def test_a_compiled_program_knows_after_its_last_block() -> None:
    found = logit_lens(compile_task(PEAK).model, PEAK.pairs(n=16), "accuracy").mean("example")
    assert found[-1] == 1 and found[0] < 1


def test_a_network_without_a_stream() -> None:
    with pytest.raises(ValueError, match="HookedMLP has no residual stream"):
        logit_lens(MLPConfig(8, 16).build(GROUP, 0), GROUP.pairs(n=4))
    with pytest.raises(ValueError, match=r"no metric 'lost'.*mean 'loss'"):
        logit_lens(decoder("pre"), PARITY.pairs("x_t", 4, "all"), "lost")
