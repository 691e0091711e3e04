"""Programs compiled into transformers."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from interp.models.transformer import TaskTransformer
from interp.rasp.assemble import Assembly, Circuitry, Gaps, circuitry, gaps
from interp.rasp.blocks import Direction, layers
from interp.rasp.domains import Domains, InverseWidth
from interp.rasp.expressions import (
    Expression,
    Named,
    RaspError,
    SelectorWidth,
    SOp,
    Value,
    without_names,
)
from interp.rasp.interpret import evaluate
from interp.rasp.lowering import Lowering
from interp.rasp.printing import brief, show
from tasks.sequences.encoding import SequenceEncoding, Token

if TYPE_CHECKING:
    from interp.rasp.circuit import Circuit, Pair
    from interp.rasp.explain import Explanation

LEAKAGE = 1e-6
"""How far an attention row may be from what the program says, unless hardness is given."""
ALL_INPUTS = 4000
"""Inputs on which a program is tried before it is compiled; then some of every longer length."""
LONGER_INPUTS = 10
"""Of each kind: random, sorted, of two tokens, of one."""


@dataclass(frozen=True, eq=False)
class CompiledModel:
    """A transformer that computes a program, and what each of its parts is for."""

    program: SOp
    encoding: SequenceEncoding
    causal: bool
    gaps: Gaps
    """Differences of attention scores between selected, default and other keys."""
    outputs: tuple[Value, ...]
    """What the logits stand for, in their order. A numerical program has one logit, its value."""
    circuitry: Circuitry
    origins: Mapping[Expression, Expression]
    """For each part of the program without names, the part with names."""
    model: TaskTransformer

    def __call__(self, sequences: Sequence[Sequence[Token]]) -> list[list[Value]]:
        """The network's answer at every token of every sequence.

        Raises `ValueError` for a token outside the vocabulary and a sequence that is too long.
        """
        return self.answers_of(self.model, sequences)

    def answers_of(
        self, model: TaskTransformer, sequences: Sequence[Sequence[Token]]
    ) -> list[list[Value]]:
        """What another network with the same inputs and outputs answers. Raises as a call does."""
        tokens = self.encoding.encode(sequences)
        with torch.no_grad():
            return self.decode(model(tokens.to(model.W_E.device)), tokens)

    def decode(
        self,
        logits: Float[Tensor, "example position output"],
        tokens: Int64[Tensor, "example position"],
    ) -> list[list[Value]]:
        """The answers that logits stand for, at every token but BOS and pads."""
        if self.program.is_numerical:
            rows = logits[..., 0].tolist()
        else:
            rows = [[self.outputs[i] for i in row] for row in logits.argmax(dim=-1).tolist()]
        ends = (tokens != self.encoding.pad).sum(dim=1).tolist()
        return [row[1:end] for row, end in zip(rows, ends, strict=True)]

    @property
    def basis(self) -> tuple[str, ...]:
        """What each direction of the residual stream stands for."""
        return tuple(self.label(direction) for direction in self.circuitry.basis)

    def label(self, direction: Direction) -> str:
        """What a direction stands for."""
        if direction.variable is None:
            return "BOS"
        name = self.name(direction.variable)
        return name if direction.variable.is_numerical else f"{name} = {direction.value}"

    def name(self, variable: SOp) -> str:
        """A variable's name in the program, or else its expression."""
        if isinstance(variable, InverseWidth):
            return f"1 / (1 + {self.name(SelectorWidth(variable.selector))})"
        return brief(self._origin(variable))

    def definition(self, variable: SOp) -> str:
        """A variable's name, if it has one, and its expression."""
        if isinstance(variable, InverseWidth):
            return f"1 / (1 + {brief(self.origins[SelectorWidth(variable.selector)])})"
        origin = self._origin(variable)
        return f"{origin.name} = {show(origin)}" if isinstance(origin, Named) else show(origin)

    def _origin(self, variable: SOp) -> Expression:
        return self.origins.get(variable, variable)

    def live_mask(self) -> dict[str, Bool[Tensor, "*shape"]]:
        """For each parameter, which of its entries the program uses: those that are not zero."""
        return {name: weight != 0 for name, weight in self.model.named_parameters()}

    @property
    def n_live_block_parameters(self) -> int:
        """Parameters of heads and MLPs that are not zero; embeddings are not counted."""
        live = self.live_mask().items()
        return sum(int(mask.sum()) for name, mask in live if name.startswith("blocks."))

    def explain(self) -> "Explanation":
        """What every head, MLP and direction is for; print it, or plot it."""
        from interp.rasp.explain import explain

        return explain(self)

    def circuit(self, pairs: "Sequence[Pair]") -> "Circuit":
        """Which edges matter on (clean, corrupted) sequences, see `interp.rasp.circuit`."""
        from interp.rasp.circuit import true_circuit

        return true_circuit(self, pairs)


