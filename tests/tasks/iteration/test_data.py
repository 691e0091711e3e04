"""The data of the iteration tasks: which sequences there are, how they are split and scored."""

from dataclasses import dataclass, replace
from itertools import pairwise

import jaxtyping
import pytest
import torch

from interp.models.config import TransformerConfig
from interp.runs.recipe import Recipe, recipe_from_json
from interp.runs.registry import named_task
from tasks.iteration import (
    Copy,
    GroupProduct,
    Iteration,
    IterationTask,
    Mixed,
    Parity,
    Polynomial,
)
from tasks.task import IGNORE

KINDS = {
    "copy": Copy,
    "parity": Parity,
    "polynomial": Polynomial,
    "group_product": GroupProduct,
    "mixed": Mixed,
}
PUBLISHED = [kind for name, kind in KINDS.items() if name != "group_product"]


def prompts(task: IterationTask, split="all") -> list[tuple[int, ...]]:
    """What stands before the answer, in every sequence."""
    tokens = task.examples(split).tokens
    stops = (task.encoding.lengths(tokens) + 2).tolist()
    return [tuple(row[:stop]) for row, stop in zip(tokens.tolist(), stops, strict=True)]


def counts(task: IterationTask, split="all") -> list[int]:
    """How many sequences there are of each length from 0 on."""
    return task.encoding.lengths(task.examples(split).tokens).bincount().tolist()


@pytest.mark.parametrize("chain_of_thought", [True, False])
@pytest.mark.parametrize(
    ("cls", "preset"),
    [*((cls, "default") for cls in KINDS.values()), *((cls, "published") for cls in PUBLISHED)],
)
def test_every_answer_is_right(cls, preset, chain_of_thought):
    task = cls(max_length=6, n_per_length=60, chain_of_thought=chain_of_thought, preset=preset)
    ids, examples = task.encoding.token_ids, task.examples()
    problem_at = {first: i for i, first in enumerate(task.encoding.problem_ids.tolist())}
    for row, scored in zip(examples.tokens.tolist(), examples.targets.tolist(), strict=True):
        end = row.index(ids["EoI"])
        inputs = [task.vocabulary[i] for i in row[1:end]]
        answers = task.problems[problem_at[row[0]]].answers(inputs)
        said = [task.vocabulary[i] for i in scored if i != IGNORE]
        expected = answers if chain_of_thought else answers[-1:]
        assert said[: len(expected)] == expected
        assert set(said[len(expected) :]) == {"EoS"}
        assert scored[:end] == [IGNORE] * end and scored[end] != IGNORE
        assert row[end + 1 :] == [i for i in scored[end:-1] if i != IGNORE] + [ids["EoS"]] * (
            scored[:-1].count(IGNORE) - end
        )


@pytest.mark.parametrize("cls", KINDS.values())
def test_no_sequence_is_there_twice_or_in_both_splits(cls):
    task = cls(max_length=10, n_per_length=300, train_fraction=0.7, split_seed=3)
    train, test, both = (prompts(task, split) for split in ("train", "test", "all"))
    assert train + test == both
    assert len(set(both)) == len(both)
    assert task.overlap() == dict.fromkeys(range(1, 11), 0.0)
    assert len(train) == sum(int(0.7 * n) for n in counts(task))


def test_all_sequences_of_a_length_where_these_are_few():
    task = Parity(max_length=9, n_per_length=100)
    assert counts(task) == [0, 2, 4, 8, 16, 32, 64, 100, 100, 100]
    assert counts(task, "train") == [0, 1, 2, 4, 8, 16, 32, 50, 50, 50]
    assert counts(Polynomial(max_length=3, n_per_length=100)) == [0, 10, 100, 100]
    assert counts(Parity(min_length=5, max_length=6, n_per_length=40))[5:] == [32, 40]


def test_inputs_are_uniform():
    task = Polynomial(min_length=8, max_length=8, n_per_length=20_000, modulus=5)
    for column in task.examples().tokens[:, 1:9].unbind(dim=1):
        assert column.bincount().tolist() == [0, *[pytest.approx(5000, abs=300)] * 4]  # 5 sd


