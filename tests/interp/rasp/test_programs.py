"""The eight programs: compiled model, interpreter and the task's own answers agree."""

import pytest
import torch

from interp.rasp import check, compile_program, compile_task, evaluate, inputs
from interp.rasp.tasks import PROGRAMS
from interp.runs.registry import task_class
from paper.compiled import SIZES
from tasks.sequences import SequenceTask

SMALL = {name: "0..2" if "peak" in name else "a..c" for name in PROGRAMS} | {"fraction": "x,a,b"}
LISTED = {name: "0..4" if "peak" in name else "a..e" for name in PROGRAMS} | {"fraction": "x,a..e"}


def task_of(name: str, vocab: str, max_length: int):
    return task_class(name)(vocab=vocab, max_length=max_length)


def agree(answers, wanted) -> bool:
    return len(answers) == len(wanted) and all(
        abs(float(a) - b) < 1e-12 if isinstance(b, float) else a == b
        for a, b in zip(answers, wanted, strict=True)
    )


@pytest.mark.parametrize("name", PROGRAMS)
def test_model_interpreter_and_oracle_agree(name: str) -> None:
    task = task_of(name, SMALL[name], 5)
    compiled = compile_task(task)
    sequences = inputs(compiled.encoding, all_up_to=5, n_random=0)
    found = check(compiled, sequences)
    assert not found.n_wrong, found
    assert found.leakage <= 1e-6
    said = evaluate(compiled.program, sequences, causal=compiled.causal)
    for sequence, answers in zip(sequences, said, strict=True):
        assert agree(answers, task.answers(sequence)), sequence


@pytest.mark.slow
@pytest.mark.parametrize("max_length", [10, 50])
@pytest.mark.parametrize("name", PROGRAMS)
def test_on_every_short_input_and_thousands_of_long_ones(name: str, max_length: int) -> None:
    task = task_of(name, LISTED[name], max_length)
    compiled = compile_task(task)
    n_random = 10_000 if max_length == 10 else 1_000
    sequences = inputs(compiled.encoding, all_up_to=6 if max_length == 10 else 3, n_random=n_random)
    found = check(compiled, sequences)
    assert not found.n_wrong, found
    assert found.leakage <= 1e-6
    said = evaluate(compiled.program, sequences, causal=compiled.causal)
    for sequence, answers in zip(sequences, said, strict=True):
        assert agree(answers, task.answers(sequence)), sequence


@pytest.mark.parametrize("name", ["peak", "dominant_peak", "histogram", "fraction", "triplets"])
def test_causal_models_follow_the_causal_program(name: str) -> None:
    task = task_of(name, SMALL[name], 5)
    compiled = compile_program(PROGRAMS[name](), task.tokens, 5, causal=True)
    assert compiled.model.cfg.attention_dir == "causal"
    found = check(compiled, inputs(compiled.encoding, all_up_to=5, n_random=0))
    assert not found.n_wrong, found


@pytest.mark.parametrize("name", PROGRAMS)
def test_padding_changes_no_output(name: str) -> None:
    compiled = compile_task(task_of(name, SMALL[name], 6))
    for length in (1, 2, 4):
        sequences = [s for s in inputs(compiled.encoding, 4, 0) if len(s) == length][:30]
        tokens = compiled.encoding.encode(sequences)
        padded = compiled.encoding.encode(sequences, compiled.encoding.context_length)
        with torch.no_grad():
            short, long = compiled.model(tokens), compiled.model(padded)[:, : length + 1]
        torch.testing.assert_close(long, short, rtol=0, atol=2e-6)
        assert compiled.decode(long, tokens) == compiled.decode(short, tokens) or (
            compiled.program.is_numerical
        )


@pytest.mark.parametrize(
    "task",
    [task for task, tracr in SIZES.items() if tracr],
    ids=lambda task: f"{task.name}-{task.vocab}-{task.max_length}",
)
def test_never_larger_than_known(task: SequenceTask) -> None:
    compiled, tracr = compile_task(task), SIZES[task]
    assert tracr is not None
    assert compiled.model.cfg.n_layers <= tracr.layers
    assert compiled.model.cfg.n_heads <= tracr.heads
    assert compiled.n_live_block_parameters <= tracr.non_zero
