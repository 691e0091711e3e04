"""Tasks and the programs that solve them."""

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import torch

from interp.arguments import nearest
from interp.models.config import TransformerConfig
from interp.rasp import programs
from interp.rasp.compiled import CompiledModel, compile_program
from interp.rasp.domains import Domains
from interp.rasp.expressions import RaspError, SOp, without_names
from interp.rasp.interpret import evaluate
from interp.runs.registry import user_modules
from tasks.sequences.encoding import Token
from tasks.sequences.sequence import SequenceTask
from tasks.task import Task

PROGRAMS: dict[str, Callable[[], SOp]] = {
    "peak": programs.peak,
    "dominant_peak": programs.dominant_peak,
    "palindrome": programs.palindrome,
    "fraction": programs.fraction,
    "histogram": programs.histogram,
    "reverse": programs.reverse,
    "sort": programs.sort,
    "triplets": programs.triplets,
}
"""The programs that solve the tasks of these names."""


@dataclass(frozen=True)
class ProgramTask(SequenceTask):
    """To say what a RASP program says, at every token.

    Raises `RaspError` when the program is asked for and there is none, or it has no value on some
    sequence.
    """

    program: str = "histogram"
    """A built-in program, or my_module:my_program (an expression, or a function without arguments
    that returns one)."""
    causal: bool = False
    """Whether the program's selectors look to the left only."""

    @cached_property
    def expression(self) -> SOp:
        """The program itself."""
        if ":" not in self.program:
            return named_program(self.program)
        module, _, name = self.program.partition(":")
        if module not in user_modules:
            raise RaspError(
                f"the program {self.program} is in a module that is not imported unasked: if you "
                f"trust it, add `--allow-module {module}`"
            )
        found = getattr(sys.modules[module], name, None)
        try:
            found = found() if callable(found) else found
        except Exception as error:  # the user's own function
            raise RaspError(f"{self.program} fails: {error}") from error
        if not isinstance(found, SOp):
            raise RaspError(
                f"{self.program} is no program: it must be a sequence operation, or a function "
                f"that returns one, and is {found!r}"
            )
        return found

    @property
    def name(self) -> str:
        """The program's name."""
        return self.program.rpartition(":")[2]

    @property
    def attention(self) -> Literal["causal", "bidirectional"]:  # pyright: ignore
        """Causal if the program is."""
        return "causal" if self.causal else "bidirectional"

    @property
    def loss(self) -> Literal["cross_entropy", "mean_squared_error"]:  # pyright: ignore
        """Squared error for a numerical program."""
        return "mean_squared_error" if self.expression.is_numerical else "cross_entropy"

    @property
    def output_values(self) -> tuple[Any, ...]:
        """The values that the program can have; a numerical one's own name."""
        return (self.name,) if self.expression.is_numerical else self._possible_values

    @cached_property
    def _possible_values(self) -> tuple[Any, ...]:
        domains = Domains(self.tokens, self.max_length, self.causal)
        return domains.of(without_names(self.expression)[0]).values

    def answers(self, sequence: Sequence[Token]) -> list[Any]:
        """What the interpreter says."""
        return self.all_answers([sequence])[0]

    def all_answers(self, sequences: Sequence[Sequence[Token]]) -> list[list[Any]]:
        """What the interpreter says, for many sequences at once."""
        return evaluate(self.expression, sequences, causal=self.causal)


def named_program(name: str) -> SOp:
    """The built-in program of a task. Raises `RaspError` when there is none of that name."""
    if name not in PROGRAMS:
        raise RaspError(
            f"there is no program {name!r}: there are {', '.join(PROGRAMS)}, and your own as "
            f"my_module:my_program{nearest(name, PROGRAMS)}"
        )
    return PROGRAMS[name]()


def compile_task(
    task: Task, *, hardness: float | None = None, dtype: Literal["float32", "float64"] = "float32"
) -> CompiledModel:
    """Compile the program that solves `task`, its logits in the order of the task's outputs.

    Raises `RaspError` when there is no program for the task, and as `compile_program` does.
    """
    if not isinstance(task, SequenceTask):
        raise RaspError(f"{task.name} is no task on sequences: only those have programs")
    is_own = isinstance(task, ProgramTask)
    program = task.expression if is_own else named_program(task.name)
    return compile_program(
        program,
        task.tokens,
        task.max_length,
        causal=task.attention == "causal",
        hardness=hardness,
        outputs=task.output_values,
        dtype=getattr(torch, dtype),
    )


def compiled_shape(task: Task) -> TransformerConfig:
    """A transformer to train, with the sizes of the one that is compiled for `task`.

    Raises `RaspError` as `compile_task` does.
    """
    cfg = compile_task(task).model.cfg
    return TransformerConfig(
        n_layers=max(1, cfg.n_layers),
        n_heads=cfg.n_heads,
        d_model=cfg.d_model,
        d_head=cfg.d_head,
        d_mlp=max(1, cfg.d_mlp or 0),
        attention_dir=task.attention,
    )
