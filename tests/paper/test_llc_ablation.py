"""Coefficients before and after ablation, with few steps and draws."""

from dataclasses import replace
from math import nan

import jaxtyping
import pandas as pd
import pytest
import torch

import paper.llc_ablation as module
import paper.llc_compiled
from analysis.llc import LLCConfig, curvature
from interp.models.config import CompiledConfig, TransformerConfig
from interp.runs.recipe import Schedule
from paper.command import run_watched
from paper.llc_ablation import (
    COMPILED,
    EXAMPLES,
    TASK,
    TRAINED,
    Ablated,
    Network,
    Options,
    components,
    descended,
    mean_loss,
)
from paper.llc_ablation_page import changes, page

SHAPE = TransformerConfig(n_heads=2, d_model=4, d_head=2, d_mlp=4, attention_dir="bidirectional")
NUMBERED = torch.cat([EXAMPLES.tokens, torch.arange(len(EXAMPLES))[:, None]], dim=1)


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)
    monkeypatch.setattr(curvature, "FLOW_STEPS", 3)
    monkeypatch.setattr(curvature, "POWER_STEPS", 3)
    monkeypatch.setattr(paper.llc_compiled, "PILOT", 2)


@pytest.fixture(scope="module")
def network() -> Network:
    return Network.of(TRAINED, SHAPE.build(TASK, 0))


def test_every_head_and_mlp_is_a_component(network):
    found = list(components(network.model))
    assert [c.name for c in found] == ["L0H0", "L0H1", "MLP0"]
    assert [c.part for c in found] == ["l0h0", "l0h1", "l0mlp"]


@pytest.mark.parametrize("i", range(3))
def test_replaced_by_what_it_is_the_network_is_itself(network, i):
    model, component = network.model, list(components(network.model))[i]
    logits, kept = model.run_with_cache(EXAMPLES.tokens)
    ablated = Ablated(model, component, kept[component.hook].detach())
    torch.testing.assert_close(ablated(NUMBERED), logits)
    back = torch.arange(len(EXAMPLES) - 1, -1, -1)  # a source belongs to its example
    torch.testing.assert_close(ablated(NUMBERED[back]), logits[back])


def test_by_zeros_it_is_the_network_without_its_output_weights(network):
    losses = [mean_loss(network.ablated(c, "zero")) for c in components(network.model)]
    for loss, where in zip(
        losses, (("attn.W_O", 0), ("attn.W_O", 1), ("mlp.W_out", ...)), strict=True
    ):
        without = SHAPE.build(TASK, 0)
        with torch.no_grad():
            without.get_parameter(f"blocks.0.{where[0]}")[where[1]] = 0
        assert loss == pytest.approx(mean_loss(Network.of(TRAINED, without).intact()))
        assert loss != pytest.approx(mean_loss(network.intact()))


@pytest.mark.parametrize("how", module.HOW)
def test_nothing_depends_on_the_parameters_that_are_held(network, how):
    for component in components(network.model):
        ablated = network.ablated(component, how)
        weights = ablated.centres[:, None].clone().requires_grad_()
        everything = torch.arange(len(EXAMPLES))[None]
        (gradient,) = torch.autograd.grad(ablated.losses(weights, everything).sum(), weights)
        felt = gradient[0, 0] != 0
        rest, own = network.rest(component).index, network.parts[component.part]
        assert not set(own.tolist()) & set(rest.tolist())
        assert len(own) + len(rest) == len(felt)
        if how == "zero":
            assert not felt[own].any()
        assert felt[rest].double().mean() > 0.8


def test_descent_lowers_the_loss_and_leaves_what_is_held(network, monkeypatch):
    monkeypatch.setattr(module, "DESCENT", 40)
    component = list(components(network.model))[2]
    ablated = network.ablated(component, "mean")
    rest = network.rest(component)
    optimum = descended(ablated, rest)
    assert mean_loss(optimum) < mean_loss(ablated)
    held = torch.ones(ablated.centres.shape[1], dtype=torch.bool)
    held[rest.index] = False
    assert torch.equal(optimum.centres[:, held], ablated.centres[:, held])
    assert (optimum.centres[:, ~held] != ablated.centres[:, ~held]).double().mean() > 0.8


def test_labels_are_the_answers_mostly_or_what_a_compiled_network_says(network):
    said = network.said.exp()
    assert said.argmax(dim=-1).equal(EXAMPLES.targets[:, 1:])
    assert said.amax(dim=-1).unique().tolist() == pytest.approx([module.RIGHT])
    compiled = Network.of(COMPILED, CompiledConfig().build(TASK, 0))
    intact = compiled.intact()
    assert mean_loss(intact) == pytest.approx(0, abs=1e-12)
    assert descended(intact, compiled.rest(None)) is intact
    unembedding = {*compiled.parts["unembed"].tolist()}
    assert not unembedding & {*compiled.moving.tolist()}
    assert (intact.centres[0, compiled.moving] != 0).all()


