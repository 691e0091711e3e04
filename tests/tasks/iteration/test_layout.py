"""Where tokens stand and which of them are scored."""

import pytest
import torch

from tasks.iteration import GroupProduct, IterationTask, Layout, Mixed, Parity, Polynomial
from tasks.task import IGNORE


def indices(*names: str, task: IterationTask, problem: int = 0) -> torch.Tensor:
    """The inputs of these names, as one sequence of indices."""
    return torch.tensor([[task.problems[problem].inputs.index(name) for name in names]])


def said(task: IterationTask, *inputs: str) -> tuple[str, str]:
    """The tokens of the sequence with these inputs, and its targets, as text."""
    examples = task.encode(indices(*inputs, task=task))
    names = {IGNORE: "_", **dict(enumerate(task.vocabulary))}
    tokens, targets = (
        " ".join(names[i] for i in row[0].tolist()) for row in (examples.tokens, examples.targets)
    )
    return tokens, targets


def test_a_chain_of_thought():
    assert said(Parity(), *"1101") == (
        "parity 1 1 0 1 EoI 1 0 0 1",
        "_ _ _ _ _ 1 0 0 1 EoS",
    )
    assert said(Polynomial(modulus=5), *"243") == (
        "polynomial:5 2 4 3 EoI 2 4 3",
        "_ _ _ _ 2 4 3 EoS",
    )
    assert said(Parity(), "1") == ("parity 1 EoI 1", "_ _ 1 EoS")


def test_the_answer_alone_with_and_without_slack():
    assert said(Parity(chain_of_thought=False), *"110") == (
        "parity 1 1 0 EoI 0",
        "_ _ _ _ 0 EoS",
    )
    assert said(Parity(chain_of_thought=False, slack=2, targets="final"), *"110") == (
        "parity 1 1 0 EoI SLACK SLACK 0",
        "_ _ _ _ _ _ 0 _",
    )


def test_slack_before_a_chain_of_thought_and_the_final_answer_scored():
    assert said(Parity(slack=1), *"11") == ("parity 1 1 EoI SLACK 1 0", "_ _ _ _ 1 0 EoS")
    assert said(Parity(targets="final"), *"111") == (
        "parity 1 1 1 EoI 1 0 1",
        "_ _ _ _ _ _ 1 _",
    )


def test_the_published_rows():
    """As the notebook has them: 59, 15 bits, 62, their parities, 63 to the end; 35 in all."""
    task = Parity(preset="published")
    bits = torch.tensor([[1, 0, 0, 1, 1, 1, 0, 1, 0, 1, 1, 0, 0, 0, 1]])
    parities = [1, 1, 1, 0, 1, 0, 0, 1, 1, 0, 1, 1, 1, 1, 0]
    row = task.encoding.encode(bits, problem=0, width=task.context_length)
    assert row.tolist() == [[59, *bits[0].tolist(), 62, *parities, 63, 63, 63]]
    assert len(task.vocabulary) == 64

    task = Polynomial(preset="published", chain_of_thought=False, max_length=5)
    row = task.encoding.encode(torch.tensor([[6, 2, 7, 6, 10]]) - 1, 0, task.context_length)
    assert row.tolist() == [[58, 6, 2, 7, 6, 10, 62, 9, 63, 63, 63, 63, 63]]


@pytest.mark.parametrize("chain_of_thought", [True, False])
def test_published_targets_are_all_that_comes_after_the_end_of_input(chain_of_thought):
    task = Polynomial(preset="published", max_length=6, chain_of_thought=chain_of_thought)
    examples = task.examples()
    assert examples.tokens.shape[1] == 14 and task.context_length == 15
    is_scored = examples.targets != IGNORE
    assert torch.equal(is_scored, (examples.tokens == 62).cumsum(dim=1) > 0)
    following = examples.targets[:, :-1][is_scored[:, :-1]]
    assert torch.equal(following, examples.tokens[:, 1:][is_scored[:, :-1]])
    assert (examples.targets[:, -1] == 63).all()


