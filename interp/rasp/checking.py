"""Whether a compiled model does what its program says."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, product

import torch

from interp.rasp.compiled import CompiledModel
from interp.rasp.domains import InverseWidth
from interp.rasp.expressions import Value
from interp.rasp.interpret import Evaluation, evaluate
from tasks.sequences.encoding import SequenceEncoding, Token

TOLERANCE = 1e-5
"""How far a numerical answer may be from the program's, relative to the largest of its values."""
ALL_INPUTS = 20_000
NUMBERS_AT_ONCE = 2**25


@dataclass(frozen=True)
class Check:
    """What was found when a compiled model was compared with its program."""

    n_inputs: int
    n_wrong: int
    """Sequences with a wrong answer at some position."""
    first_wrong: tuple[Token, ...] | None
    leakage: float
    """Largest deviation of an entry of an attention pattern from what the program says."""

    def __str__(self) -> str:
        wrong = "all agree" if not self.n_wrong else f"{self.n_wrong} differ, as {self.first_wrong}"
        return (
            f"compiled model against interpreter on {self.n_inputs:,} inputs: {wrong}; "
            f"attention is off by at most {self.leakage:.1e}"
        )


def check(compiled: CompiledModel, sequences: Sequence[Sequence[Token]]) -> Check:
    """Compare answers and attention patterns with the program's on each of `sequences`."""
    wanted = evaluate(compiled.program, sequences, causal=compiled.causal)
    by_length: dict[int, list[int]] = {}
    for i, sequence in enumerate(sequences):
        by_length.setdefault(len(sequence), []).append(i)
    wrong: list[int] = []
    is_number = compiled.program.is_numerical
    leakage = 0.0
    for length, members in by_length.items():
        cfg = compiled.model.cfg
        at_each = max(cfg.d_mlp or 0, cfg.d_model, cfg.n_layers * cfg.n_heads * (length + 1))
        size = max(1, NUMBERS_AT_ONCE // (at_each * (length + 1)))
        for start in range(0, len(members), size):
            part = members[start : start + size]
            answers, leaked = _run(compiled, [sequences[i] for i in part])
            leakage = max(leakage, leaked)
            pairs = zip(part, answers, strict=True)
            wrong += [i for i, row in pairs if differ(row, wanted[i], is_number)]
    first = tuple(sequences[min(wrong)]) if wrong else None
    return Check(len(sequences), len(wrong), first, leakage)


def inputs(
    encoding: SequenceEncoding, all_up_to: int | None, n_random: int, seed: int = 0
) -> list[tuple[Token, ...]]:
    """Every sequence of up to `all_up_to` tokens, then random ones of any length.

    None stands for as many tokens as have at most 20,000 sequences altogether.
    """
    if all_up_to is None:
        counts = accumulate(len(encoding.tokens) ** n for n in range(1, encoding.max_length + 1))
        all_up_to = sum(count <= ALL_INPUTS for count in counts)
    lengths = range(1, min(all_up_to, encoding.max_length) + 1)
    everything = [s for length in lengths for s in product(encoding.tokens, repeat=length)]
    generator = torch.Generator().manual_seed(seed)
    drawn = torch.randint(
        len(encoding.tokens), (n_random, encoding.max_length), generator=generator
    )
    ends = torch.randint(1, encoding.max_length + 1, (n_random,), generator=generator)
    rows = zip(encoding.sequences(drawn), ends.tolist(), strict=True)
    return everything + [sequence[:end] for sequence, end in rows]


def differ(
    answers: Sequence[Value],
    wanted: Sequence[Value],
    is_number: bool,
    tolerance: float = TOLERANCE,
) -> bool:
    """Whether a network's answers are others than the program's; numbers within the tolerance."""
    if is_number:
        scale = max(1.0, *(abs(float(value)) for value in wanted))
        pairs = zip(answers, wanted, strict=True)
        return any(not abs(a - float(b)) <= tolerance * scale for a, b in pairs)
    return list(answers) != list(wanted)


def _run(
    compiled: CompiledModel, sequences: Sequence[Sequence[Token]]
) -> tuple[list[list[Value]], float]:
    """Answers to sequences of one length, and the largest deviation of attention."""
    tokens = compiled.encoding.encode(sequences)
    with torch.no_grad():
        logits, patterns = compiled.model.run_with_cache(
            tokens, names_filter=lambda name: name.endswith("hook_pattern")
        )
    evaluation = Evaluation(sequences, compiled.causal)
    leakage = 0.0
    for layer, heads in enumerate(compiled.circuitry.heads):
        for i, head in enumerate(heads):
            pattern = patterns[f"blocks.{layer}.attn.hook_pattern"][:, i, 1:]
            selected = torch.from_numpy(evaluation.selected(head.selector))
            ideal = torch.nn.functional.pad(selected.double(), (1, 0))
            # BOS is always attended to by a width's head, else where nothing is selected.
            is_width = isinstance(head.output, InverseWidth)
            ideal[..., 0] = 1.0 if is_width else ~selected.any(dim=-1)
            ideal /= ideal.sum(dim=-1, keepdim=True)
            leakage = max(leakage, float((pattern - ideal).abs().max()))
    assert isinstance(logits, torch.Tensor)
    return compiled.decode(logits, tokens), leakage
