"""The view of the last hidden layer is exact for every architecture."""

import pytest
import torch
from transformer_lens import HookedTransformer

from interp.models.anatomy import hidden_layer
from interp.models.config import BilinearConfig, MLPConfig, ModelConfig, TransformerConfig
from tasks.composition import GroupComposition

CONFIGS = [
    MLPConfig(d_embed=6, d_mlp=5),
    BilinearConfig(d_embed=6),
    TransformerConfig(n_heads=2, d_model=8, d_head=4, d_mlp=16),
    TransformerConfig(n_layers=2, n_heads=2, d_model=8, d_head=4, d_mlp=16, act_fn="gelu"),
]
TASK = GroupComposition(group="C7", equals_token=True)
TOKENS = TASK.examples("all").tokens


@pytest.mark.parametrize("config", CONFIGS)
@torch.no_grad()
def test_logits_are_what_the_hidden_layer_and_the_skip_say(config: ModelConfig) -> None:
    model = config.build(TASK, seed=0).to(torch.float64)
    layer = hidden_layer(model)
    logits = layer.hidden(TOKENS) @ layer.readout
    if isinstance(config, TransformerConfig):
        skip, unembed = layer.skip(TOKENS), layer.unembed_skip
        assert skip is not None and unembed is not None
        logits = logits + skip @ unembed
    else:
        assert layer.skip(TOKENS) is None and layer.unembed_skip is None
    torch.testing.assert_close(logits, model(TOKENS)[:, -1], rtol=0, atol=1e-14)


@pytest.mark.parametrize("config", CONFIGS)
@torch.no_grad()
def test_one_pass_gives_both(config: ModelConfig) -> None:
    layer = hidden_layer(config.build(TASK, seed=0))
    hidden, skip = layer.hidden_and_skip(TOKENS)
    assert torch.equal(hidden, layer.hidden(TOKENS))
    expected = layer.skip(TOKENS)
    assert skip is expected is None or torch.equal(skip, expected)


@torch.no_grad()
def test_the_mlps_effective_embeddings_add_up_to_its_hidden_layer() -> None:
    layer = hidden_layer(MLPConfig(d_embed=6, d_mlp=5).build(TASK, seed=0).to(torch.float64))
    embed_a, embed_b = layer.embeddings
    pre = embed_a[TOKENS[:, 0]] + embed_b[TOKENS[:, 1]]
    torch.testing.assert_close(pre.relu(), layer.hidden(TOKENS), rtol=0, atol=1e-14)


def test_the_other_embeddings_are_the_parameters() -> None:
    bilinear = BilinearConfig(d_embed=6).build(TASK, seed=0)
    assert hidden_layer(bilinear).embeddings == (bilinear.W_E_a, bilinear.W_E_b)
    transformer = CONFIGS[2].build(TASK, seed=0)
    embed_a, embed_b = hidden_layer(transformer).embeddings
    assert torch.equal(embed_a, transformer.W_E) and torch.equal(embed_b, transformer.W_E)


def test_a_final_normalisation_is_refused() -> None:
    config = {"n_layers": 1, "d_model": 8, "d_head": 4, "n_ctx": 3, "d_vocab": 8}
    model = HookedTransformer({**config, "act_fn": "relu", "normalization_type": "LN"})
    with pytest.raises(ValueError, match="final normalisation has no hidden layer that maps lin"):
        hidden_layer(model)
