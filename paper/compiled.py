"""What the compiled programs cost, beside what tracr needs, and whether they are right.

`python -m paper.compiled --out OUT` writes `compiled.csv` (plain numbers) and `compiled.md`.
"""

import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from tyro.conf import Positional

from interp.arguments import FAILED, UsageError, complain
from interp.rasp import PROGRAMS, CompiledModel, check, compile_task, evaluate, inputs
from paper.command import refuse_unknown, run_module
from paper.tables import Table, markdown, write_files
from tasks.sequences import (
    DominantPeak,
    Fraction,
    Histogram,
    Palindrome,
    Peak,
    Reverse,
    SequenceTask,
    Sort,
    Triplets,
)

ALL_UP_TO = 3
"""Every input of up to this many tokens is tried, besides random ones."""


@dataclass(frozen=True)
class Tracr:
    """What tracr needs for a program. Embeddings and unembedding are not counted."""

    layers: int
    heads: int
    """In each layer."""
    non_zero: int
    """Parameters that are not zero."""
    seconds: float
    """To compile; of a range that was measured, its lower end."""


# tracr's programs for the dominant peak and for sorting are wrong: there is nothing to compare.
SIZES: dict[SequenceTask, Tracr | None] = {
    Peak("0..4", max_length=50): Tracr(6, 4, 2499, 6.0),
    Peak("0..4", max_length=10): Tracr(6, 4, 739, 3.5),
    Peak("0..9", max_length=10): Tracr(6, 4, 1389, 3.5),
    DominantPeak("0..6", max_length=10): None,
    DominantPeak("0..4", max_length=10): None,
    Palindrome("a..z,space", max_length=10): Tracr(4, 1, 4317, 5.0),
    Palindrome("a..e", max_length=10): Tracr(4, 1, 731, 5.0),
    Histogram("a..e", max_length=10): Tracr(1, 1, 99, 6.0),
    Histogram("a..e", max_length=50): Tracr(1, 1, 419, 6.0),
    Reverse("a..e", max_length=10): Tracr(4, 1, 631, 8.0),
    Sort("a..e", max_length=10): None,
    Sort("a..e", max_length=50): None,
    Triplets("a..e", max_length=10): Tracr(2, 2, 731, 5.0),
    Triplets("a..e", max_length=50): Tracr(2, 2, 12511, 113.0),
    Fraction("x,a..e", max_length=10): Tracr(2, 1, 71, 7.0),
    Fraction("x,a..m", max_length=10): Tracr(2, 1, 71, 7.0),
    Fraction("a..z", max_length=10): Tracr(2, 1, 71, 7.0),
    Fraction("x,a..e", max_length=50): Tracr(2, 1, 1331, 8.0),
    Fraction("x,a..m", max_length=50): Tracr(2, 1, 1331, 8.0),
    Fraction("a..z", max_length=50): Tracr(2, 1, 1331, 8.0),
}
"""The rows of the table."""

FORMATS = {"seconds": ".2f", "tracr_seconds": "g", "leakage": ".1e"}
"""How columns are printed that hold no integers."""


@dataclass(frozen=True)
class Options:
    """Compile the programs at every size of the table, check them, and write the table."""

    programs: Positional[tuple[str, ...]] = ()
    """Programs, such as peak; all of them if none is named."""
    out: Path = Path("tables")
    """Folder for the table."""
    check_random: int = 1000
    """Compare on this many random inputs, besides all of up to 3 tokens."""


def compiled_row(task: SequenceTask, n_random: int) -> dict[str, Any]:
    """Compile the task's program: its cost, and for how many inputs it is wrong.

    The network is wrong where it differs from the program as it is interpreted, and the program
    where that differs from the task's own answers.
    """
    start = time.perf_counter()
    compiled = compile_task(task)
    seconds = time.perf_counter() - start
    sequences = inputs(compiled.encoding, ALL_UP_TO, n_random)
    found = check(compiled, sequences)
    said = evaluate(compiled.program, sequences, causal=compiled.causal)
    if compiled.program.is_numerical:
        said = [list(map(float, answers)) for answers in said]  # the task's are no Fractions
    pairs = zip(said, task.all_answers(sequences), strict=True)
    tracr = SIZES.get(task)
    theirs = asdict(tracr) if tracr else dict.fromkeys(Tracr.__dataclass_fields__)
    return {
        "program": task.name,
        "vocabulary": task.vocab,
        "max_length": task.max_length,
        **_sizes(compiled),
        "seconds": seconds,
        "leakage": found.leakage,
        "inputs": found.n_inputs,
        "network_wrong": found.n_wrong,
        "program_wrong": sum(answers != right for answers, right in pairs),
        **{f"tracr_{name}": value for name, value in theirs.items()},
    }


def _sizes(compiled: CompiledModel) -> dict[str, int]:
    cfg = compiled.model.cfg
    blocks = [mask for name, mask in compiled.live_mask().items() if name.startswith("blocks.")]
    return {
        "layers": cfg.n_layers,
        "heads": cfg.n_heads,
        "d_head": cfg.d_head,
        "d_mlp": cfg.d_mlp or 0,
        "d_model": cfg.d_model,
        "parameters": sum(mask.numel() for mask in blocks),
        "non_zero": compiled.n_live_block_parameters,
    }


def page(table: pd.DataFrame) -> str:
    """Markdown: numbers are rounded, and tracr's stand behind ours in brackets."""
    cells = pd.DataFrame({name: [_cell(name, v) for v in table[name]] for name in table})
    for name in Tracr.__dataclass_fields__:
        theirs = cells.pop(f"tracr_{name}")
        cells[name] += [f" ({cell})" if cell else "" for cell in theirs]
    return markdown(Table("compiled", cells))


def _cell(column: str, value: Any) -> str:
    if isinstance(value, str) or pd.isna(value):
        return value if isinstance(value, str) else ""
    return format(value, FORMATS.get(column, ","))


def write_table(options: Options) -> int:
    """Compile, check and write; 1 if anything is wrong. The work of `python -m paper.compiled`."""
    if options.check_random < 1:
        raise UsageError(f"--check-random is {options.check_random}: it must be at least 1")
    refuse_unknown("program", options.programs, PROGRAMS)
    tasks = [task for task in SIZES if task.name in (options.programs or PROGRAMS)]
    rows = [compiled_row(task, options.check_random) for task in tasks]
    table = pd.DataFrame(rows).convert_dtypes()
    files = {"compiled.csv": table.to_csv(index=False), "compiled.md": page(table)}
    write_files(options.out, files)
    print(*(options.out / name for name in files), sep="\n")
    wrong = table.loc[table["network_wrong"] + table["program_wrong"] > 0, "program"]
    for name in wrong:
        complain(f"{name} is wrong on some inputs: see {options.out / 'compiled.md'}")
    return FAILED if len(wrong) else 0


if __name__ == "__main__":
    sys.exit(run_module(Options, "paper.compiled", write_table))