def test_zipfs_law():
    task = Parity(
        min_length=12, max_length=15, n_per_length=500, zipf_exponent=2.0, zipf_offset=-11.0
    )
    assert counts(task)[12:] == [500, 125, 56, 31]
    growing = Parity(min_length=12, max_length=13, n_per_length=120, zipf_exponent=-1.0)
    assert counts(growing)[12:] == [120, 130]


def test_problems_share_a_length_equally():
    task = Mixed(
        mix=("copy", "parity", "product:S3"), max_length=12, min_length=12, n_per_length=100
    )
    first = task.examples().tokens[:, 0]
    assert [(first == i).sum().item() for i in task.encoding.problem_ids] == [33, 33, 34]


def test_names_are_shared_and_the_drawn_problems_do_not_change_the_vocabulary():
    task = Mixed(mix=("polynomial:5", "parity"), max_length=3)
    names = ("0", "1", "2", "3", "4", "polynomial:5", "parity", "EoI", "EoS")
    assert task.vocabulary == names
    second = replace(task, drawn=("parity",))
    assert second.vocabulary == names and second.name == "parity"
    assert set(second.examples().tokens[:, 0].tolist()) == {6}
    assert sorted(prompts(second)) == sorted(p for p in prompts(task) if p[0] == 6)


def test_equal_tasks_give_equal_data_of_equal_shape_and_seeds_other_data():
    one, again, other = (Mixed(n_per_length=99, split_seed=seed) for seed in (0, 0, 1))
    assert one == again and one != other
    for split in ("train", "test", "all"):
        ours, theirs, others = (task.examples(split) for task in (one, again, other))
        assert torch.equal(ours.tokens, theirs.tokens)
        assert torch.equal(ours.targets, theirs.targets)
        assert ours.tokens.shape == others.tokens.shape
    assert set(prompts(one)) != set(prompts(other))


@pytest.mark.parametrize("split", ["train", "test"])
def test_longer_sequences_leave_the_shorter_ones_as_they_are(split):
    """So that lengths beyond training are tested beside those that were held out."""
    short = Parity(max_length=12, longest=24, n_per_length=50)
    long = replace(short, max_length=24)
    assert long.context_length == short.context_length
    of_short = sorted(p for p in prompts(long, split) if len(p) <= 14)
    assert of_short == sorted(prompts(short, split))


def test_lengths_come_in_random_order():
    task = Parity(min_length=7, max_length=8, n_per_length=100)
    lengths = task.encoding.lengths(task.examples("train").tokens).tolist()
    changes = sum(a != b for a, b in pairwise(lengths))
    assert 30 < changes < 70  # 50 and a standard deviation of 5; 1 in order
    assert task.shuffled


def test_no_global_generator_is_touched():
    before = torch.get_rng_state()
    Parity(n_per_length=100).examples()
    assert torch.equal(torch.get_rng_state(), before)


# The published preset


@pytest.mark.parametrize("cls", PUBLISHED)
def test_the_published_sizes_and_order(cls):
    task = cls(preset="published", max_length=8)
    for split in ("train", "test"):
        lengths = task.encoding.lengths(task.examples(split).tokens)
        assert lengths.tolist() == sorted(lengths.tolist())
        assert lengths.bincount().tolist() == [0] + [1024] * 8
    assert not task.shuffled


def test_the_published_mix_is_half_copy_and_half_parity_in_random_order():
    first = Mixed(preset="published", min_length=8, max_length=8).examples("train").tokens[:, 0]
    assert set(first.tolist()) == {59, 60}
    assert (first == 60).sum().item() == pytest.approx(512, abs=80)  # sd 16
    assert (first[1:] != first[:-1]).sum().item() == pytest.approx(512, abs=80)


def test_the_published_overlap():
    """With 512 and 512 sequences a length: 100% for lengths 1, 2, 4 and 6, and 89% for 8."""
    found = [
        Parity(preset="published", max_length=8, n_per_length=1024, split_seed=seed).overlap()
        for seed in range(40)
    ]
    share = {n: torch.tensor([overlap[n] for overlap in found]) for n in found[0]}
    assert all(min(share[n]) == 1 for n in (1, 2, 4)) and share[6].mean() > 0.999
    # A test sequence is none of the 512 trained on with probability (255/256)^512.
    expected, spread = 1 - (255 / 256) ** 512, share[8].std().item()
    assert share[8].mean().item() == pytest.approx(expected, abs=4 * spread / 40**0.5)
    assert spread < 0.03 and abs(0.89 - expected) < 3 * spread


