"""The true circuit of the network that is made for a task, and not trained."""

from interp.models.iteration_circuit import iteration_circuit
from interp.models.iteration_head import iteration_head
from interp.models.true_circuit import Circuit
from interp.rasp import compile_task
from tasks.iteration import IterationTask
from tasks.pairs import Pairs
from tasks.task import Task


def known_circuit(task: Task, pairs: Pairs, *, hardness: float | None = None) -> Circuit:
    """Judge every edge of the task's iteration head, or else of its compiled program.

    The inputs are those of `pairs`, clean and corrupted. `hardness` is the compiled program's, as
    in `compile_task`; the iteration head has its own.

    Raises `ValueError` for a task that has neither, and for an input that the network does not
    take.
    """
    if isinstance(task, IterationTask):
        return iteration_circuit(iteration_head(task), pairs)
    compiled = compile_task(task, hardness=hardness, dtype="float64")
    clean, corrupted = (
        compiled.encoding.sequences(part.tokens) for part in (pairs.clean, pairs.corrupted)
    )
    return compiled.circuit(list(zip(clean, corrupted, strict=True)))