def test_context_is_that_of_the_longest_sequence_there_is_to_be():
    assert Parity(max_length=12).context_length == 26
    assert Parity(max_length=12, longest=24).context_length == 50
    assert Parity(max_length=12, chain_of_thought=False, slack=3).context_length == 18
    assert Parity(preset="published", max_length=8).context_length == 19
    for task in (Parity(max_length=5), Parity(max_length=5, chain_of_thought=False, slack=2)):
        assert task.examples().tokens.shape[1] == task.context_length
        assert task.encode(torch.zeros(1, 5, dtype=torch.int64)).tokens.shape[1] == (
            task.context_length
        )


# Roles


@pytest.mark.parametrize("slack", [0, 2])
@pytest.mark.parametrize("length", [1, 2, 7])
def test_roles_point_at_the_tokens_they_are_called_after(length, slack):
    """With inputs and states that are all different, so that each has a place of its own."""
    task = GroupProduct(group="C31", max_length=7, slack=slack)
    inputs = torch.tensor([[1, 2, 3, 4, 5, 6, 7]])[:, :length]
    examples = task.encode(inputs)
    tokens, targets = examples.tokens[0], examples.targets[0]
    states = inputs.cumsum(dim=1)[0]  # 1, 3, 6, 10, 15, 21, 28
    roles = task.layout.roles(length)

    assert tokens[roles["EoI"].queries].tolist() == states.tolist()
    assert [task.vocabulary[i] for i in tokens[roles["EoI"].keys]] == ["EoI"] * length
    assert targets[roles["x_t"].queries].tolist() == states.tolist()
    assert tokens[roles["x_t"].keys].tolist() == inputs[0].tolist()
    assert torch.equal(roles["previous"].queries, roles["x_t"].queries)
    assert torch.equal(roles["previous"].keys, roles["previous"].queries - 1)
    assert targets[roles["s_{t-1}"].queries].tolist() == states[1:].tolist()
    assert tokens[roles["s_{t-1}"].keys].tolist() == states[:-1].tolist()


def test_roles_are_where_they_were_measured_as_published():
    e, length = 6, 5  # rows e+1 ... 2e-1 at column e, and rows e+t at columns 1+t
    roles = Layout().roles(length)
    assert Layout().end_of_input(length) == e
    assert roles["EoI"].queries.tolist() == list(range(e + 1, 2 * e))
    assert roles["EoI"].keys.tolist() == [e] * length
    assert roles["x_t"].queries.tolist() == [e + t for t in range(length)]
    assert roles["x_t"].keys.tolist() == [1 + t for t in range(length)]


def test_no_roles_without_chain_of_thought():
    with pytest.raises(ValueError, match="no roles without chain of thought"):
        Layout(chain_of_thought=False).roles(3)


# From tokens back


@pytest.mark.parametrize("preset", ["default", "published"])
def test_lengths_and_prompts(preset):
    task = Mixed(preset=preset, max_length=4, n_per_length=20)
    tokens = task.examples().tokens
    lengths = task.encoding.lengths(tokens)
    assert set(lengths.tolist()) == {1, 2, 3, 4}
    for length in (1, 4):
        rows = tokens[lengths == length]
        prompts = task.encoding.prompt(rows)
        assert prompts.shape == (len(rows), length + 2)
        assert (prompts[:, -1] == task.encoding.token_ids["EoI"]).all()
        assert torch.equal(task.encoding.lengths(prompts), lengths[lengths == length])
    with pytest.raises(ValueError, match=r"prompts of lengths \[1, 2, 3, 4\] do not stack"):
        task.encoding.prompt(tokens)


def test_a_prompt_ends_with_its_slack():
    task = Parity(slack=2, chain_of_thought=False)
    prompt = task.encoding.prompt(task.encode(torch.tensor([[1, 1]])).tokens)
    assert [task.vocabulary[i] for i in prompt[0]] == ["parity", "1", "1", "EoI", "SLACK", "SLACK"]