# Recipes and users' own


@dataclass(frozen=True)
class Counter(IterationTask):
    """How often there was gold, up to a limit."""

    limit: int = 3

    def make_problems(self):
        F = lambda s, x: min(s + (x == "gold"), self.limit)  # noqa: E731
        return (Iteration.from_function("counter", range(self.limit + 1), ["gold", "lead"], F),)


def test_a_task_of_ones_own():
    task = Counter(limit=2, max_length=3)
    assert task.vocabulary == ("0", "1", "2", "gold", "lead", "counter", "EoI", "EoS")
    assert len(task.examples()) == 2 + 4 + 8


@pytest.mark.parametrize("kind", KINDS)
def test_a_recipe_repeats_the_task(kind):
    task = replace(named_task(kind), n_per_length=9, zipf_exponent=0.5, slack=1, split_seed=2)
    recipe = Recipe(task, TransformerConfig())
    assert type(task) is KINDS[kind] and f'"kind": "{kind}"' in recipe.to_json()
    again = recipe_from_json(recipe.to_json())
    assert again == recipe
    assert torch.equal(again.task.examples().tokens, task.examples().tokens)


def test_one_spelling_a_group():
    assert GroupProduct(group="C5@published") == GroupProduct(group="C5")


# Errors


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Parity(min_length=0), "lengths are 0 to 16: min_length must be at least 1"),
        (lambda: Parity(min_length=5, max_length=4), "lengths are 5 to 4"),
        (
            lambda: Parity(max_length=30, longest=24),
            "30 inputs is too long: there are positions for 24, and for 30 with longest=30",
        ),
        (
            lambda: Parity(max_length=4).encode(torch.zeros(1, 5, dtype=torch.int64)),
            "5 inputs is too long: there are positions for 4, and for 5 with longest=5",
        ),
        (lambda: Parity(n_per_length=0), "n_per_length is 0: it must be at least 1"),
        (lambda: Parity(slack=-1), "slack is -1: it must be at least 0"),
        (lambda: Parity(train_fraction=0.0), "train_fraction is 0.0: it must be above 0"),
        (lambda: Parity(zipf_offset=-1.0), "zipf_offset is -1.0: it must be above -1"),
        (lambda: Polynomial(modulus=12), "modulus is 12: .* the nearest is 11"),
        (lambda: GroupProduct(group="S9"), "unknown group 'S9'; nearest is S7"),
        (lambda: Mixed(mix=()), "mix is empty"),
        (lambda: Mixed(mix=("copy", "partiy")), "no problem 'partiy': .* the nearest is parity"),
        (lambda: Mixed(mix=("copy", "copy:0,1")), "the token 'copy' is twice in the vocabulary"),
        (lambda: Mixed(drawn=("product:S3",)), "'product:S3' is to be drawn, and is not in mix"),
        (lambda: Copy(vocab="EoI,a"), "the token 'EoI' is twice"),
        (lambda: Parity(preset="published", slack=1), "slack is 1: preset='published' has 0 only"),
        (lambda: Copy(preset="published", vocab="a..c"), "copy:a..c needs a token 'a'"),
        (
            lambda: Mixed(preset="published", mix=("polynomial:5", "polynomial:7")),
            "two problems begin with the token 'polynomial'",
        ),
        (lambda: Polynomial(preset="published", modulus=59), "needs a token '58'"),
        (lambda: GroupProduct(preset="published"), "product:S3 needs a token 'product'"),
    ],
)
def test_what_is_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize(("field", "value"), [("preset", "publishd"), ("targets", "finals")])
def test_an_unknown_choice_in_a_recipe_is_refused_with_the_nearest(field, value, monkeypatch):
    # As in use, where no annotation is checked.
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)
    text = Recipe(Parity(), TransformerConfig()).to_json()
    right = {"preset": "default", "targets": "all"}[field]
    wrong = text.replace(f'"{field}": "{right}"', f'"{field}": "{value}"')
    nearest = {"preset": "published", "targets": "final"}[field]
    with pytest.raises(ValueError, match=f"{field} is '{value}': .* the nearest is {nearest}"):
        recipe_from_json(wrong)
