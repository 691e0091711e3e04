"""Interchange of a variable: by activations, and by learned directions of one."""

import jaxtyping
import pytest
import torch
from torch import Tensor

from analysis.patching import Site, patch, sweep
from analysis.patching.alignment import Alignment, align
from analysis.patching.interchange import interchange_accuracy
from analysis.patching.metrics import Reference, reference
from interp.models.config import DecoderConfig, MLPConfig
from interp.models.iteration_head import iteration_head
from interp.rasp import compile_task
from tasks.composition import GroupComposition
from tasks.iteration import Mixed, Parity, Polynomial
from tasks.pairs import Pairs
from tasks.sequences import Fraction, Peak
from tasks.task import IGNORE, Examples

POLYNOMIAL = Polynomial(modulus=5, min_length=4, max_length=4, n_per_length=200)
PARITY = Parity(min_length=5, max_length=5, n_per_length=32)
TWO = Mixed(mix=("parity", "copy:a..b"), min_length=3, max_length=3, n_per_length=16)
FETCHED = Site("attn_out", layer=1)


def accuracies(found: Alignment, pairs: Pairs) -> dict[str, float]:
    means = found.accuracy(pairs).values.mean("example")
    return dict(zip(means["cell"].values.tolist(), means.values.tolist(), strict=True))


def test_by_hand() -> None:
    """One position is kept, one not scored, two changed; of those one has the new answer."""
    tokens = torch.zeros(1, 4, dtype=torch.int64)
    clean = Examples(tokens, torch.tensor([[1, IGNORE, 0, 0]]))
    pairs = Pairs(clean, Examples(tokens, torch.tensor([[1, 2, 1, 2]])))
    said = torch.tensor([[1, 2, 0, 2]])
    logits = torch.nn.functional.one_hot(said, 3).float()
    nothing = torch.zeros_like(logits)
    assert interchange_accuracy(logits, Reference(pairs, nothing, nothing)).tolist() == [0.5]


def test_the_site_of_a_variable_is_where_its_interchange_changes_the_answers() -> None:
    model, pairs = iteration_head(POLYNOMIAL), POLYNOMIAL.pairs("x_t", 32)
    found = {
        hook: sweep(model, pairs, hook, ["layer"], interchange_accuracy).values.mean("example")
        for hook in ("attn_out", "mlp_out", "resid_post")
    }
    assert found["attn_out"].values.tolist() == [0, 1]  # L1H0 fetches x_t
    assert found["mlp_out"].values.tolist() == [0, 1]  # MLP1 says the answer
    assert found["resid_post"].values.tolist() == [1, 1]  # where x_t are read, or said
    by_position = sweep(model, pairs, "attn_out", metric=interchange_accuracy)
    assert by_position.metric == "interchange_accuracy"
    answered = (pairs.changed / pairs.changed.sum(dim=1, keepdim=True)).double().mean(dim=0)
    expected = torch.stack([torch.zeros_like(answered), answered])
    torch.testing.assert_close(torch.as_tensor(by_position.values.mean("example").values), expected)


SITES = {
    "stream": (
        lambda: DecoderConfig(2, 2, 8).build(PARITY, 0),
        PARITY,
        Site("resid_post", layer=0),
    ),
    "head": (
        lambda: DecoderConfig(2, 2, 8).build(PARITY, 0),
        PARITY,
        Site("z", 1, [-2, 3], layer=0),
    ),
    "pattern": (lambda: iteration_head(TWO), TWO, Site("pattern", 1, layer=1)),
    "hidden": (
        lambda: MLPConfig(4, 8).build(GroupComposition("C5"), 0),
        GroupComposition("C5"),
        Site("post"),
    ),
    "compiled": (
        lambda: compile_task(Peak(vocab="0..3", max_length=5)).model,
        Peak(vocab="0..3", max_length=5),
        Site("z", 0, layer=0),
    ),
}


@pytest.mark.parametrize("name", SITES)
def test_the_whole_space_is_plain_patching(name: str) -> None:
    build, task, site = SITES[name]
    model, pairs = build(), task.pairs(n=16)
    _, cache = model.run_with_cache(pairs.clean.tokens)
    width = cache[site.hook_point(model)].shape[-1]
    found = align(model, pairs, site, width, steps=2)
    values = found.accuracy(pairs).values
    plain = patch(model, pairs, {"plain": [site]}, interchange_accuracy).values.values[:, 0]
    assert all((values.sel(cell=cell).values == plain).all() for cell in values["cell"].values)
    assert found.losses.shape == (2,)
    square = found.basis.T @ found.basis
    torch.testing.assert_close(square, torch.eye(width), rtol=0, atol=1e-5)


