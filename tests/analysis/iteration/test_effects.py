"""What interventions do to networks of which theory says it, and the laws of swapping."""

import pytest
import torch

from analysis.iteration import role_effects
from interp.models.config import DecoderConfig
from interp.models.iteration_head import iteration_head
from tasks.iteration import Copy, GroupProduct, Mixed, Parity, Polynomial

SIZES = {"max_length": 5, "n_per_length": 24}
SWAPS = ["swap", "swap_through_last_mlp", "swap_direct"]
TASKS = {
    "copy": Copy(vocab="a..c", **SIZES),
    "parity": Parity(**SIZES),
    "polynomial": Polynomial(modulus=11, **SIZES),
    "product": GroupProduct(group="S3", **SIZES),
    "slack 1": Parity(slack=1, **SIZES),
    "slack 2": Parity(slack=2, **SIZES),
    "published": Polynomial(modulus=5, preset="published", **SIZES),
    "mixed": Mixed(mix=("parity", "polynomial:3", "product:S3"), **SIZES),
}


@pytest.mark.parametrize("task", TASKS.values(), ids=TASKS)
def test_the_hand_set_heads_have_the_effects_that_theory_says(task):
    """Averaged over the lengths 4 and 5.

    Layer 0 finds the end for s_1 ... s_(L-1), which say all states but the first one; EoI, or
    the last SLACK, says that and is none of the role's queries. The token just before s_1 is the
    end without slack, and so is that before the SLACK if there is one: there the role "previous"
    cuts one more edge to EoI. Layer 1 fetches every x_t, which the last MLP reads.
    """
    per_step = (1 / 4 + 1 / 5) / 2
    knock_out = {(0, 0, "EoI"): 1 - per_step, (1, 0, "x_t"): 1}
    if task.slack < 2:
        knock_out[0, 0, "previous"] = per_step
    for effects in role_effects(iteration_head(task), task).to_dict("records"):
        where = effects["layer"], effects["head"], effects["role"]
        assert effects["knock_out"] == pytest.approx(knock_out.get(where, 0), abs=1e-4), where
        if where[2] == "x_t":
            expected = [1, 1, 0] if where[:2] == (1, 0) else [0, 0, 0]
            assert [effects[name] for name in SWAPS] == pytest.approx(expected, abs=1e-4), where
        else:
            assert all(effects[name] != effects[name] for name in SWAPS)


def test_lengths_may_be_chosen_and_must_be_there():
    task = TASKS["parity"]
    effects = role_effects(iteration_head(task), task, lengths=[2]).set_index("role")
    assert effects.loc["EoI", "knock_out"].tolist() == pytest.approx([1 / 2, 0], abs=1e-4)
    with pytest.raises(
        ValueError, match=r"no test sequence has one of the lengths 7, 8: .* 1 to 5"
    ):
        role_effects(iteration_head(task), task, lengths=[7, 8])


def test_each_problem_by_itself():
    """A network that has forgotten one of its problems."""
    task = TASKS["mixed"]
    model = iteration_head(task)
    with torch.no_grad():
        model.embed.W_E[task.encoding.problem_ids[1]] = 0
    effects = role_effects(model, task, by_problem=True).set_index(["problem", "layer", "head"])
    fetched = effects[effects["role"] == "x_t"].xs((1, 0), level=("layer", "head"))
    for effect in ("knock_out", "swap"):
        assert fetched[effect].tolist() == pytest.approx([1, 0, 1], abs=1e-4)


def test_where_the_last_state_alone_is_scored():
    task = Polynomial(modulus=5, targets="final", **SIZES)
    effects = role_effects(iteration_head(task), task).set_index(["layer", "role"])
    assert effects.loc[(0, "EoI"), "knock_out"] == pytest.approx(1, abs=1e-4)
    assert effects.loc[(0, "previous"), "knock_out"] == pytest.approx(0, abs=1e-4)
    assert effects.loc[(1, "x_t"), SWAPS].tolist() == pytest.approx([1, 1, 0], abs=1e-4)


def test_heads_that_write_nothing_have_no_effect(untrained):
    task = TASKS["product"]
    model = untrained(task)
    with torch.no_grad():
        for block in model.blocks:
            block.attn.W_O.zero_()
    effects = role_effects(model, task)
    assert (effects["knock_out"] == 0).all()
    patched = effects.loc[effects["role"] == "x_t", SWAPS]
    assert (patched == 0).all(axis=None)


def test_the_last_mlp_is_one_of_the_two_ways(untrained):
    """Without it the direct way is all there is; what does not enter the stream is the other."""
    task = TASKS["product"]
    model = untrained(task)
    with torch.no_grad():
        model.blocks[-1].mlp.W_out.zero_()
    effects = role_effects(model, task)
    effects = effects[effects["role"] == "x_t"]
    assert (effects["swap"] == effects["swap_direct"]).all()
    assert effects["swap"].nunique() > 1
    assert effects["swap_through_last_mlp"].nunique() == 1


def test_minibatches_change_nothing_and_the_network_is_left_as_it_is(monkeypatch):
    import analysis.iteration.predictions as module

    task = TASKS["published"]
    model = DecoderConfig(d_model=8, n_heads=2, norm="post").build(task, 0)
    weights = {name: weight.clone() for name, weight in model.named_parameters()}
    before = role_effects(model, task)
    monkeypatch.setattr(module, "BATCH_BYTES", 8 * 12 * 64 * 5)
    after = role_effects(model, task)
    assert after.equals(before)
    assert not role_effects(model, task, seed=1).equals(before)
    assert all(torch.equal(weights[name], weight) for name, weight in model.named_parameters())
    assert not any(point.fwd_hooks for point in model.hook_dict.values())
