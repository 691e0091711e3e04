import pytest
import torch

from interp.models.config import DecoderConfig, TransformerConfig
from tasks.composition import GroupComposition
from tasks.iteration import Polynomial


@pytest.fixture
def gelu():
    """A smooth network of two layers in float64, and pairs."""
    task = GroupComposition("S3", equals_token=True)
    config = TransformerConfig(n_layers=2, n_heads=2, d_model=12, d_head=6, d_mlp=16, act_fn="gelu")
    return config.build(task, 0).double(), task.pairs("first", n=9)


@pytest.fixture(params=["published", "pre", "post"])
def decoder(request):
    """A network with LayerNorm, random gains, in float64, and pairs."""
    task = Polynomial(modulus=5, max_length=3)
    config = DecoderConfig(d_model=12, n_heads=2, norm=request.param)
    model = config.build(task, 0).double()
    generator = torch.Generator().manual_seed(1)
    for name, parameter in model.named_parameters():
        if name.endswith(".w"):
            parameter.data = 0.5 + torch.rand(parameter.shape, generator=generator).double()
    return model, task.pairs("x_t", n=9)
