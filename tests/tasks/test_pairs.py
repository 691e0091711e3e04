"""What holds for the pairs of every task, and those of group composition and users' own."""

import importlib.util
from dataclasses import dataclass
from pathlib import Path

import jaxtyping
import pytest
import torch

from interp.rasp import ProgramTask
from tasks import iteration, sequences
from tasks.composition import GroupComposition
from tasks.pairs import Pairs, another, is_scored, pairs_of_all_variables
from tasks.sequences import Palindrome, Reverse
from tasks.task import Examples, Task

SECOND_TASK = Path(__file__).parents[1] / "second_task" / "larger_last.py"
SIZES = {"max_length": 5, "n_per_length": 60}
KINDS = [
    getattr(sequences, name)
    for name in sequences.__all__
    if name[0].isupper() and name not in ("SequenceEncoding", "SequenceTask")
]
TASKS = {
    "composition": GroupComposition("S3", equals_token=True),
    **{cls.__name__: cls(n_sequences=500) for cls in KINDS},
    "program": ProgramTask(program="fraction", vocab="x,a..c", causal=True, n_sequences=300),
    "product": iteration.GroupProduct(**SIZES),
    "mixed": iteration.Mixed(mix=("parity", "polynomial:5"), **SIZES),
    "final": iteration.Parity(targets="final", slack=1, **SIZES),
    "no chain of thought": iteration.Polynomial(chain_of_thought=False, **SIZES),
    "published": iteration.Polynomial(modulus=5, preset="published", **SIZES),
}
VARIABLES = [(name, variable) for name, task in TASKS.items() for variable in task.variables]


def same(one: Pairs, other: Pairs) -> bool:
    return all(
        torch.equal(a.tokens, b.tokens)
        and torch.equal(a.targets.nan_to_num(), b.targets.nan_to_num())
        for a, b in ((one.clean, other.clean), (one.corrupted, other.corrupted))
    )


def told(examples: Examples) -> set[tuple[float, ...]]:
    """Tokens and targets of each example, as one row."""
    rows = torch.cat([examples.tokens.double(), examples.targets.double().nan_to_num(-1)], dim=1)
    return set(map(tuple, rows.tolist()))


@pytest.fixture
def larger_last() -> Task:
    spec = importlib.util.spec_from_file_location("larger_last", SECOND_TASK)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.LargerLast()


@pytest.mark.parametrize(("name", "variable"), VARIABLES)
def test_what_every_task_promises(name, variable):
    task = TASKS[name]
    pairs = task.pairs(variable, 40)
    examples = task.examples("test")
    assert (len(pairs), pairs.variable) == (40, variable)
    assert pairs.clean.tokens.shape == (40, examples.tokens.shape[1])
    assert pairs.corrupted.targets.dtype == examples.targets.dtype
    assert told(pairs.clean) <= told(examples)
    assert (pairs.clean.tokens != pairs.corrupted.tokens).any(dim=1).all()
    if variable == "example":
        assert told(pairs.corrupted) <= told(examples)
    else:
        assert pairs.changed.any(dim=1).all()
        assert torch.equal(pairs.scored, is_scored(pairs.corrupted))
    assert same(pairs, task.pairs(variable, 40))
    assert not same(pairs, task.pairs(variable, 40, seed=1))
    assert not same(pairs, task.pairs(variable, 40, "train"))


@pytest.mark.parametrize("name", TASKS)
def test_the_first_variable_is_the_default(name):
    task = TASKS[name]
    assert same(task.pairs(n=5), task.pairs(task.variables[0], 5, "test", 0))
    assert task.pairs(n=5).variable == task.variables[0]


def test_the_default_variables():
    first = {name: task.variables[0] for name, task in TASKS.items()}
    assert first["composition"] == "first" and first["product"] == "x_t"
    assert first["Palindrome"] == first["Reverse"] == "mirror"
    assert first["Peak"] == first["DominantPeak"] == "neighbour"
    assert first["Sort"] == first["program"] == "token"
    assert TASKS["no chain of thought"].variables == ("x_t", "example")


@pytest.mark.parametrize("variable", ["first", "example"])
def test_no_example_is_drawn_twice_before_all_were_once(variable):
    task = GroupComposition("C5")  # 15 pairs to test on
    n_times = task.pairs(variable, 25).clean.tokens.unique(dim=0, return_counts=True)[1]
    once = task.pairs(variable, 8).clean.tokens
    assert len(once.unique(dim=0)) == 8
    if variable == "first":  # every candidate is a pair
        assert sorted(n_times.tolist()) == [1] * 5 + [2] * 10