def test_what_fails_is_no_part_of_a_mean():
    table = pd.DataFrame(
        {"network": "trained", "seed": range(4), "component": "L0H0", "ablation": "zero"}
        | dict.fromkeys(("loss_before", "loss_ablated", "loss_after"), 0.5)
        | {"before": [5.0, 5.0, 5.0, 90.0], "after": [3.0, 2.0, 1.0, 1.0]}
        | {"before_failures": ["", "", "", "trend"], "after_failures": ""}
        | {"change": [2.0, 3.0, 4.0, 89.0], "change_reach": 0.1}
    )
    (row,) = changes(table).to_dict("records")
    assert (row["passed"], row["networks"], row["failures"]) == (3, 4, "trend")
    assert row["change"] == 3 and row["high"] - 3 == pytest.approx(4.303 / 3**0.5, rel=1e-3)
    assert "+3.00 (" in page(table) and "[" not in page(table)
    (row,) = changes(table.iloc[:1]).to_dict("records")
    assert (row["low"], row["high"]) == pytest.approx((1.9, 2.1))  # of one network, over chains
    assert "| [89.00]" not in page(table.iloc[3:]) and "[+89.00 (" in page(table.iloc[3:])


def test_a_table_a_page_and_a_picture_and_nothing_is_done_twice(tmp_path, monkeypatch):
    drawn, short = {}, LLCConfig(nbeta=1e3, localization=100.0, chains=2, draws=4, burn_in=2)
    recipe = replace(module.TRAINED_RECIPE, model=SHAPE, schedule=Schedule(steps=2, checkpoints=1))
    monkeypatch.setattr(module, "write_static", drawn.update)
    monkeypatch.setattr(module, "TRAINED_RECIPE", recipe)
    monkeypatch.setattr(module, "CONFIGS", {TRAINED: short, COMPILED: short})
    monkeypatch.setattr(module, "components", lambda model: list(components(model))[:1])
    monkeypatch.setattr(module, "HOW", ("zero",))
    monkeypatch.setattr(module, "DESCENT", 2)
    flags = ["--to", str(tmp_path), "--out", str(tmp_path), "--seeds", "0..1", "--quiet"]
    assert run_watched(Options, "paper.llc_ablation", module.write_tables, flags) == 0
    written = (tmp_path / "llc_ablation.csv").read_text()
    table = pd.read_csv(tmp_path / "llc_ablation.csv")
    assert table["network"].tolist() == [TRAINED] * 2 + [COMPILED]
    difference = table["before"] - table["after"]
    assert table["change"].tolist() == pytest.approx(difference.tolist())
    text = (tmp_path / "llc_ablation.md").read_text()
    assert text.count("| L0H0 |") == 2 and "0 of 2" in text
    (figure,) = drawn.values()
    assert len(figure.data) == 2

    sampled = []
    estimated = module.estimated
    monkeypatch.setattr(module, "estimated", lambda *of: sampled.append(of[0]) or estimated(*of))
    assert run_watched(Options, "paper.llc_ablation", module.write_tables, flags) == 0
    assert not sampled and (tmp_path / "llc_ablation.csv").read_text() == written
    monkeypatch.setattr(module, "CONFIGS", {TRAINED: short, COMPILED: replace(short, seed=1)})
    assert run_watched(Options, "paper.llc_ablation", module.write_tables, flags) == 0
    assert sampled == [COMPILED] * 2

    monkeypatch.setattr(module, "MOST_BURN_IN", 1)
    assert run_watched(Options, "paper.llc_ablation", module.write_tables, flags) == 0
    table = pd.read_csv(tmp_path / "llc_ablation.csv")
    assert (table["before_failures"] == "too_stiff").all() and table["change"].isna().all()
    assert (
        "| none | none | none | 0 of 2 | too_stiff |" in (tmp_path / "llc_ablation.md").read_text()
    )


def test_a_network_without_a_number_does_not_spoil_the_mean_of_the_others():
    table = pd.DataFrame(
        {"network": "trained", "seed": range(3), "component": "L0H0", "ablation": "zero"}
        | dict.fromkeys(("loss_before", "loss_ablated", "loss_after"), 0.5)
        | {"before": 5.0, "after": [3.0, 1.0, nan], "change": [2.0, 4.0, nan]}
        | {"before_failures": "trend", "after_failures": ["", "", "too_stiff"]}
        | {"change_reach": [0.1, 0.1, nan]}
    )
    (row,) = changes(table).to_dict("records")
    assert (row["passed"], row["networks"], row["change"]) == (0, 3, 3)
    assert row["high"] - 3 == pytest.approx(12.706, rel=1e-3)
