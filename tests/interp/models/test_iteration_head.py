"""The hand-set circuit: no error at any length, and the attention and effects that theory says."""

import math
from dataclasses import dataclass, replace

import pandas as pd
import pytest
import torch
from torch import Tensor

from analysis.iteration import attention_scores, length_scores, role_effects
from analysis.iteration.measure import LENGTH_METRICS
from interp.models.config import IterationHeadConfig
from interp.models.iteration_head import iteration_head
from tasks.composition import GroupComposition
from tasks.iteration import (
    Copy,
    GroupProduct,
    Iteration,
    IterationTask,
    Mixed,
    Parity,
    Polynomial,
)


@dataclass(frozen=True)
class Lowest(IterationTask):
    """The lowest input so far, of a user's own making."""

    def make_problems(self) -> tuple[Iteration, ...]:
        return (Iteration.from_function("lowest", range(5), range(5), min, start=lambda x: x),)


MIX = ("copy:a..c", "parity", "polynomial:5")
LONG = {"max_length": 32, "n_per_length": 12}
SHORT = {"max_length": 8, "n_per_length": 60}
TASKS = [
    Copy(**LONG),
    Copy(vocab="a..e", **SHORT),
    Parity(**LONG),
    Polynomial(**LONG),
    GroupProduct(group="S3", **LONG),
    Lowest(**SHORT),
    Mixed(mix=MIX, **SHORT),
    Mixed(mix=MIX, drawn=("parity",), **SHORT),
    Parity(slack=3, **SHORT),
    Polynomial(targets="final", **SHORT),
    Polynomial(preset="published", **SHORT),
    Mixed(preset="published", **SHORT),
    replace(Parity(**SHORT), longest=20),
]
THREE = [Polynomial(modulus=5, **SHORT), Parity(slack=2, **SHORT), Mixed(mix=MIX, **SHORT)]


def of_the_head(table: pd.DataFrame) -> pd.DataFrame:
    """The rows of the two heads in their roles."""
    return table.query(
        "head == 0 and (layer == 0 and role == 'EoI' or layer == 1 and role == 'x_t')"
    )


@pytest.mark.parametrize("task", TASKS, ids=lambda task: f"{task.name}-{task.max_length}")
def test_it_makes_no_error_and_its_heads_attend_as_they_should(task: IterationTask) -> None:
    model = iteration_head(task)
    scores = length_scores(model, task, "all")
    assert scores["length"].tolist() == list(range(1, task.max_length + 1))
    for column in LENGTH_METRICS:
        assert (scores[column].dropna() == 1).all(), column
    attention = of_the_head(attention_scores(model, task, "all"))
    assert (attention[["mean", "above_half"]] > 1 - 1e-6).all(axis=None)
    assert (attention["invariance"].dropna() > 1 - 1e-6).all()


def test_lengths_up_to_its_context_need_no_data() -> None:
    task = Parity(max_length=4, longest=12)
    longer = replace(task, max_length=12, min_length=12, n_per_length=50)
    assert (length_scores(iteration_head(task), longer)["sequence_accuracy"] == 1).all()


