"""Accuracy and grammar, by length and by step."""

import math
from dataclasses import replace

import pytest
import torch

from analysis.iteration import length_scores, step_scores, wilson_interval
from analysis.iteration.measure import LENGTH_METRICS
from analysis.iteration.predictions import by_length, own_output, predict
from interp.models.config import DecoderConfig
from interp.models.iteration_head import iteration_head
from tasks.iteration import Copy, Mixed, Parity, Polynomial
from tasks.task import IGNORE

SIZES = {"max_length": 5, "n_per_length": 24}
TASKS = {
    "copy": Copy(vocab="a..c", **SIZES),
    "slack": Parity(slack=2, **SIZES),
    "published": Polynomial(modulus=5, preset="published", **SIZES),
    "mixed": Mixed(mix=("parity", "polynomial:3"), **SIZES),
    "room": Parity(longest=9, **SIZES),
}
every_task = pytest.mark.parametrize("task", TASKS.values(), ids=TASKS)


@every_task
def test_a_network_that_is_always_right_has_every_score_1(task):
    model = iteration_head(task)
    scores = length_scores(model, task)
    assert scores["length"].tolist() == [1, 2, 3, 4, 5]
    assert (scores[list(LENGTH_METRICS)] == 1).all(axis=None)
    assert (scores["first_wrong"] == scores["length"] + 1).all()
    assert (step_scores(model, task)[["teacher_forced", "free_running"]] == 1).all(axis=None)


def test_where_the_last_state_alone_is_scored_nothing_is_said_of_the_end():
    task = Parity(targets="final", **SIZES)
    scores = length_scores(iteration_head(task), task)
    right = ["token_accuracy", "sequence_accuracy", "free_running_accuracy", "one_eoi"]
    assert (scores[right] == 1).all(axis=None)
    assert scores[["end_accuracy", "eos_absorbing"]].isna().all(axis=None)
    assert (scores["first_wrong"] == scores["length"] + 1).all()
    steps = step_scores(iteration_head(task), task)
    assert steps["t"].tolist() == steps["length"].tolist() == [1, 2, 3, 4, 5]


def test_one_who_always_says_the_same_is_right_as_often_as_it_is_the_truth(bigram):
    task = Parity(**SIZES)
    scores = length_scores(bigram(task, "1"), task, "all")
    steps = step_scores(bigram(task, "1"), task, "all").set_index(["length", "t"])
    for each in by_length(task, "all"):
        is_one = each.tokens[:, each.length + 2 :] == task.encoding.token_ids["1"]
        row = scores.set_index("length").loc[each.length]
        assert row["n"] == len(each.tokens)
        assert row["token_accuracy"] == pytest.approx(is_one.double().mean().item(), abs=1e-15)
        assert row["final_answer_accuracy"] == is_one[:, -1].double().mean().item()
        assert steps.loc[each.length]["teacher_forced"].tolist() == is_one.double().mean(0).tolist()
    never = ["end_accuracy", "sequence_accuracy", "free_running_accuracy", "eos_absorbing"]
    assert (scores[never] == 0).all(axis=None)
    assert scores.loc[0, "token_accuracy"] == 0.5  # there it is the end alone that is wrong
    ends = length_scores(bigram(task, "EoS"), task)
    assert (ends[["end_accuracy", "eos_absorbing"]] == 1).all(axis=None)
    assert (ends[["token_accuracy", "free_running_accuracy"]] == 0).all(axis=None)
    assert (ends["first_wrong"] == 1).all()


@every_task
def test_scores_are_those_of_a_count_by_hand(task, faulty):
    """One sequence and one token at a time, without a cache of keys and values."""
    model = faulty(task)
    scores = length_scores(model, task, "train").set_index("length")
    eos = task.encoding.token_ids["EoS"]
    for length in (2, 4):
        counts = []
        examples = task.examples("train")
        rows = (task.encoding.lengths(examples.tokens) == length).nonzero()[:, 0]
        for tokens, targets in zip(examples.tokens[rows], examples.targets[rows], strict=True):
            answer = task.layout.answer(length)
            before = [i - 1 for i in answer]
            predicted = model(tokens[None])[0].argmax(dim=-1)
            right = [bool(predicted[i] == targets[i]) for i in before]
            said = tokens[None, : answer.start]
            for _ in range(length + 1):
                said = torch.cat([said, model(said)[:, -1:].argmax(dim=-1)], dim=1)
            own = said[0, answer.start :].tolist()
            if not task.is_published and eos in own:  # what follows does not count
                own = own[: own.index(eos)] + [eos] * (length + 1 - own.index(eos))
            truth = [*tokens[answer.start : answer.stop].tolist(), eos]
            counts.append(
                {
                    "token_accuracy": sum(right) / length,
                    "end_accuracy": predicted[answer.stop - 1] == eos,
                    "sequence_accuracy": all(
                        p == t for p, t in zip(predicted, targets, strict=True) if t != IGNORE
                    ),
                    "first_wrong": right.index(False) + 1 if False in right else length + 1,
                    "free_running_accuracy": own == truth,
                    "final_answer_accuracy": own[-2] == truth[-2],
                }
            )
        assert scores.loc[length, "n"] == len(counts)
        for name in counts[0]:
            mean = sum(float(count[name]) for count in counts) / len(counts)
            assert scores.loc[length, name] == pytest.approx(mean, abs=1e-12), (length, name)


