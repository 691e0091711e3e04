"""Losses against PyTorch's own, and the hand-written gradient against finite differences."""

import pytest
import torch
from torch.nn.functional import cross_entropy

from tasks.task import IGNORE
from training.loss import CrossEntropy, accuracies, losses


def example(dtype: torch.dtype) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    logits = 3 * torch.randn(2, 4, 3, 5, generator=generator, dtype=dtype)
    targets = torch.randint(0, 5, (2, 4, 3), generator=generator)
    targets[0, 1, 0] = targets[1, 2:, 1] = IGNORE
    return logits.requires_grad_(), targets


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_cross_entropy_is_pytorchs_in_float64_for_each_instance(dtype: torch.dtype) -> None:
    logits, targets = example(dtype)
    ours = losses(logits, targets)
    expected = torch.stack(
        [
            cross_entropy(x.flatten(0, 1).double(), t.flatten(), ignore_index=IGNORE)
            for x, t in zip(logits, targets, strict=True)
        ]
    )
    torch.testing.assert_close(ours, expected, rtol=1e-14, atol=0)
    weight = torch.tensor([1.0, 3.0], dtype=torch.float64)
    (got,) = torch.autograd.grad((ours * weight).sum(), logits)
    (wanted,) = torch.autograd.grad((expected * weight).sum(), logits)
    assert got.dtype == dtype
    torch.testing.assert_close(got, wanted, rtol=1e-6 if dtype == torch.float32 else 1e-13, atol=0)


def test_the_gradient_by_finite_differences() -> None:
    logits, targets = example(torch.float64)
    assert torch.autograd.gradcheck(lambda x: CrossEntropy.apply(x, targets), (logits,))


def test_large_logits_neither_overflow_nor_lose_a_small_loss() -> None:
    logits = torch.tensor([[[[1e30, 0.0]]], [[[20.0, 0.0]]]], requires_grad=True)
    loss = losses(logits, torch.tensor([[[0]], [[0]]]))
    assert loss.tolist() == pytest.approx([0.0, 2.061153622438558e-09], rel=1e-7)
    loss.sum().backward()
    assert logits.grad is not None
    assert logits.grad[1].flatten().tolist() == pytest.approx([-2.0611536e-09, 2.0611536e-09])


def test_accuracy_counts_scored_positions() -> None:
    logits = torch.eye(3)[None, :, None]  # three examples, each sure of its own number
    targets = torch.tensor([[[0], [2], [IGNORE]]])
    assert accuracies(logits, targets).tolist() == [0.5]


def test_squared_error_ignores_nan_and_has_no_accuracy() -> None:
    logits = torch.tensor([[[[1.0], [5.0]], [[2.0], [0.0]]]], requires_grad=True)
    targets = torch.tensor([[[3.0, torch.nan], [1.0, 2.0]]], dtype=torch.float64)
    loss = losses(logits, targets)
    assert loss.tolist() == [(4 + 1 + 4) / 3]
    loss.sum().backward()
    assert logits.grad is not None
    expected = torch.tensor([[[[-4 / 3], [0.0]], [[2 / 3], [-4 / 3]]]])
    torch.testing.assert_close(logits.grad, expected)
    assert accuracies(logits, targets).isnan().all()