@pytest.mark.parametrize(("task", "k", "overlap"), [(PARITY, 1, 0.85), (POLYNOMIAL, 4, 0.6)])
def test_the_directions_of_a_variable_are_found(task, k: int, overlap: float) -> None:
    """What L1H0 fetches is one-hot: of n values, differences span n - 1 dimensions."""
    model = iteration_head(task)
    found = align(model, task.pairs("x_t", 32, "train"), FETCHED, k, steps=120)
    assert accuracies(found, task.pairs("x_t", 64)) == {"learned": 1, "random": 0, "whole": 1}
    assert found.losses[0] > 15 and found.losses[-1] < 0.01
    written = (model.blocks[1].attn.W_O[0] != 0).any(dim=0)
    in_known = [basis[written].square().sum().item() / k for basis in (found.start, found.basis)]
    assert in_known[0] < 0.2 and in_known[1] > overlap


def test_no_directions_are_found_where_the_variable_is_not() -> None:
    model, pairs = iteration_head(PARITY), PARITY.pairs("x_t", 32, "train")
    found = align(model, pairs, Site("attn_out", layer=0), 4, steps=20)
    assert accuracies(found, pairs) == {"learned": 0, "random": 0, "whole": 0}
    assert found.losses[-1] == found.losses[0]


def test_only_the_positions_of_a_site_are_exchanged() -> None:
    model, pairs = iteration_head(PARITY), PARITY.pairs("x_t", 8, "train")
    last = int(pairs.changed[0].nonzero()[-1])
    found = align(model, pairs, Site("attn_out", positions=last, layer=1), 1, steps=60)
    share = 1 / int(pairs.changed[0].sum())
    expected = {"learned": share, "random": 0, "whole": share}
    assert accuracies(found, pairs) == pytest.approx(expected)


def test_the_seed_decides_and_nothing_is_left_on_the_model() -> None:
    model, pairs = DecoderConfig(1, 1, 8).build(PARITY, 0), PARITY.pairs("x_t", 8, "train")
    before = {name: weight.clone() for name, weight in model.state_dict().items()}
    requires = [parameter.requires_grad for parameter in model.parameters()]
    state = torch.random.get_rng_state()
    one, same, other = (
        align(model, pairs, Site("resid_post", layer=0), 3, steps=3, seed=seed)
        for seed in (1, 1, 2)
    )
    assert torch.equal(state, torch.random.get_rng_state())
    assert torch.equal(one.basis, same.basis) and torch.equal(one.losses, same.losses)
    assert not torch.allclose(one.start, other.start)
    assert not one.basis.requires_grad and not torch.equal(one.basis, one.start)
    assert all(parameter.grad is None for parameter in model.parameters())
    assert requires == [parameter.requires_grad for parameter in model.parameters()]
    assert all(torch.equal(weight, before[name]) for name, weight in model.state_dict().items())
    assert not any(point.fwd_hooks for point in model.hook_dict.values())


def test_the_loss_is_that_of_the_corrupted_answers() -> None:
    """At the first step, with all of the last stream exchanged, of the corrupted run."""
    model, pairs = DecoderConfig(1, 1, 8).build(PARITY, 0), PARITY.pairs("x_t", 8, "train")
    found = align(model, pairs, Site("resid_post", layer=0), 8, steps=1)
    logits = reference(model, pairs).corrupted.double().log_softmax(dim=-1)
    answers = pairs.corrupted.targets
    expected = -logits[pairs.changed].gather(1, answers[pairs.changed][:, None]).mean()
    assert found.losses.item() == pytest.approx(expected.item(), rel=1e-5)


def unchanged() -> Pairs:
    examples = PARITY.examples()
    return Pairs(examples, examples)


MISTAKES = {
    "k is 0: it must be 1 to 51, the width of blocks.1.hook_attn_out": {"k": 0},
    "k is 52: it must be 1 to 51": {"k": 52},
    "the site has 2 heads of blocks.1.attn.hook_z: name one": {"site": Site("z", layer=1)},
    "there is no hook point 'attn_oot'.*did you mean 'attn_out'": {"site": Site("attn_oot")},
    "no pair has another answer": {"pairs": unchanged()},
}


@pytest.mark.parametrize("message", MISTAKES)
def test_a_mistake(message: str) -> None:
    task = TWO if "heads" in message else PARITY
    given = {"pairs": task.pairs("x_t", 4), "site": FETCHED, "k": 1} | MISTAKES[message]
    with pytest.raises(ValueError, match=message):
        align(iteration_head(task), **given)


def test_numbers_are_no_answers_to_choose_from(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)
    task = Fraction(max_length=3)
    model, pairs = compile_task(task).model, task.pairs("token", 4)
    with pytest.raises(ValueError, match="needs answers to choose from"):
        align(model, pairs, Site("resid_post", layer=0), 1)


def test_in_the_precision_of_the_model() -> None:
    model = iteration_head(PARITY).double()
    found = align(model, PARITY.pairs("x_t", 8, "train"), FETCHED, 1, steps=1)
    assert isinstance(found.basis, Tensor) and found.basis.dtype == torch.float64
