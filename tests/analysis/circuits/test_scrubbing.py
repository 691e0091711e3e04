"""Causal scrubbing: hypotheses that are true by construction, and others that are not."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from analysis.circuits.scrubbing import scrub
from analysis.circuits.setting import Setting, setting
from analysis.patching.metrics import Reference
from interp.models.config import BilinearConfig, DecoderConfig, MLPConfig, TransformerConfig
from interp.models.iteration_head import iteration_head
from interp.rasp import compile_task
from tasks.composition import GroupComposition
from tasks.iteration import Mixed, Parity, Polynomial
from tasks.pairs import Pairs
from tasks.sequences import Palindrome, Peak
from tasks.task import Task

Variable = Callable[[Tensor], Tensor]
LENGTH = 4
FINAL = Polynomial(
    modulus=5, min_length=LENGTH, max_length=LENGTH, n_per_length=625, targets="final"
)
PARITY = Parity(min_length=3, max_length=3)
GROUP = GroupComposition("C7")
PEAK = Peak(vocab="0..3", min_length=5, max_length=5, n_sequences=500)
PALINDROME = Palindrome(vocab="a..c", min_length=5, max_length=5)


def token(*positions: int) -> Variable:
    """The tokens at some positions."""
    return lambda tokens: tokens[:, list(positions)]


def identity(tokens: Tensor) -> Tensor:
    return tokens


def nothing(tokens: Tensor) -> Tensor:
    return torch.zeros_like(tokens[:, 0])


def drawn(task: Task, n: int = 200, position: int | None = None) -> Pairs:
    """Examples, each with another one; those with other answers at a position, if it is given."""
    examples = task.examples().rows(slice(n))
    others = examples.rows(torch.arange(len(examples)).roll(1))
    if position is None:
        return Pairs(examples, others)
    where = torch.zeros_like(examples.tokens, dtype=torch.bool)
    where[:, position] = True
    pairs = Pairs(examples, others, where=where)
    return pairs.rows(pairs.changed.any(dim=1))


SMALL = {
    "hand-set": (lambda: iteration_head(PARITY), PARITY),
    "several": (
        lambda: iteration_head(Mixed(mix=("parity", "copy:a..b"), max_length=2)),
        Mixed(mix=("parity", "copy:a..b"), max_length=2),
    ),
    "published": (lambda: DecoderConfig(2, 2, 8).build(PARITY, 0), PARITY),
    "post": (lambda: DecoderConfig(1, 2, 8, norm="post").build(PARITY, 0), PARITY),
    "pads": (
        lambda: TransformerConfig(2, 1, 8, 4, 16, attention_dir="bidirectional").build(PEAK, 0),
        Peak(vocab="0..3", max_length=5),
    ),
    "MLP": (lambda: MLPConfig(8, 16).build(GROUP, 0), GROUP),
    "bilinear": (lambda: BilinearConfig(8).build(GROUP, 0), GROUP),
}


def sums_up(logits: Tensor, reference: Reference) -> Tensor:
    """A metric that tells all logits apart."""
    weights = torch.arange(logits[0].numel()).to(logits).cos()
    return logits.flatten(1) @ weights


@pytest.mark.parametrize("name", SMALL)
def test_who_hears_everything_about_everything_is_undisturbed(name: str) -> None:
    build, task = SMALL[name]
    on = setting(build(), drawn(task, 12), sums_up)
    found = scrub(on, {str(edge): identity for edge in on.graph.edges}, seed=1)
    torch.testing.assert_close(found.scrubbed, found.clean, rtol=1e-5, atol=1e-4)
    assert found.recovered == pytest.approx(1, abs=1e-4)
    assert (found.random - found.clean).abs().max() > 0.01


@pytest.mark.parametrize("name", SMALL)
def test_who_hears_nothing_says_what_any_other_input_does(name: str) -> None:
    build, task = SMALL[name]
    on = setting(build(), drawn(task, 12), sums_up)
    found = scrub(on, {})
    near = (found.scrubbed[:, None] - found.clean).abs() < 1e-4
    assert near.any(dim=1).all() and not near.diagonal().all()


def final_setting(n: int = 300) -> Setting:
    return setting(iteration_head(FINAL), drawn(FINAL, n, position=FINAL.layout.answer(4)[-2]))


ANSWER = FINAL.layout.answer(LENGTH)
LAST_INPUT, BEFORE, SAID = token(LENGTH), token(ANSWER[-2]), token(ANSWER[-1])
ITERATION = {
    "MLP1->unembed": SAID,
    "embed->MLP1": BEFORE,
    "L1H0->MLP1": LAST_INPUT,
    "embed->L1H0.v": LAST_INPUT,
    "MLP0->L1H0.q": nothing,  # one length
}
WRONG = {
    "another input is fetched": {"L1H0->MLP1": token(LENGTH - 1)},
    "no input is fetched": {"L1H0->MLP1": nothing},
    "values are of another input": {"embed->L1H0.v": token(LENGTH - 1)},
    "another state is read": {"embed->MLP1": token(ANSWER[-3])},
    "the answer is the input": {"MLP1->unembed": LAST_INPUT},
}


def test_the_iteration_head_by_hypothesis() -> None:
    on = final_setting()
    found = scrub(on, ITERATION)
    torch.testing.assert_close(found.scrubbed, found.clean)
    assert found.recovered == pytest.approx(1, abs=1e-6)
    assert abs(scrub(on, {}).recovered) < 0.15
    for wrong in WRONG.values():
        assert scrub(on, ITERATION | wrong).recovered < 0.4, wrong
    for edge in ("MLP1->unembed", "embed->MLP1", "L1H0->MLP1", "embed->L1H0.v"):
        less = {name: variable for name, variable in ITERATION.items() if name != edge}
        assert scrub(on, less).recovered < 0.4, edge


def test_a_coarser_hypothesis_leaves_open_how_a_part_works() -> None:
    on, coarse = final_setting(60), {"MLP1->unembed": SAID}
    assert scrub(on, coarse).recovered == pytest.approx(1, abs=1e-6)
    more = coarse | {"L1H0->MLP1": LAST_INPUT, "embed->MLP1": BEFORE}
    assert scrub(on, more).recovered == pytest.approx(1, abs=1e-6)


def test_pairs_of_variables_are_one() -> None:
    """x_L and s_(L-1) give s_L; each by itself does not."""
    on = final_setting()
    both = {"MLP1->unembed": token(LENGTH, ANSWER[-2])}
    assert scrub(on, both).recovered == pytest.approx(1, abs=1e-6)
    for one in (LAST_INPUT, BEFORE):
        assert scrub(on, {"MLP1->unembed": one}).recovered < 0.4


COMPILED = {
    "peak": (
        PEAK,
        3,
        {
            "MLP0->unembed": lambda tokens: (
                (tokens[:, [2]] < tokens[:, [3]]).long() * (tokens[:, [4]] < tokens[:, [3]]).long()
            ),
            "embed->MLP0": token(3),
            "L0H0->MLP0": token(2),
            "L0H1->MLP0": token(4),
            "embed->L0H0.v": token(2),
            "embed->L0H1.v": token(4),
        },
    ),
    "palindrome": (
        PALINDROME,
        2,
        {
            "MLP2->unembed": lambda tokens: (tokens[:, 2] == tokens[:, 4]).long(),
            "embed->MLP2": token(2),
            "L2H0->MLP2": token(4),
            "embed->L2H0.v": token(4),
            "MLP1->L2H0.q": nothing,  # one length
        },
    ),
}


@pytest.mark.parametrize("name", COMPILED)
def test_a_compiled_program_by_its_program(name: str) -> None:
    task, position, true = COMPILED[name]
    on = setting(compile_task(task).model, drawn(task, 300, position))
    assert scrub(on, true).recovered == pytest.approx(1, abs=1e-3)
    for edge, variable in true.items():
        if variable is not nothing:
            assert scrub(on, true | {edge: token(1)}).recovered < 0.8, edge


def test_a_message_is_of_an_input_that_agrees_and_others_of_any() -> None:
    """The embedding of the first operand is kept, that of the second drawn: a product a b'."""
    on = setting(MLPConfig(8, 16).build(GROUP, 0).double(), drawn(GROUP, 49), sums_up)
    assert len(on.run.tokens) == 49
    first = on.run.tokens[:, 0]
    hypothesis = {"MLP0->unembed": identity, "embed_a->MLP0": token(0)}
    scrubbed = torch.stack([scrub(on, hypothesis, seed=seed).scrubbed for seed in range(20)])
    is_said = (scrubbed[..., None] - on.whole).abs() < 1e-12
    assert is_said.any(dim=-1).all()
    assert not (is_said & (first[:, None] != first)).any()
    assert (is_said.any(dim=0).sum(dim=1) > 5).all()  # of the 7 second operands


