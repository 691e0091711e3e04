"""What a sweep's file asks for, and what it says when that cannot be."""

from pathlib import Path

import pytest

from interp.arguments import UsageError
from interp.commands.train import recipes_of
from interp.runs.run import RunError
from training.sweep.file import cells, jobs_of_file
from training.sweep.job import Job, refuse_conflicts

BASE = "task: C7\nmodel: mlp\nd_embed: 4\nd_mlp: 6\n"


def jobs(tmp_path: Path, text: str) -> list[Job]:
    file = tmp_path / "sweep.yaml"
    file.write_text(text)
    return jobs_of_file(file, tmp_path / "runs", lambda *asked: recipes_of(*asked)[1])


def test_a_product_is_a_job_for_each_combination_with_all_its_seeds(tmp_path: Path) -> None:
    found = jobs(tmp_path, BASE + "seeds: 0..2\nlr: [1e-3, 3e-3]\ntrain_fraction: [0.5, 0.7]\n")
    assert [job.name for job in found] == [
        f"C7_mlp_lr_{lr}_train_fraction_{fraction}"
        for lr in ("1e-3", "3e-3")
        for fraction in (0.5, 0.7)
    ]
    last = found[-1]
    assert last.paths[2] == tmp_path / "runs" / "C7_mlp_lr_3e-3_train_fraction_0.7_seed2"
    assert [recipe.init_seed for recipe in last.recipes] == [0, 1, 2]
    assert [recipe.split_seed for recipe in last.recipes] == [0, 1, 2]
    assert {recipe.optimizer.lr for recipe in last.recipes} == {3e-3}
    assert {recipe.task.train_fraction for recipe in last.recipes} == {0.7}


def test_blocks_add_to_what_is_shared_or_replace_it(tmp_path: Path) -> None:
    blocks = "runs:\n  - {model: mlp, steps: 10}\n  - {model: [bilinear], lr: 0.01}\n"
    first, second = jobs(tmp_path, "task: C7\nsteps: 30\n" + blocks)
    assert (first.name, second.name) == ("C7_mlp_steps_10", "C7_bilinear_lr_0.01")
    assert [job.recipes[0].schedule.steps for job in (first, second)] == [10, 30]


def test_without_lists_the_folders_are_those_of_interp_train(tmp_path: Path) -> None:
    (job,) = jobs(tmp_path, BASE)
    assert [path.name for path in job.paths] == [job.recipes[0].name] == ["C7_mlp_seed0"]


def test_values_are_written_as_flags() -> None:
    text = "task: parity\nchain_of_thought: [true, false]\nbetas: [[0.9, 0.95]]\nbatch-size: null\n"
    first, second = cells(text)
    shared = ("--betas", "0.9", "0.95", "--batch-size", "None")
    assert first.flags == ("--chain-of-thought", *shared)
    assert second.flags == ("--no-chain-of-thought", *shared)
    assert first.differs_in == {"chain_of_thought": "True", "betas": "0.9_0.95"}


def test_a_list_of_seeds_is_no_list_of_alternatives() -> None:
    (cell,) = cells("task: C7\nseeds: [1, 5]\n")
    assert cell.flags == ("--seeds", "1,5") and cell.differs_in == {}


def test_fixed_data_are_fixed_for_all_seeds(tmp_path: Path) -> None:
    (job,) = jobs(tmp_path, BASE + "seeds: 0..1\nsplit_seed: 7\n")
    assert [recipe.split_seed for recipe in job.recipes] == [7, 7]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("task: C7\nstps: 3\n", "there is no option '--stps'; did you mean '--steps'?"),
        ("task: C7\nsteps: many\n", "--steps"),
        ("task: C7\nsteps: {a: 1}\n", "steps is {'a': 1}: it must be a value, or a list of them"),
        ("task: C7\nmodel: mpl\n", "did you mean 'mlp'?"),
        ("task: palindrom\n", "did you mean 'palindrome'?"),
        ("task: C7\nlr: []\n", "lr is an empty list"),
        ("task: C7\nto: here\n", "'to' says nothing about a recipe"),
        ("task: C7\nruns: 3\n", "runs must be a list of blocks"),
        ("steps: 3\n", "a task is missing"),
        ("- C7\n", "write keys and values"),
        ("task: C7\nlr: [\n", "this is no YAML: line 3"),
        ("", "write keys and values"),
    ],
)
def test_what_cannot_be_is_told_before_any_folder_is_made(
    tmp_path: Path, text: str, message: str
) -> None:
    with pytest.raises(UsageError) as refused:
        jobs(tmp_path, text)
    assert str(refused.value).startswith(f"{tmp_path / 'sweep.yaml'}: ")
    assert message in str(refused.value)
    assert not (tmp_path / "runs").exists()


def test_two_recipes_of_one_name_are_refused(tmp_path: Path) -> None:
    long = "x" * 40
    text = BASE + f"start_from: [a{long}, b{long}]\n"
    with pytest.raises(RunError, match="two recipes of the sweep have the name"):
        refuse_conflicts(jobs(tmp_path, text))
