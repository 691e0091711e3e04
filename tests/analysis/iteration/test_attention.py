"""Iteration-head scores against the published computation, written out, and their laws."""

import pandas as pd
import pytest
import torch

from analysis.iteration import attention_scores, summary
from interp.models.config import DecoderConfig, TransformerConfig
from interp.models.iteration_head import iteration_head
from tasks.iteration import Mixed, Parity, Polynomial

TASK = Polynomial(modulus=5, preset="published", max_length=5, n_per_length=30)
SCORES = ["mean", "above_half", "invariance"]


def row(scores: pd.DataFrame, layer: int, head: int, role: str, length: int) -> list[float]:
    table = scores.set_index(["layer", "head", "role", "length"])
    return table.loc[(layer, head, role, length), SCORES].tolist()


@torch.no_grad()
def test_the_published_scores(untrained):
    """As in the published evaluator: all maps of a length at once, head 0 of layers 0 and 1."""
    model = untrained(TASK)
    scores = attention_scores(model, TASK)
    tokens = TASK.examples("test").tokens
    n_near = 0  # values just below one half
    for length in range(1, 6):
        e = length + 1
        rows = tokens[TASK.encoding.lengths(tokens) == length]
        _, cache = model.run_with_cache(rows)
        maps = [cache["pattern", layer][:, 0].double() for layer in (0, 1)]
        to_end = torch.stack([maps[0][:, q, e] for q in range(e + 1, 2 * e)], dim=1)
        to_input = torch.stack([maps[1][:, e + t, 1 + t] for t in range(length)], dim=1)
        assert length == 1 or to_input.std(dim=0).mean() > 0.01  # far from constant
        n_near += int(((to_input > 0.4) & (to_input < 0.5)).sum())
        for layer, role, values in ((0, "EoI", to_end), (1, "x_t", to_input)):
            n = len(values)
            mean = values.sum(dim=0) / n
            deviation = ((values - mean).square().sum(dim=0) / (n - 1)).sqrt()
            expected = [values.mean(), (values > 0.5).sum() / values.numel(), 1 - deviation.mean()]
            assert row(scores, layer, 0, role, length) == pytest.approx(
                [float(x) for x in expected], abs=1e-7
            )
    assert n_near


@pytest.mark.parametrize(
    "task",
    [
        TASK,
        Parity(max_length=5, n_per_length=20, slack=2),
        Mixed(max_length=5, n_per_length=20, preset="published"),
    ],
    ids=["published", "slack", "mixed"],
)
def test_the_hand_set_heads_do_nothing_but_their_roles(task):
    scores = attention_scores(iteration_head(task), task, "train")
    for length in range(2, 6):
        for layer, role in ((0, "EoI"), (1, "x_t")):
            assert row(scores, layer, 0, role, length) == pytest.approx([1, 1, 1], abs=1e-6)
        assert row(scores, 1, 0, "s_{t-1}", length)[:2] == pytest.approx([0, 0], abs=1e-6)
    best = summary(scores).set_index(["layer", "role"])
    assert best.loc[(0, "EoI"), "mean"] == pytest.approx(1, abs=1e-6)
    assert best.loc[(1, "x_t"), "head"] == 0


def test_one_layer_and_uniform_attention():
    """Without keys, the query at position q attends to each of q + 1 tokens alike."""
    task = Parity(max_length=4, n_per_length=8)
    model = TransformerConfig(n_layers=1, n_heads=2, d_model=6, d_head=3, d_mlp=4).build(task, 0)
    with torch.no_grad():
        model.blocks[0].attn.W_K.zero_()
    scores = attention_scores(model, task)
    assert scores["layer"].unique().tolist() == [0]
    for (name, length), found in scores.groupby(["role", "length"]):
        mean = (1 / (task.layout.roles(length)[name].queries + 1)).mean().item()
        assert found["mean"].tolist() == pytest.approx([mean, mean], abs=1e-7)
        assert (found["above_half"] == 0).all()
        several = found[found["length"] > 1]  # of length 1, one sequence is tested
        assert several["invariance"].tolist() == pytest.approx([1] * len(several), abs=1e-7)