def compile_program(
    program: SOp,
    tokens: Sequence[Token],
    max_length: int,
    *,
    causal: bool = False,
    hardness: float | None = None,
    outputs: Sequence[Value] | None = None,
    dtype: torch.dtype = torch.float32,
) -> CompiledModel:
    """Compile a program for sequences of up to `max_length` of `tokens`.

    Args:
        causal: attention, and the program's selectors, look to the left only.
        hardness: the gap between the attention scores of selected and other keys. By default the
            smallest that keeps every attention row within 1e-6 of what the program says.
        outputs: the order of the logits; by default the values the program can have.

    Raises:
        RaspError: on some input the program has no value (it needs a default, selects different
            values, or a function fails), it has values that are not in `outputs`, or a numerical
            expression cannot be encoded. The expression is named.
        ValueError: the vocabulary is empty or has a token twice, `max_length` is below 1, or
            `hardness` is not above 0.
    """
    encoding = SequenceEncoding(tuple(tokens), max_length)
    if hardness is not None and not 0 < hardness < math.inf:
        raise ValueError(f"hardness is {hardness}: it must be above 0 and finite")
    domains = Domains(encoding.tokens, max_length, causal)
    evaluate(program, list(_trial_inputs(encoding)), causal=causal)  # raises where it has no value
    plain, origins = without_names(program)
    lowering = Lowering(domains)
    output = lowering.require(plain)
    made = circuitry(lowering.blocks, layers(lowering.blocks), output, domains)
    if hardness is None:
        score_gaps, exact_gaps = gaps(max_length, LEAKAGE), gaps(max_length, LEAKAGE / 50)
    else:
        score_gaps = exact_gaps = Gaps(hardness, hardness)
    assembly = Assembly(made, encoding, score_gaps, exact_gaps)
    values = _outputs(program, output, domains, outputs)
    model = assembly.model(values, causal=causal).to(dtype=dtype)
    return CompiledModel(program, encoding, causal, score_gaps, values, made, origins, model)


def _outputs(
    program: SOp, output: SOp, domains: Domains, wanted: Sequence[Value] | None
) -> tuple[Value, ...]:
    if output.is_numerical:
        return ("value",)
    found = domains.of(output).values
    if wanted is None:
        return found
    if missing := [value for value in found if value not in wanted]:
        raise RaspError(f"{brief(program)} can be {missing[0]!r}, which is none of the outputs")
    return tuple(wanted)


def _trial_inputs(encoding: SequenceEncoding) -> Iterator[tuple[Token, ...]]:
    """All short inputs, and some of every longer length."""
    generator = torch.Generator().manual_seed(0)
    for length in range(1, encoding.max_length + 1):
        if len(encoding.tokens) ** length <= ALL_INPUTS:
            yield from product(encoding.tokens, repeat=length)
        else:
            shape = (LONGER_INPUTS, length)
            drawn = torch.randint(len(encoding.tokens), shape, generator=generator)
            two = drawn[:, :2].gather(1, torch.randint(2, shape, generator=generator))
            constant = torch.arange(len(encoding.tokens))[:, None].expand(-1, length)
            for kind in (drawn, drawn.sort(dim=1).values, two, constant[:LONGER_INPUTS]):
                yield from encoding.sequences(kind)
