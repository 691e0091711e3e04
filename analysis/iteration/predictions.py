"""What a network predicts, one length at a time: told the truth so far, or its own output."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import chain
from typing import Any, NamedTuple

import torch
from jaxtyping import Float64, Int64
from torch import Tensor
from torch.nn.functional import cross_entropy

from interp.models.generate import generate
from interp.models.transformer import TaskTransformer
from tasks.iteration import IterationTask
from tasks.task import IGNORE, Split

BATCH_BYTES = 2**26
"""In float64, the widest activation that is computed at a time."""
ROOM = 4
"""Tokens that a network may say beyond those it should, to end late."""

FROM_LENGTH, ENOUGH = 4, 30
"""Averages over lengths begin at the first, as published, and leave out those with fewer sequences
than the second."""

Hooks = Sequence[tuple[str, Callable[..., Any]]]


class Sequences(NamedTuple):
    """Sequences with the same number of inputs, as wide as what is scored, and s_L, need."""

    problem: str
    """The problem's name, or empty where all problems are together."""
    length: int
    tokens: Int64[Tensor, "example position"]
    targets: Int64[Tensor, "example position"]

    def first(self, n: int) -> "Sequences":
        """The first n of them, or all if these are fewer."""
        return self._replace(tokens=self.tokens[:n], targets=self.targets[:n])


class Predictions(NamedTuple):
    """What a network says after each token of true sequences."""

    tokens: Int64[Tensor, "example position"]
    """The output with the largest logit."""
    loss: Float64[Tensor, "example position"]
    """Cross-entropy in nats; 0 where the position is not scored."""


def by_length(
    task: IterationTask, split: Split = "test", *, by_problem: bool = False
) -> Iterator[Sequences]:
    """The sequences of a split, from short to long; each problem's by themselves if so asked."""
    examples = task.examples(split)
    lengths = task.encoding.lengths(examples.tokens)
    groups = {"": torch.ones_like(lengths, dtype=torch.bool)}
    if by_problem:
        is_of = examples.tokens[:, :1] == task.encoding.problem_ids
        groups = {task.problems[i].name: is_of[:, i] for i in task.drawn_problems}
    for length in lengths.unique().tolist():
        for name, group in groups.items():
            rows = group & (lengths == length)
            if rows.any():
                yield _cut(task, name, length, examples.tokens[rows], examples.targets[rows])


def averaged_lengths(sizes: Mapping[int, int]) -> list[int]:
    """Of lengths and the numbers of their sequences, the lengths that averages are over.

    From `FROM_LENGTH`, or the longest if that is shorter, and with `ENOUGH` sequences, unless no
    length has as many.
    """
    long = [length for length in sizes if length >= min(FROM_LENGTH, max(sizes))]
    return [length for length in long if sizes[length] >= ENOUGH] or long


def _cut(
    task: IterationTask, problem: str, length: int, tokens: Tensor, targets: Tensor
) -> Sequences:
    last_scored = int((targets[0] != IGNORE).nonzero().max())
    width = max(last_scored + 1, task.layout.answer(length).stop)
    return Sequences(problem, length, tokens[:, :width], targets[:, :width])


def scored_states(task: IterationTask, length: int) -> range:
    """The positions of the states that are scored; each is said at the position before it."""
    answer = task.layout.answer(length)
    return answer[-1:] if task.targets == "final" else answer


@torch.no_grad()
def predict(model: TaskTransformer, sequences: Sequences, hooks: Hooks = ()) -> Predictions:
    """What `model` says when it is told the truth so far (teacher forcing).

    `hooks` are names of hook points with a function of activation and hook point for each; they
    are called once a minibatch.

    Raises `ValueError` when the sequences are longer than the model's context.
    """
    if (width := sequences.tokens.shape[1]) > model.cfg.n_ctx:
        raise ValueError(
            f"sequences of {sequences.length} inputs need {width} positions: the network has "
            f"{model.cfg.n_ctx}"
        )
    predicted, losses = [], []
    for tokens, targets in minibatches(model, sequences.tokens, sequences.targets):
        logits = model.run_with_hooks(tokens, fwd_hooks=list(hooks))
        predicted.append(logits.argmax(dim=-1).cpu())
        loss = torch.zeros_like(targets, dtype=torch.float64)
        is_scored = targets != IGNORE
        loss[is_scored] = cross_entropy(
            logits[is_scored].double(), targets[is_scored], reduction="none"
        )
        losses.append(loss.cpu())
    return Predictions(torch.cat(predicted), torch.cat(losses))


@torch.no_grad()
def own_output(
    model: TaskTransformer, task: IterationTask, sequences: Sequences
) -> Int64[Tensor, "example said"]:
    """What `model` says after the prompts when it reads its own output (free running).

    It says the answer, EoS, and up to `ROOM` tokens more, as far as the longest example of `task`
    goes; s_L is the last where it alone is scored. In the default preset nothing after an EoS is
    trained, and the output from its first EoS on is EoS.
    """
    answer = task.layout.answer(sequences.length)
    n_tokens = len(answer)
    if task.targets == "all":
        positions = task.layout.answer(task.max_length).stop - answer.start
        n_tokens = 1 + min(n_tokens + ROOM, positions)
    prompts = task.encoding.prompt(sequences.tokens)
    parts = [generate(model, part, n_tokens).cpu() for (part,) in minibatches(model, prompts)]
    said = torch.cat(parts)
    if task.is_published:
        return said
    eos = task.encoding.token_ids["EoS"]
    return said.masked_fill((said == eos).cumsum(dim=1) > 0, eos)


def minibatches(
    model: TaskTransformer, *tensors: Int64[Tensor, "example _"]
) -> Iterator[tuple[Tensor, ...]]:
    """Corresponding rows of the tensors, as many as memory is meant for, where the model is."""
    cfg, width = model.cfg, tensors[0].shape[1]
    widest = max(cfg.d_vocab_out, cfg.d_mlp or cfg.d_model, cfg.n_heads * width)
    size = max(1, BATCH_BYTES // (8 * width * widest))
    device = next(chain(model.parameters(), model.buffers())).device
    for parts in zip(*(tensor.split(size) for tensor in tensors), strict=True):
        yield tuple(part.to(device) for part in parts)
