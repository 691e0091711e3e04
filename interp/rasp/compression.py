"""A compiled model squeezed into fewer residual dimensions.

The residual stream x of a compiled model, with a direction for each value of each variable, is
replaced by P x, where P has few rows; whatever reads it reads P^T P x instead, and the program's
weights stay as they are. P is either the principal directions of the activations, or learned from
there, as in "Tracr: Compiled Transformers as a Laboratory for Interpretability" (Lindner et al.
2023, section 5), which finds that features then share directions.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor
from torch.func import functional_call
from torch.nn.functional import cross_entropy

from interp.models.transformer import TaskTransformer
from interp.rasp.checking import differ
from interp.rasp.compiled import CompiledModel
from interp.rasp.expressions import Value
from interp.rasp.interpret import evaluate
from tasks.sequences.encoding import Token

Method = Literal["pca", "learned"]
BATCH = 256
"""Sequences in a step of learning."""
LEARNING_RATE = 3e-2
"""At its highest; it rises and falls in one cycle."""
SHARPNESS = 10.0
"""A compiled model's logits are 0 and 1; times this they are as good as certain."""
LAYER_WEIGHT = 0.1
"""Of the residual stream's error beside that of the answers."""


@dataclass(frozen=True, eq=False)
class CompressedModel:
    """A compiled model with a narrower residual stream."""

    compiled: CompiledModel
    projection: Float[Tensor, "size d_model"]
    """From the compiled model's residual stream to this one's."""
    model: TaskTransformer

    def __call__(self, sequences: Sequence[Sequence[Token]]) -> list[list[Value]]:
        """The network's answers, as `CompiledModel` gives them."""
        return self.compiled.answers_of(self.model, sequences)


def compress(
    compiled: CompiledModel,
    size: int,
    sequences: Sequence[Sequence[Token]],
    *,
    method: Method = "learned",
    steps: int = 1000,
    seed: int = 0,
) -> CompressedModel:
    """Squeeze the residual stream into `size` dimensions.

    Args:
        sequences: the activations that matter are those on these.
        method: "pca" takes the directions of the activations' largest second moments (not
            centred: a shift would not pass through the weights). "learned" goes on from there by
            Adam, on the error of the answers and, lightly, of the residual stream at each layer.
        steps: of learning; each takes 256 of the sequences.
        seed: draws them.

    Raises:
        ValueError: `size` is not from 1 to the compiled model's width, or there are no sequences.
    """
    d_model = compiled.model.cfg.d_model
    if not 1 <= size <= d_model:
        raise ValueError(f"size is {size}: it must be from 1 to {d_model}, the model's width")
    if not sequences:
        raise ValueError("there are no sequences to learn from: give at least one")
    if method not in ("pca", "learned"):
        raise ValueError(f"method is {method!r}: it must be 'pca' or 'learned'")
    if steps < 1:
        raise ValueError(f"steps is {steps}: it must be at least 1")
    if not compiled.model.cfg.n_layers:
        raise ValueError(f"{compiled.program} has no layer: there is nothing to compress")
    projection = principal_directions(compiled, sequences)[:size]
    if method == "learned":
        projection = _learn(compiled, projection, sequences, steps, seed)
    model = _narrow_network(compiled, size)
    with torch.no_grad():
        for name, weight in _narrowed(compiled.model, projection).items():
            model.get_parameter(name).copy_(weight)
    return CompressedModel(compiled, projection, model)


def principal_directions(
    compiled: CompiledModel, sequences: Sequence[Sequence[Token]]
) -> Float[Tensor, "d_model d_model"]:
    """Orthonormal rows, by the activations' second moment along them, the largest first.

    The activations are those of every layer at BOS and every token of `sequences`.
    """
    tokens = compiled.encoding.encode(sequences)
    is_real = tokens != compiled.encoding.pad
    with torch.no_grad():
        _, residuals = _run(compiled.model, dict(compiled.model.named_parameters()), tokens)
    activations = residuals[:, is_real].flatten(0, 1).double()
    _, directions = torch.linalg.eigh(activations.T @ activations)
    return directions.flip(1).T.to(compiled.model.W_E.dtype)


