"""Programs as tasks, and `interp compile`, in the way a user meets them."""

import sys
from dataclasses import replace

import pytest
import torch

from interp.cli import main
from interp.models.config import CompiledConfig
from interp.rasp import ProgramTask, RaspError, compile_task, compiled_shape
from interp.runs.recipe import Recipe, recipe_from_json
from interp.runs.registry import UnknownKindError, named_task
from interp.runs.run import Run
from tasks.composition import GroupComposition
from tasks.sequences import FractionClasses, Peak
from tasks.task import IGNORE

OWN_PROGRAM = """
from interp.rasp import indices, select, selector_width, tokens

same_before = selector_width(select(tokens, tokens, "==") & select(indices, indices, "<"))

def as_function():
    return same_before

not_a_program = 3
"""


@pytest.fixture
def own_module(tmp_path, monkeypatch) -> str:
    (tmp_path / "own_programs.py").write_text(OWN_PROGRAM)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "own_programs", raising=False)
    return "own_programs"


def test_a_program_is_a_task_with_the_interpreters_answers() -> None:
    task = ProgramTask(program="histogram", vocab="a..c", max_length=4)
    assert task.answers("aab") == [2, 2, 1]
    assert set(task.outputs) == {"1", "2", "3", "4"}
    examples = task.examples()
    assert len(examples) == 3 + 9 + 27 + 81
    for tokens, targets in zip(examples.tokens, examples.targets, strict=True):
        (sequence,) = task.encoding.sequences(tokens[None])
        answers = [task.output_values[i] for i in targets.tolist() if i != IGNORE]
        assert answers == [sequence.count(token) for token in sequence]


def test_a_numerical_program_is_a_regression() -> None:
    task = ProgramTask(program="fraction", vocab="x,a", max_length=3, causal=True)
    assert task.loss == "mean_squared_error"
    assert task.attention == "causal"
    assert task.examples().targets.dtype == torch.float64


def test_the_compiled_shape_is_the_compiled_models() -> None:
    cfg = compile_task(Peak()).model.cfg
    shape = compiled_shape(Peak())
    assert (shape.n_layers, shape.n_heads, shape.d_model) == (
        cfg.n_layers,
        cfg.n_heads,
        cfg.d_model,
    )
    assert (shape.d_head, shape.d_mlp, shape.attention_dir) == (
        cfg.d_head,
        cfg.d_mlp,
        "bidirectional",
    )


@pytest.mark.parametrize(
    ("task", "message"),
    [
        (GroupComposition("C5"), "C5 is no task on sequences"),
        (FractionClasses(), "no program 'fraction_classes'.*did you mean 'fraction'"),
        (ProgramTask(program="histogramm"), "no program 'histogramm'.*did you mean 'histogram'"),
        (ProgramTask(program="elsewhere:it"), "add `--allow-module elsewhere`"),
    ],
)
def test_tasks_without_a_program(task, message: str) -> None:
    with pytest.raises(RaspError, match=message):
        compile_task(task)


def test_compiled_recipes_survive_json() -> None:
    recipe = Recipe(Peak(), CompiledConfig(hardness=20.0))
    assert recipe_from_json(recipe.to_json()) == recipe


def test_compile_writes_a_run_that_can_be_evaluated_and_reported(tmp_path, capsys) -> None:
    folder = tmp_path / "peak"
    flags = ["--vocab", "0..2", "--max-length", "5", "--n-sequences", "200", "--to", str(folder)]
    assert main(["compile", "peak", *flags]) == 0
    printed = capsys.readouterr().out
    assert "L0H1" in printed
    assert "all agree" in printed
    assert main(["evaluate", str(folder), "--quiet"]) == 0
    summary = Run(folder).summary()
    assert summary["accuracy/test"] == 1.0
    page = tmp_path / "report.html"
    assert main(["report", str(folder), "--to", str(page)]) == 0
    assert "compiled from the RASP program" in page.read_text()
    assert main(["compile", "peak", *flags]) == 0  # a second time: nothing is left to do


def test_compile_a_program_of_ones_own(own_module, tmp_path, capsys) -> None:
    for name in ("same_before", "as_function"):
        folder = tmp_path / name
        flags = ["--vocab", "a..c", "--max-length", "5", "--to", str(folder)]
        assert main(["compile", f"{own_module}:{name}", *flags]) == 0
        assert "selector_width" in capsys.readouterr().out
    assert main(["evaluate", str(folder), "--quiet", "--allow-module", own_module]) == 0
    assert named_task(f"{own_module}:same_before").answers("aba") == [0, 0, 1]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["pek"], "did you mean 'peak'?"),
        (["S5"], "S5 is no task on sequences: only those have programs"),
        (["--vocab", "0..4"], "the task comes first: `interp compile peak`"),
        (["peak", "--vocab", "zz..a"], "write it as"),
        (["peak", "--max-length", "0"], "lengths are 1 to 0"),
        (["peak", "--hardness", "-1"], "hardness is -1"),
        (["own_programs:not_a_program"], "it must be a sequence operation"),
        (["own_programs:absent"], "own_programs"),
    ],
)
def test_wrong_requests_are_one_line(own_module, arguments, message, capsys) -> None:
    assert main(["compile", *arguments]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert len(error.splitlines()) == 1


def test_another_program_with_the_same_settings_is_another_task() -> None:
    task = ProgramTask(program="reverse")
    assert task != replace(task, program="sort")
    with pytest.raises(UnknownKindError):
        named_task("own_programs_absent:anything")


def test_a_recipe_calls_nothing_that_was_not_named(tmp_path, capsys) -> None:
    folder = tmp_path / "run"
    assert main(["compile", "histogram", "--max-length", "3", "--to", str(folder)]) == 0
    recipe = folder / "recipe.json"
    task = ProgramTask(program="os:getcwd", max_length=3)
    recipe.write_text(Recipe(task, CompiledConfig()).to_json())
    capsys.readouterr()
    assert main(["evaluate", str(folder), "--quiet"]) == 2
    assert "--allow-module os" in capsys.readouterr().err


def test_compiled_weights_are_as_exact_as_was_asked(tmp_path) -> None:
    folder = tmp_path / "run"
    flags = ["--max-length", "3", "--dtype", "float64", "--to", str(folder)]
    assert main(["compile", "sort", *flags]) == 0
    run = Run(folder)
    compiled = compile_task(run.recipe.task, dtype="float64")
    for name, parameter in compiled.model.named_parameters():
        assert torch.equal(run.weights()[name], parameter)