@every_task
def test_up_to_its_first_error_a_network_reads_the_truth(task, faulty):
    model = faulty(task)
    n_right = 0
    for each in by_length(task, "all"):
        answer = task.layout.answer(each.length)
        before = slice(answer.start - 1, answer.stop - 1)
        forced = predict(model, each).tokens[:, before]
        truth, free = each.tokens[:, answer.start : answer.stop], own_output(model, task, each)
        free = free[:, : len(answer)]
        right = (forced == truth).int().cumprod(dim=1)
        assert torch.equal((free == truth).int().cumprod(dim=1), right)
        n_right += int(right.sum())
    steps = step_scores(model, task, "all")
    assert 0 < n_right < int(steps["n"].sum())  # there is something to be seen
    first = steps[steps["t"] == 1]
    assert first["teacher_forced"].tolist() == first["free_running"].tolist()


def test_steps_average_to_the_token_accuracy_and_problems_to_all(faulty):
    task = TASKS["mixed"]
    model = faulty(task)
    scores = length_scores(model, task)
    steps = step_scores(model, task).groupby("length")["teacher_forced"].mean()
    assert steps.tolist() == pytest.approx(scores["token_accuracy"].tolist(), abs=1e-12)
    parts = length_scores(model, task, by_problem=True)
    assert set(parts["problem"]) == {"parity", "polynomial:3"}
    weights = parts.groupby("length")["n"].sum()
    assert weights.tolist() == scores["n"].tolist()
    for name in (*LENGTH_METRICS, "chance", "first_wrong"):
        total = (parts[name] * parts["n"]).groupby(parts["length"]).sum() / weights
        assert total.tolist() == pytest.approx(scores[name].tolist(), abs=1e-12), name
    parity = parts[parts["problem"] == "parity"]
    assert parity["chance"].tolist() == [2.0**-length for length in parity["length"]]


def test_lengths_beyond_training():
    task = Parity(longest=9, **SIZES)
    model = iteration_head(task)
    longer = replace(task, max_length=9)
    scores = length_scores(model, longer)
    assert scores["length"].tolist() == list(range(1, 10))
    assert (scores[list(LENGTH_METRICS)] == 1).all(axis=None)
    short = iteration_head(Parity(**SIZES))
    with pytest.raises(ValueError, match=r"sequences of 6 inputs need 14 positions: .* has 12"):
        step_scores(short, replace(longer, min_length=6))


def test_without_chain_of_thought(bigram):
    task = Parity(chain_of_thought=False, **SIZES)
    scores = length_scores(bigram(task, "EoS", EoI="1"), task)
    for each in by_length(task):
        is_one = each.tokens[:, each.length + 2] == task.encoding.token_ids["1"]
        row = scores.set_index("length").loc[each.length]
        for name in ("token_accuracy", "sequence_accuracy", "free_running_accuracy"):
            assert row[name] == is_one.double().mean().item()
    assert (scores[["end_accuracy", "eos_absorbing", "one_eoi"]] == 1).all(axis=None)
    assert (scores["chance"] == 0.5).all()


# Grammar


def test_what_follows_the_end_counts_only_where_it_is_trained(bigram):
    published, default = (Parity(preset=preset, **SIZES) for preset in ("published", "default"))
    scores = length_scores(bigram(published, "EoS", EoS="EoI"), published)
    assert (scores[["eos_absorbing", "one_eoi"]] == 0).all(axis=None)
    scores = length_scores(bigram(default, "EoS", EoS="EoI"), default)
    assert (scores[["eos_absorbing", "one_eoi"]] == 1).all(axis=None)


def test_special_tokens_said_once_more_are_counted(bigram):
    task = Mixed(**SIZES)
    scores = length_scores(bigram(task, "EoS", EoI="copy"), task, by_problem=True)
    assert (scores["one_problem_token"] == 0).all()
    assert (scores["one_eoi"] == 1).all()
    scores = length_scores(bigram(task, "EoI"), task)
    assert (scores["one_problem_token"] == 1).all()
    assert (scores[["one_eoi", "eos_absorbing"]] == 0).all(axis=None)


def test_a_network_may_end_late(bigram):
    """After EoI it says a, b, c, d, EoS, whatever the length."""
    task = Copy(vocab="a..e", **SIZES)
    model = bigram(task, "EoS", EoI="a", a="b", b="c", c="d")
    scores = length_scores(model, task)
    assert (scores["eos_absorbing"] == 1).all()
    # Four tokens more than needed, but no more in all than in the longest sequence.
    assert [own_output(model, task, each).shape[1] for each in by_length(task)] == [6, 7, 8, 7, 6]
    assert scores["end_accuracy"].max() < 1


# The pieces


@pytest.mark.parametrize(
    ("n_right", "n", "low", "high"),
    [(0, 10, 0.0, 0.27753), (10, 10, 0.72247, 1.0), (5, 10, 0.23659, 0.76341), (1, 1, 0.20654, 1)],
)
def test_wilson_intervals(n_right, n, low, high):
    """Values as in Newcombe (1998) and statsmodels."""
    assert wilson_interval(n_right, n) == pytest.approx((low, high), abs=1e-5)


def test_the_interval_solves_the_score_equation():
    low, high = wilson_interval(37, 120, level=0.9)
    for share in (low, high):
        z = (37 / 120 - share) / math.sqrt(share * (1 - share) / 120)
        assert abs(z) == pytest.approx(1.644854, abs=1e-6)


def test_minibatches_change_nothing(monkeypatch):
    import analysis.iteration.predictions as module

    task = Polynomial(modulus=5, preset="published", **SIZES)
    model = DecoderConfig(d_model=8).build(task, 0)
    before = length_scores(model, task)
    monkeypatch.setattr(module, "BATCH_BYTES", 8 * 12 * 64 * 3)
    after = length_scores(model, task)
    assert before.equals(after)