@pytest.mark.parametrize("operand", [0, 1])
def test_an_operand_becomes_any_other_element(operand):
    task = GroupComposition("S3", equals_token=True)
    pairs = task.pairs(("first", "second")[operand], 3000, "all")
    old, new = pairs.clean.tokens, pairs.corrupted.tokens
    others = [i for i in range(3) if i != operand]
    assert torch.equal(old[:, others], new[:, others])
    assert torch.equal(pairs.corrupted.targets[:, 2], task.finite_group.table[new[:, 0], new[:, 1]])
    counts = torch.zeros(6, 6).index_put(
        (old[:, operand], new[:, operand]), torch.ones(()), accumulate=True
    )
    assert (counts.diagonal() == 0).all()
    expected = counts.sum(dim=1, keepdim=True) / 5
    chi_square = ((counts - expected) ** 2 / expected).sum() - expected.sum()  # less the diagonal
    assert chi_square < 48  # 24 degrees of freedom: one in 400 is above


def test_another_value():
    generator = torch.Generator().manual_seed(0)
    values = torch.arange(3).repeat(100)
    found = another(values, 3, generator)
    assert {(0, 1), (0, 2), (1, 0), (1, 2), (2, 0), (2, 1)} == set(
        zip(values.tolist(), found.tolist(), strict=True)
    )
    assert another(torch.zeros(4, dtype=torch.int64), 1, generator).tolist() == [0] * 4


# Users' own


def test_a_task_of_ones_own_has_examples(larger_last):
    assert larger_last.variables == ("example",)
    pairs = larger_last.pairs(n=100)
    for part in (pairs.clean, pairs.corrupted):
        assert torch.equal(part.targets[:, -1], part.tokens[:, [1, 4]].amax(dim=1))
    assert pairs.where is None


def test_variables_of_ones_own(larger_last):
    @dataclass(frozen=True)
    class WithEnds(type(larger_last)):
        variables = ("last", "example")

        def counterfactuals(self, variable, clean, generator):
            tokens, targets = clean.tokens.clone(), clean.targets.clone()
            tokens[:, -1] = another(tokens[:, -1], 5, generator)
            targets[:, -1] = torch.maximum(tokens[:, 1], tokens[:, -1])
            return Pairs(clean, Examples(tokens, targets), variable)

    pairs = WithEnds().pairs()
    assert (pairs.variable, len(pairs)) == ("last", 256)
    assert pairs.changed[:, -1].all()
    # A smaller last token that becomes another smaller one is no pair.
    assert (pairs.clean.targets[:, -1] != pairs.corrupted.targets[:, -1]).all()


def test_variables_that_are_only_named(larger_last):
    @dataclass(frozen=True)
    class Named(type(larger_last)):
        variables = ("last",)

    with pytest.raises(NotImplementedError, match="larger_last does not say how its 'last' is"):
        Named().pairs()


# Errors


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: GroupComposition("S3").pairs("frist"),
            "S3 has no variable 'frist': it has first, second, example; the nearest is first",
        ),
        (lambda: GroupComposition("S3").pairs(""), "S3 has no variable ''"),
        (lambda: GroupComposition("S3").pairs(n=0), "0 pairs are asked for: it must be at least 1"),
        (
            lambda: GroupComposition("S3", train_fraction=1.0).pairs(),
            "the test split of S3 is empty",
        ),
        (
            lambda: GroupComposition("C1").pairs(n=3),
            "C1 has too few pairs for the variable 'first': 0 were found among 4096 candidates of "
            "the test split, and 3 are asked for",
        ),
        (lambda: GroupComposition("C1").pairs("example"), "C1 has too few .* 'example': 0 were"),
        (lambda: Palindrome(vocab="a").pairs(), "palindrome has too few pairs .* 'mirror'"),
        (
            lambda: Reverse(min_length=2, max_length=2).pairs("own"),
            "reverse has too few pairs for the variable 'own': 0 were found among 16384",
        ),
        (lambda: iteration.Copy(**SIZES).pairs("s_t"), "copy has too few pairs .* 's_t': 0 were"),
    ],
)
def test_what_is_refused(make, message, monkeypatch):
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)  # as in use
    with pytest.raises(ValueError, match=message):
        make()


def test_all_variables_together_leave_out_those_without_pairs() -> None:
    copy, parity = iteration.Copy(max_length=3), iteration.Parity(max_length=3)
    assert pairs_of_all_variables(copy, 4).variable == "x_t+example"
    together = pairs_of_all_variables(parity, 4)
    assert together.variable == "x_t+s_t+example" and len(together) == 12
    alone = parity.pairs("s_t", 4)
    assert torch.equal(together.clean.tokens[4:8], alone.clean.tokens)
    assert torch.equal(together.changed[4:8], alone.changed)
    with pytest.raises(ValueError, match="it must be at least 1"):
        pairs_of_all_variables(copy, 0)