@pytest.mark.parametrize("task", THREE)
def test_interventions_have_the_effects_that_theory_says(task: IterationTask) -> None:
    effects = role_effects(iteration_head(task), task, lengths=range(4, 9))
    effects = effects.set_index(["layer", "head", "role"])
    # Where s_1 is to be said no state is read yet, and so EoI is not cut from it. It is the token
    # before s_1 where there is no slack, and cut from there with all the tokens before.
    first = sum(1 / length for length in range(4, 9)) / 5
    knock_out = {(0, 0, "EoI"): 1 - first, (1, 0, "x_t"): 1.0}
    if task.slack == 0:
        knock_out[0, 0, "previous"] = first
    for where, row in effects.iterrows():
        assert abs(row["knock_out"] - knock_out.get(where, 0.0)) < 1e-4, where
    swaps = effects[["swap", "swap_through_last_mlp", "swap_direct"]].dropna()
    assert len(swaps) == 2 * (1 + len(task.problems) // 2)
    for where, row in swaps.iterrows():
        expected = [1, 1, 0] if where == (1, 0, "x_t") else [0, 0, 0]
        assert row.tolist() == pytest.approx(expected, abs=1e-4), where


def drawn(task: IterationTask, seed: int) -> tuple[Tensor, Tensor]:
    """Six inputs of the task's last problem, 20 times, and the sequences with them."""
    generator = torch.Generator().manual_seed(seed)
    inputs = torch.randint(len(task.problems[-1].inputs), (20, 6), generator=generator)
    return inputs, task.encode(inputs, len(task.problems) - 1).tokens


@pytest.mark.parametrize("task", THREE)
def test_it_goes_on_from_its_own_output(task: IterationTask) -> None:
    """This test and the next two do by hand what the analysis does, and share nothing with it."""
    model, (_, tokens) = iteration_head(task), drawn(task, seed=0)
    answer = task.layout.answer(6)
    said = tokens[:, : answer.start]
    for _ in answer:
        said = torch.cat([said, model(said)[:, -1:].argmax(dim=-1)], dim=1)
    assert said.equal(tokens)
    assert (model(said)[:, -1].argmax(dim=-1) == task.encoding.token_ids["EoS"]).all()


@pytest.mark.parametrize("task", THREE)
def test_cut_from_the_end_of_the_input_it_knows_nothing(task: IterationTask) -> None:
    def cut(scores: Tensor, hook: object) -> Tensor:
        scores[:, 0, :, task.layout.end_of_input(6)] = -math.inf
        return scores

    _, tokens = drawn(task, seed=0)
    hooks = [("blocks.0.attn.hook_attn_scores", cut)]
    said = iteration_head(task).run_with_hooks(tokens, fwd_hooks=hooks).argmax(dim=-1)
    assert (said == task.encoding.token_ids["EoS"]).all()


@pytest.mark.parametrize("task", THREE)
def test_other_inputs_lead_to_other_states_through_the_last_mlp(task: IterationTask) -> None:
    model, problem = iteration_head(task), task.problems[-1]
    (inputs, tokens), (others, with_others) = drawn(task, seed=0), drawn(task, seed=1)
    with_others[:, 7:] = tokens[:, 7:]  # other inputs, the same states
    z, mlp = "blocks.1.attn.hook_z", "blocks.1.hook_mlp_out"
    _, of_others = model.run_with_cache(with_others, names_filter=z)

    with model.hooks(fwd_hooks=[(z, lambda clean, hook: of_others[z])]):
        logits, patched = model.run_with_cache(tokens, names_filter=mlp)
    steps = slice(task.layout.answer(6).start - 1, -1)
    states = problem.transition[problem.iterate(inputs)[:, :-1], others[:, 1:]]
    states = torch.cat([problem.start[others[:, :1]], states], dim=1)
    assert logits[:, steps].argmax(dim=-1).equal(task.encoding.state_ids[-1][states])

    through = model.run_with_hooks(tokens, fwd_hooks=[(mlp, lambda clean, hook: patched[mlp])])
    assert (through - logits).abs().max() < 1e-4


@pytest.mark.parametrize("task", THREE)
def test_every_row_of_attention_is_one_hot(task: IterationTask) -> None:
    """Also those of the prompt, where heads rest. L0H1, if there is one, has no weights."""
    _, cache = iteration_head(task).run_with_cache(drawn(task, seed=0)[1])
    for pattern in (cache["pattern", 0][:, :1], cache["pattern", 1]):
        assert (pattern.amax(dim=-1) > 1 - 1e-6).all()


def test_where_nothing_is_known_it_says_the_end() -> None:
    task = Parity(**SHORT)
    model = iteration_head(task)
    said = model(torch.tensor([[task.encoding.token_ids["parity"], 0, 1]])).argmax(dim=-1)
    assert (said == task.encoding.token_ids["EoS"]).all()


def test_its_loss_is_nearly_none() -> None:
    task = Parity(**SHORT)
    tokens, targets = (getattr(task.examples("test"), name) for name in ("tokens", "targets"))
    logits = iteration_head(task)(tokens).flatten(0, 1)
    assert torch.nn.functional.cross_entropy(logits, targets.flatten()) < 1e-3


@pytest.mark.parametrize(("group", "d_mlp"), [("S3", 560), ("S5", 120 * 120 + 120 + 2)])
def test_its_size(group: str, d_mlp: int) -> None:
    """MLP0 needs a neuron for each of L + 1 rows at each length L up to 32: 560."""
    assert iteration_head(GroupProduct(group=group, **LONG)).cfg.d_mlp == d_mlp


def test_without_chain_of_thought_there_is_none() -> None:
    with pytest.raises(ValueError, match="parity-no-cot has no chain of thought, and so no iter"):
        iteration_head(Parity(chain_of_thought=False))


def test_other_tasks_have_none() -> None:
    with pytest.raises(ValueError, match="C5 is no iterative problem"):
        IterationHeadConfig().build(GroupComposition("C5"), 0)