def test_roles_without_queries_and_single_sequences(untrained):
    task = Parity(max_length=2)
    scores = attention_scores(untrained(task), task)
    of_one = scores[scores["length"] == 1]
    assert "s_{t-1}" not in set(of_one["role"]) and "s_{t-1}" in set(scores["role"])
    assert of_one["invariance"].isna().all()  # one sequence has no spread
    assert scores[scores["length"] == 2]["invariance"].notna().all()


def test_relabelled_heads_permute_the_rows(untrained):
    model = untrained(TASK)
    before = attention_scores(model, TASK)
    with torch.no_grad():
        for block in model.blocks:
            for weights in (block.attn.W_Q, block.attn.W_K, block.attn.W_V, block.attn.W_O):
                weights.copy_(weights.flip(0))
    after = attention_scores(model, TASK)
    after["head"] = 1 - after["head"]
    keys = ["layer", "head", "role", "length"]
    before, after = (scores.set_index(keys).sort_index() for scores in (before, after))
    pd.testing.assert_frame_equal(after, before, rtol=1e-5)
    assert (before.loc[(0, 0)] - before.loc[(0, 1)]).abs().max().max() > 0.01


def test_minibatches_change_nothing(untrained, monkeypatch):
    import analysis.iteration.predictions as module

    before = attention_scores(untrained(TASK), TASK)
    monkeypatch.setattr(module, "BATCH_BYTES", 8 * 12 * 64 * 4)
    pd.testing.assert_frame_equal(attention_scores(untrained(TASK), TASK), before, rtol=1e-6)


def test_problems_by_themselves_are_parts_of_the_whole(untrained):
    task = Mixed(max_length=4, n_per_length=20)
    model = untrained(task)
    whole = attention_scores(model, task)
    parts = attention_scores(model, task, by_problem=True)
    lengths = task.encoding.lengths(task.examples("test").tokens)
    first = task.examples("test").tokens[:, 0]
    for length in (3, 4):
        shares = [
            (first[lengths == length] == token).double().mean().item()
            for token in task.encoding.problem_ids
        ]
        mixture = sum(
            share * row(parts[parts["problem"] == name], 1, 0, "x_t", length)[0]
            for share, name in zip(shares, ("copy", "parity"), strict=True)
        )
        assert row(whole, 1, 0, "x_t", length)[0] == pytest.approx(mixture, abs=1e-12)
    of_copy = parts[parts["problem"] == "copy"].drop(columns="problem")
    best = summary(parts).query("problem == 'copy'").drop(columns="problem")
    pd.testing.assert_frame_equal(best.reset_index(drop=True), summary(of_copy))


def test_the_summary_takes_the_head_that_attends_most():
    table = pd.DataFrame(
        [
            (0, 0, "x_t", 3, 9.0, 1.0, 1.0),  # too short to count
            (0, 0, "x_t", 4, 0.2, 0.0, 0.9),
            (0, 0, "x_t", 5, 0.4, 0.2, 0.7),
            (0, 1, "x_t", 4, 0.5, 0.4, 0.5),
            (0, 1, "x_t", 5, 0.7, 0.8, 0.3),
        ],
        columns=["layer", "head", "role", "length", *SCORES],
    )
    found = summary(table)
    assert found[["layer", "role", "head"]].values.tolist() == [[0, "x_t", 1]]
    assert found[SCORES].values[0].tolist() == pytest.approx([0.6, 0.6, 0.4])
    assert summary(table, from_length=3)["head"].tolist() == [0]


def test_no_roles_without_chain_of_thought(untrained):
    task = Parity(chain_of_thought=False, max_length=3)
    with pytest.raises(ValueError, match="no roles without chain of thought"):
        attention_scores(untrained(task), task)


def test_normalised_networks_have_scores_too():
    scores = attention_scores(DecoderConfig(d_model=8).build(TASK, 0), TASK)
    assert scores[SCORES].notna().all(axis=None)
    assert scores["mean"].between(0, 1).all()
