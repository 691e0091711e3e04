"""Pairs of iterative problems: other inputs, other states, and what is to be said then."""

import pytest
import torch

from tasks.iteration import Copy, GroupProduct, IterationTask, Mixed, Parity, Polynomial
from tasks.pairs import Pairs
from tasks.task import IGNORE

SIZES = {"max_length": 5, "n_per_length": 60}
TASKS = {
    "copy": Copy(vocab="a..c", **SIZES),
    "polynomial": Polynomial(modulus=5, **SIZES),
    "product": GroupProduct(group="S3", **SIZES),
    "slack 2": Polynomial(modulus=5, slack=2, **SIZES),
    "published": Polynomial(modulus=5, preset="published", **SIZES),
    "final": Polynomial(modulus=5, targets="final", **SIZES),
    "mixed": Mixed(mix=("parity", "polynomial:3", "copy", "product:S3"), **SIZES),
    "mixed, published": Mixed(preset="published", **SIZES),
    "drawn": Mixed(mix=("copy", "parity"), drawn=("parity",), **SIZES),
}


def all_candidates(task: IterationTask, variable: str) -> Pairs:
    """Every sequence of all lengths, with what is swapped in it."""
    clean = task.examples("all")
    return task.counterfactuals(variable, clean, torch.Generator().manual_seed(0))


def steps(task: IterationTask, pairs: Pairs):
    """For each pair its problem, and the row of tokens, inputs, states told and said by name."""
    for row, tokens in enumerate(pairs.clean.tokens.tolist()):
        problem = task.encoding.problem_ids.tolist().index(tokens[0])
        length = tokens.index(task.encoding.token_ids["EoI"]) - 1
        inputs, answer = range(1, length + 1), task.layout.answer(length)
        old, new = pairs.clean.tokens[row], pairs.corrupted.tokens[row]
        kept = [p for p in range(len(old)) if p not in inputs and p not in answer]
        assert torch.equal(old[kept], new[kept])
        asked = [p - 1 for p in answer]
        scored = pairs.clean.targets[row] != IGNORE
        others = [p for p in range(len(old)) if p not in asked or not scored[p]]
        targets = pairs.corrupted.targets[row]
        assert torch.equal(pairs.clean.targets[row][others], targets[others])
        names = [[task.vocabulary[i] for i in part[list(inputs)]] for part in (old, new)]
        told = [[task.vocabulary[i] for i in part[list(answer)]] for part in (old, new)]
        said = [task.vocabulary[i] if i != IGNORE else None for i in targets[asked].tolist()]
        yield task.problems[problem], names, told, said


@pytest.mark.parametrize("name", TASKS)
def test_each_answer_has_another_input_wherever_one_leads_to_another_state(name):
    task = TASKS[name]
    n_kept = 0
    for problem, (old, new), (told, after), said in steps(task, all_candidates(task, "x_t")):
        assert told == after == problem.answers(old)
        for t, (state, answer) in enumerate(zip(told, said, strict=True)):
            reached = {x: problem.answers([*old[:t], x])[-1] for x in problem.inputs}
            assert answer in (reached[new[t]], None)
            if set(reached.values()) == {state}:
                n_kept += 1
                assert new[t] == old[t]
            else:
                assert reached[new[t]] != state
            assert (answer is None) == (name == "final" and t < len(old) - 1)
    # After 0, all inputs of a polynomial are alike.
    assert (n_kept > 0) == any(p.name.startswith("poly") for p in task.problems)


