"""The fast forward is the hooked forward: values and gradients, in float64."""

from dataclasses import dataclass, replace
from typing import get_args

import pytest
import torch
from torch import Tensor, nn

from interp.models.config import (
    BilinearConfig,
    CompiledConfig,
    DecoderConfig,
    IterationHeadConfig,
    MLPConfig,
    ModelConfig,
    Norm,
    Positions,
    TransformerConfig,
)
from interp.models.stacked import is_ours, stacked_logits
from tasks.composition import GroupComposition
from tasks.iteration import Parity
from tasks.sequences import Reverse
from tasks.task import Task

TASK = GroupComposition(group="C7", equals_token=True)
PADDED = Reverse(vocab="a..c", max_length=4)
SMALL = {"n_heads": 2, "d_model": 8, "d_head": 4, "d_mlp": 16}


class Bag(nn.Module):
    """Somebody's own module: a mean of embeddings so far, with a buffer."""

    def __init__(self, width: int, task: Task, seed: int) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        self.embed = nn.Parameter(torch.randn(len(task.vocabulary), width, generator=generator))
        self.unembed = nn.Parameter(torch.randn(width, len(task.outputs), generator=generator))
        self.register_buffer("lengths", torch.arange(1.0, task.context_length + 1)[:, None])

    def forward(self, tokens: Tensor) -> Tensor:
        return (self.embed[tokens].cumsum(dim=1) / self.lengths).tanh() @ self.unembed


@dataclass(frozen=True)
class BagConfig:
    width: int = 3

    def build(self, task: Task, seed: int) -> Bag:
        return Bag(self.width, task, seed)


THOUGHTS = Parity(max_length=5)
NORMS = get_args(Norm)
SHARED = DecoderConfig(n_heads=2, d_model=8, index="shared")
PLACED = [positions for positions in get_args(Positions) if positions != "none"]
BOTH_WAYS = TransformerConfig(**SMALL, attention_dir="bidirectional")
CASES = [
    (TASK, MLPConfig(d_embed=6, d_mlp=5), 2),
    (TASK, MLPConfig(d_embed=6, d_mlp=5, bias=True), 2),
    (TASK, BilinearConfig(d_embed=6), 2),
    *((TASK, TransformerConfig(**SMALL), first) for first in (0, 1, 2)),
    *((TASK, BOTH_WAYS, first) for first in (0, 2)),
    *((TASK, TransformerConfig(**SMALL, n_layers=3, act_fn="gelu"), first) for first in (0, 2)),
    (TASK, replace(BOTH_WAYS, n_layers=2), 1),
    *((PADDED, BOTH_WAYS, first) for first in (0, 1, 4)),
    (PADDED, replace(BOTH_WAYS, n_layers=3), 1),
    (PADDED, TransformerConfig(**SMALL, n_layers=2), 1),
    *((TASK, BagConfig(), first) for first in (0, 2)),
    *((PADDED, CompiledConfig(), first) for first in (0, 2)),
    (THOUGHTS, IterationHeadConfig(), 3),
    *((THOUGHTS, DecoderConfig(n_heads=2, d_model=8, norm=norm), 0) for norm in NORMS),
    *((THOUGHTS, replace(SHARED, positions=positions), 2) for positions in PLACED),
    *((THOUGHTS, replace(SHARED, index="absolute", positions=p), 0) for p in ("t5", "none")),
]


@pytest.mark.parametrize("n_examples", [19, 5])  # more than there are tokens, and fewer
@pytest.mark.parametrize(("task", "config", "first_scored"), CASES)
def test_values_and_gradients_are_those_of_the_hooked_forward(
    task: Task, config: ModelConfig, first_scored: int, n_examples: int
) -> None:
    models = [config.build(task, seed).to(torch.float64) for seed in (0, 1)]
    for model in models:  # so that a bias shows
        if isinstance(config, MLPConfig) and config.bias:
            model.b_in.data.normal_(generator=torch.Generator().manual_seed(5))
        if isinstance(config, CompiledConfig | IterationHeadConfig):  # with zeros and large numbers
            generator = torch.Generator().manual_seed(5)
            for parameter in model.parameters():
                parameter.data = torch.randn(parameter.shape, generator=generator).double() / 8
        if isinstance(config, DecoderConfig) and config.positions == "t5":
            model.relative_bias.data.normal_(generator=torch.Generator().manual_seed(5))
    tokens = torch.stack([task.examples(split).tokens[:n_examples] for split in ("train", "test")])
    parameters = {
        name: torch.stack([dict(model.named_parameters())[name].detach() for model in models])
        for name, _ in models[0].named_parameters()
    }
    for parameter in parameters.values():
        parameter.requires_grad_()
    ours = stacked_logits(models[0], parameters, tokens, first_scored)
    n_scored = tokens.shape[2] - first_scored
    theirs = [m(t)[:, -n_scored:] for m, t in zip(models, tokens, strict=True)]
    expected = torch.stack(theirs)
    torch.testing.assert_close(ours, expected, rtol=0, atol=1e-13)

    weight = torch.randn(expected.shape, generator=torch.Generator().manual_seed(7)).double()
    (ours * weight).sum().backward()
    (expected * weight).sum().backward()
    for name, parameter in parameters.items():
        for i, model in enumerate(models):
            own = dict(model.named_parameters())[name]
            if own.requires_grad:
                assert own.grad is not None and parameter.grad is not None, name
                torch.testing.assert_close(parameter.grad[i], own.grad, rtol=0, atol=1e-12)


def test_the_fast_way_does_not_run_the_hooked_one(monkeypatch: pytest.MonkeyPatch) -> None:
    model = TransformerConfig(**SMALL).build(TASK, 0)
    monkeypatch.setattr(type(model), "forward", None)
    parameters = {name: p.detach()[None] for name, p in model.named_parameters()}
    assert stacked_logits(model, parameters, torch.tensor([[[1, 2, 7]]]), 2).shape == (1, 1, 1, 7)
    assert is_ours(model) and not is_ours(BagConfig().build(TASK, 0))


def test_deterministic_mode_is_left_as_it_was() -> None:
    table = torch.randn(1, 4, 2, requires_grad=True)
    tokens = torch.tensor([[[0, 3]]])
    model = BilinearConfig(d_embed=2).build(GroupComposition(group="C4"), 0)
    parameters = {"W_E_a": table, "W_E_b": table, "W_U": torch.ones(1, 2, 4)}
    stacked_logits(model, parameters, tokens, 1).sum().backward()
    assert table.grad is not None and not torch.are_deterministic_algorithms_enabled()