def test_edges_of_one_sender_bring_one_input_that_agrees_in_both() -> None:
    on = setting(TransformerConfig(1, 1, 8, 4, 16).build(PARITY, 0), drawn(PARITY, 8), sums_up)
    rest = {str(e): identity for e in on.graph.edges if e.receiver in ("MLP0", "unembed")}
    rest |= {f"pos_embed->L0H0.{x}": identity for x in "qkv"}
    n_positions = on.run.tokens.shape[1]
    parts = dict(zip("qkv", torch.arange(n_positions).tensor_split(3), strict=True))
    apart = {f"embed->L0H0.{x}": token(*part.tolist()) for x, part in parts.items()}
    torch.testing.assert_close(scrub(on, rest | apart).scrubbed, on.whole)
    some = {name: nothing for name in apart}
    assert (scrub(on, rest | some).scrubbed - on.whole).abs().max() > 0.01


def test_the_seed_decides_and_nothing_is_left_on_the_model() -> None:
    on = final_setting(60)
    state = torch.random.get_rng_state()
    hypothesis = ITERATION | WRONG["another input is fetched"]
    one, same, other = (scrub(on, hypothesis, seed=seed) for seed in (0, 0, 1))
    assert torch.equal(one.scrubbed, same.scrubbed) and torch.equal(one.random, same.random)
    assert not torch.equal(one.scrubbed, other.scrubbed)
    assert torch.equal(state, torch.random.get_rng_state())
    assert not any(point.fwd_hooks for point in on.graph.model.hook_dict.values())
    assert not on.graph.model.cfg.use_attn_result


def test_without_a_gap_nothing_is_recovered() -> None:
    on = setting(iteration_head(PARITY), drawn(PARITY, 8), lambda logits, _: logits[:, 0, 0] * 0)
    assert torch.tensor(scrub(on, {}).recovered).isnan()


MISTAKES = {
    "there is no edge 'MLP2->unembed'.*did you mean 'MLP1->unembed'": {"MLP2->unembed": identity},
    "there is no edge 'L1H0->MLP0'": {"L1H0->MLP0": identity},
    r"the variable of embed->MLP1 returned a tensor of shape \(1,\) for": {
        "embed->MLP1": lambda t: t[0, :1]
    },
}


@pytest.mark.parametrize("message", MISTAKES)
def test_a_mistake(message: str) -> None:
    with pytest.raises(ValueError, match=message):
        scrub(final_setting(20), MISTAKES[message])