@pytest.mark.parametrize("name", TASKS)
def test_each_answer_has_another_state_wherever_one_leads_to_another(name):
    task = TASKS[name]
    n_kept = n_changed = 0
    for problem, (old, new), (told, after), said in steps(task, all_candidates(task, "s_t")):
        assert old == new and told == problem.answers(old) and after[-1] == told[-1]
        assert said[0] in (told[0], None)
        x, s = problem.inputs.index, problem.states.index
        F = lambda state, name: problem.states[problem.transition[s(state), x(name)]]  # noqa: B023, E731
        for t in range(1, len(old)):
            reached = {state: F(state, old[t]) for state in problem.states}
            assert said[t] in (reached[after[t - 1]], None)
            assert (said[t] is None) == (name == "final" and t < len(old) - 1)
            if set(reached.values()) == {told[t]}:
                n_kept += 1
                assert after[t - 1] == told[t - 1]
            else:
                n_changed += 1
                assert reached[after[t - 1]] != told[t]
    names = {problem.name.partition(":")[0] for problem in task.problems}
    assert (n_kept > 0) == ("copy" in names and name != "drawn")
    assert (n_changed > 0) == (names != {"copy"})


@pytest.mark.parametrize(
    ("preset", "targets"), [("default", "all"), ("default", "final"), ("published", "all")]
)
def test_without_chain_of_thought_one_input_changes_the_last_state(preset, targets):
    mix = ("copy", "parity", "polynomial:5")
    task = Mixed(mix=mix, chain_of_thought=False, preset=preset, targets=targets, **SIZES)
    pairs = task.pairs("x_t", 200)
    times = set()
    for problem, (old, new), (told, after), said in steps(task, pairs):
        (t,) = (t for t in range(len(old)) if old[t] != new[t])
        times.add((len(old), t))
        assert told == after == problem.answers(old)[-1:]
        assert said == problem.answers(new)[-1:] != told
    assert times == {(n, t) for n in range(1, 6) for t in range(n)}


def test_pairs_have_all_lengths_and_problems():
    task = TASKS["mixed"]
    pairs = task.pairs("x_t", 300)
    assert task.encoding.lengths(pairs.clean.tokens).unique().tolist() == [1, 2, 3, 4, 5]
    assert set(pairs.clean.tokens[:, 0].tolist()) == set(task.encoding.problem_ids.tolist())


def test_a_pair_has_another_answer():
    """For s_t, of two inputs and more: the first answer is none of a state's."""
    lengths = TASKS["product"].encoding.lengths(TASKS["product"].pairs("s_t").clean.tokens)
    assert lengths.unique().tolist() == [2, 3, 4, 5]
    firsts = TASKS["mixed"].pairs("s_t").clean.tokens[:, 0].unique()
    assert TASKS["mixed"].encoding.token_ids["copy"] not in firsts
    assert len(firsts) == 3


@pytest.mark.parametrize("variable", ["x_t", "s_t"])
def test_every_other_one_is_drawn_alike(variable):
    task = GroupProduct(group="S3", min_length=3, max_length=3, n_per_length=216)
    positions = slice(1, 4) if variable == "x_t" else slice(5, 7)
    generator = torch.Generator().manual_seed(0)
    clean = task.examples("all")
    made = [task.counterfactuals(variable, clean, generator).corrupted.tokens for _ in range(10)]
    old = clean.tokens[:, positions].repeat(10, 1).flatten()
    new = torch.cat(made)[:, positions].flatten()
    counts = torch.zeros(6, 6).index_put((old, new), torch.ones(()), accumulate=True)
    assert (counts.diagonal() == 0).all()
    expected = counts.sum(dim=1, keepdim=True) / 5
    chi_square = ((counts - expected) ** 2 / expected).sum() - expected.sum()  # less the diagonal
    assert chi_square < 48  # 24 degrees of freedom: one in 400 is above


def test_sequences_may_be_cut_after_their_answers():
    task = TASKS["published"]
    clean = task.examples("all").rows(slice(60))
    cut = type(clean)(clean.tokens[:, :8], clean.targets[:, :8])
    whole, short = (
        task.counterfactuals("x_t", part, torch.Generator().manual_seed(0)).corrupted
        for part in (clean, cut)
    )
    assert torch.equal(whole.tokens[:, :8], short.tokens)
    assert torch.equal(whole.targets[:, :8], short.targets)


def test_the_examples_are_left_as_they_are():
    task = Parity(**SIZES)
    before = task.examples("test").tokens.clone()
    for variable in task.variables:
        task.pairs(variable)
    assert torch.equal(task.examples("test").tokens, before)
