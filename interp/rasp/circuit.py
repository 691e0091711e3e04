"""The true circuit of a compiled model: which edges carry what, known before any patching.

Its edges are variable, constant or absent, see `interp.models.true_circuit`. The messages are what
the program says: no attention leaks and no pad speaks. Every token has an answer; BOS has none, and
what is done there is not judged. The queries and keys of a selector that is always true are absent,
since attention is uniform whatever they carry.
"""

from collections.abc import Sequence

import torch

from interp.models.graph import EMBED, POS_EMBED, head_name, mlp_name
from interp.models.true_circuit import CHANGED as CHANGED
from interp.models.true_circuit import Circuit, Residual, judge_edges
from interp.rasp.blocks import BOS, NUMBER, Direction, Head
from interp.rasp.compiled import CompiledModel
from interp.rasp.domains import InverseWidth
from interp.rasp.expressions import SelectorWidth, SOp, Tokens
from interp.rasp.interpret import Evaluation
from tasks.sequences.encoding import Token

Pair = tuple[Sequence[Token], Sequence[Token]]
"""A clean sequence and a corrupted one."""


def true_circuit(compiled: CompiledModel, pairs: Sequence[Pair]) -> Circuit:
    """Judge every edge by the inputs that occur in `pairs`, clean and corrupted.

    Raises `ValueError` for an input that the model does not take, or when there are no pairs.
    """
    if not pairs:
        raise ValueError("there are no pairs: give at least one (clean, corrupted)")
    sequences = list(dict.fromkeys(tuple(sequence) for pair in pairs for sequence in pair))
    program = _Program(compiled, sequences)
    pads = program.tokens == compiled.encoding.pad
    is_token = ~pads
    is_token[:, 0] = False
    unread = [
        f"{head_name(layer, i)}.{x}"
        for layer, heads in enumerate(compiled.circuitry.heads)
        for i, head in enumerate(heads)
        if not head.terms
        for x in "qk"
    ]
    kinds = judge_edges(compiled.model, program.sent(), is_token, pads, unread)
    return Circuit(kinds, len(pairs))


class _Program:
    """What the program says that senders write, on a set of inputs."""

    def __init__(self, compiled: CompiledModel, sequences: Sequence[Sequence[Token]]) -> None:
        self.compiled, self.made = compiled, compiled.circuitry
        self.tokens = compiled.encoding.encode(sequences)
        self.evaluations = [Evaluation([sequence], compiled.causal) for sequence in sequences]
        self.place = {direction: i for i, direction in enumerate(self.made.basis)}

    def sent(self) -> dict[str, Residual]:
        """The messages of all senders that the program uses."""
        found = {EMBED: self._embedding(), POS_EMBED: self._positions()}
        for layer, heads in enumerate(self.made.heads):
            found |= {head_name(layer, i): self._head(head) for i, head in enumerate(heads)}
            if variables := list(dict.fromkeys(sop for sop, _ in self.made.neurons[layer])):
                found[mlp_name(layer)] = self._written(variables)
        return found

    def _embedding(self) -> Residual:
        written = self._written([Tokens()])
        written[:, 0, self.place[BOS]] = 1
        return written

    def _positions(self) -> Residual:
        table = self.compiled.model.W_pos.detach().double().cpu()[: self.tokens.shape[1]]
        return table.expand(len(self.tokens), -1, -1)

    def _head(self, head: Head) -> Residual:
        written = self._written([head.output])
        for value, amount in head.at_bos.items():
            if (direction := Direction(head.output, value)) in self.place:
                written[:, 0, self.place[direction]] = amount
        return written

    def _written(self, variables: Sequence[SOp]) -> Residual:
        """The variables' directions at every token."""
        written = torch.zeros(*self.tokens.shape, len(self.place), dtype=torch.float64)
        for example, evaluation in enumerate(self.evaluations):
            for variable in variables:
                for position, (direction, amount) in enumerate(_writes(evaluation, variable), 1):
                    if direction in self.place:
                        written[example, position, self.place[direction]] = amount
        return written


def _writes(evaluation: Evaluation, variable: SOp) -> list[tuple[Direction, float]]:
    """A variable's direction at each token of the one sequence, and how much is written there."""
    if isinstance(variable, InverseWidth):
        widths = evaluation.column(SelectorWidth(variable.selector)).rows()[0]
        return [(Direction(variable, NUMBER), 1 / (1 + width)) for width in widths]
    values = evaluation.column(variable).rows()[0]
    if variable.is_numerical:
        return [(Direction(variable, NUMBER), float(value)) for value in values]
    return [(Direction(variable, value), 1.0) for value in values]