def compression_curve(
    compiled: CompiledModel,
    sizes: Sequence[int],
    sequences: Sequence[Sequence[Token]],
    test_sequences: Sequence[Sequence[Token]],
    *,
    method: Method = "learned",
    steps: int = 1000,
    seed: int = 0,
) -> pd.DataFrame:
    """The accuracy of models compressed with `sequences`, at each size, on `test_sequences`.

    Returns:
        Rows of size, method, accuracy (the share of tokens that are answered as the program does;
        numbers to one part in a hundred) and sequence_accuracy (of sequences without a mistake).
    """
    if not test_sequences:
        raise ValueError("there are no test sequences: give at least one")
    wanted = evaluate(compiled.program, test_sequences, causal=compiled.causal)
    is_number = compiled.program.is_numerical
    rows = []
    for size in sizes:
        small = compress(compiled, size, sequences, method=method, steps=steps, seed=seed)

        def is_right(answer: Value, want: Value) -> bool:
            return not differ([answer], [want], is_number, tolerance=0.01)

        pairs = zip(small(test_sequences), wanted, strict=True)
        right = [list(map(is_right, answers, want)) for answers, want in pairs]
        flat = [token for row in right for token in row]
        rows.append(
            {
                "size": size,
                "method": method,
                "accuracy": sum(flat) / len(flat),
                "sequence_accuracy": sum(map(all, right)) / len(right),
            }
        )
    return pd.DataFrame(rows)


def _learn(
    compiled: CompiledModel,
    start: Float[Tensor, "size d_model"],
    sequences: Sequence[Sequence[Token]],
    steps: int,
    seed: int,
) -> Float[Tensor, "size d_model"]:
    tokens = compiled.encoding.encode(sequences)
    model = _narrow_network(compiled, len(start))
    program = {name: p.detach() for name, p in compiled.model.named_parameters()}
    projection = start.clone().requires_grad_(True)
    optimizer = torch.optim.Adam([projection])
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, LEARNING_RATE, total_steps=steps)
    generator = torch.Generator().manual_seed(seed)

    def loss(projection: Tensor, tokens: Tensor) -> Tensor:
        is_real = tokens != compiled.encoding.pad
        is_token = is_real & (tokens != compiled.encoding.bos)
        wanted, residuals = _run(compiled.model, program, tokens)
        logits, narrow = _run(model, _narrowed(compiled.model, projection), tokens)
        drift = (narrow @ projection - residuals)[:, is_real].square().sum(dim=-1).mean()
        return _answer_error(logits[is_token], wanted[is_token]) + LAYER_WEIGHT * drift

    for _ in range(steps):
        optimizer.zero_grad()
        batch = torch.randint(len(tokens), (BATCH,), generator=generator)
        loss(projection, tokens[batch]).backward()
        torch.nn.utils.clip_grad_norm_([projection], 1.0)  # hard attention has steep places
        optimizer.step()
        schedule.step()
    with torch.no_grad():  # where little is lost, learning may not find the way back
        return min(start, projection.detach(), key=lambda found: float(loss(found, tokens)))


def _answer_error(
    logits: Float[Tensor, "token output"], wanted: Float[Tensor, "token output"]
) -> Float[Tensor, ""]:
    """Cross-entropy of sharpened logits, or the squared error of a number in the same unit."""
    if wanted.shape[1] == 1:
        return (SHARPNESS * (logits - wanted)).square().mean()
    return cross_entropy(SHARPNESS * logits, wanted.argmax(dim=-1))


def _run(
    model: TaskTransformer, weights: Mapping[str, Tensor], tokens: Tensor
) -> tuple[Tensor, Tensor]:
    """Logits, and the residual stream [layer, example, position, d_model] before and after each."""
    residuals: list[Tensor] = []
    names = ("hook_resid_pre", "hook_resid_mid", "hook_resid_post")

    def keep(residual: Tensor, hook: object) -> None:
        residuals.append(residual)

    with model.hooks(fwd_hooks=[(lambda name: name.endswith(names), keep)]):
        logits = functional_call(model, dict(weights), (tokens,))
    return logits, torch.stack(residuals)


def _narrow_network(compiled: CompiledModel, size: int) -> TaskTransformer:
    """A network of the same shape, but for `size` residual dimensions, with no weights yet."""
    cfg = compiled.model.cfg
    network = TaskTransformer(
        n_layers=cfg.n_layers,
        n_heads=cfg.n_heads,
        d_model=size,
        d_head=cfg.d_head,
        d_mlp=cfg.d_mlp or 0,
        attn_only=cfg.attn_only,
        n_ctx=cfg.n_ctx,
        d_vocab=cfg.d_vocab,
        d_vocab_out=cfg.d_vocab_out,
        attention_dir="causal" if compiled.causal else "bidirectional",
        pad_token=compiled.model.pad_token,
    )
    return network.to(dtype=compiled.model.W_E.dtype)


def _narrowed(wide: TaskTransformer, projection: Tensor) -> dict[str, Tensor]:
    """The weights of `wide` behind the projection, differentiable in it."""
    narrowed = {}
    for name, weight in wide.named_parameters():
        kind = name.rpartition(".")[2]
        if kind in ("W_E", "W_pos", "W_O", "W_out", "b_O", "b_out"):  # these write
            narrowed[name] = weight.detach() @ projection.T
        elif kind in ("W_Q", "W_K", "W_V", "W_in", "W_U"):  # these read
            narrowed[name] = projection @ weight.detach()
        else:
            narrowed[name] = weight.detach()
    return narrowed
