from .checking import Check, check, inputs
from .circuit import Circuit, true_circuit
from .compiled import CompiledModel, compile_program
from .compression import CompressedModel, compress, compression_curve
from .explain import Explanation
from .expressions import RaspError, SOp
from .interpret import evaluate
from .language import (
    aggregate,
    categorical,
    indices,
    map,
    numerical,
    select,
    selector_width,
    sequence_map,
    tokens,
)
from .printing import listing
from .tasks import PROGRAMS, ProgramTask, compile_task, compiled_shape

__all__ = [
    "PROGRAMS",
    "Check",
    "Circuit",
    "CompiledModel",
    "CompressedModel",
    "Explanation",
    "ProgramTask",
    "RaspError",
    "SOp",
    "aggregate",
    "categorical",
    "check",
    "compile_program",
    "compile_task",
    "compiled_shape",
    "compress",
    "compression_curve",
    "evaluate",
    "indices",
    "inputs",
    "listing",
    "map",
    "numerical",
    "select",
    "selector_width",
    "sequence_map",
    "tokens",
    "true_circuit",
]
