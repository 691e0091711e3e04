"""Coefficients before and after ablation, with few steps and draws."""

from dataclasses import replace

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
    Networks,
    Options,
    components,
    descended,
    mean_losses,
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
def networks() -> Networks:
    return Networks.of(TRAINED, [0, 1], [SHAPE.build(TASK, seed) for seed in (0, 1)])


def test_every_head_and_mlp_is_a_component(networks):
    found = list(components(networks.models[0]))
    assert [c.name for c in found] == ["L0H0", "L0H1", "MLP0"]
    assert [c.part for c in found] == ["l0h0", "l0h1", "l0mlp"]


@pytest.mark.parametrize("i", range(3))
def test_replaced_by_what_it_is_the_network_is_itself(networks, i):
    model, component = networks.models[0], list(components(networks.models[0]))[i]
    logits, kept = model.run_with_cache(EXAMPLES.tokens)
    ablated = Ablated(model, component, kept[component.hook].detach())
    torch.testing.assert_close(ablated(NUMBERED), logits)
    back = torch.arange(len(EXAMPLES) - 1, -1, -1)  # a source belongs to its example
    torch.testing.assert_close(ablated(NUMBERED[back]), logits[back])


def test_by_zeros_it_is_the_network_without_its_output_weights(networks):
    losses = [mean_losses(networks.ablated(c, "zero")) for c in components(networks.models[0])]
    for loss, where in zip(
        losses, (("attn.W_O", 0), ("attn.W_O", 1), ("mlp.W_out", ...)), strict=True
    ):
        without = [SHAPE.build(TASK, seed) for seed in (0, 1)]
        for model in without:
            with torch.no_grad():
                model.get_parameter(f"blocks.0.{where[0]}")[where[1]] = 0
        assert loss == pytest.approx(mean_losses(Networks.of(TRAINED, [0, 1], without).intact()))
        assert loss != pytest.approx(mean_losses(networks.intact()))


@pytest.mark.parametrize("how", module.HOW)
def test_nothing_depends_on_the_parameters_that_are_held(networks, how):
    for component in components(networks.models[0]):
        ablated = networks.ablated(component, how)
        weights = ablated.centres[:, None].clone().requires_grad_()
        everything = torch.arange(len(EXAMPLES))[None]
        (gradient,) = torch.autograd.grad(ablated.losses(weights, everything).sum(), weights)
        source = next(iter(ablated.layout.values())).numel()
        felt = (gradient[:, 0] != 0).any(dim=0)
        rest = networks.rest(component, ablated).index
        own = networks.parts[component.part] + source
        assert not set(own.tolist()) & set(rest.tolist())
        assert len(own) + len(rest) == len(felt) - source
        if how == "zero":
            assert not felt[own].any()
        assert felt[rest].double().mean() > 0.8


def test_networks_together_are_what_they_are_alone(networks):
    for i, model in enumerate(networks.models):
        alone = Networks.of(TRAINED, [i], [model])
        for component in components(model):
            (loss,) = mean_losses(alone.ablated(component, "resample"))
            assert loss == pytest.approx(mean_losses(networks.ablated(component, "resample"))[i])


def test_descent_lowers_the_loss_and_leaves_what_is_held(networks, monkeypatch):
    monkeypatch.setattr(module, "DESCENT", 40)
    component = list(components(networks.models[0]))[2]
    ablated = networks.ablated(component, "mean")
    rest = networks.rest(component, ablated)
    optimum = descended(ablated, rest)
    for before, after in zip(mean_losses(ablated), mean_losses(optimum), strict=True):
        assert after < before
    held = torch.ones(ablated.centres.shape[1], dtype=torch.bool)
    held[rest.index] = False
    assert torch.equal(optimum.centres[:, held], ablated.centres[:, held])
    assert (optimum.centres[:, ~held] != ablated.centres[:, ~held]).double().mean() > 0.8


def test_labels_are_the_answers_mostly_or_what_a_compiled_network_says(networks):
    said = networks.said.exp()
    assert said.argmax(dim=-1).equal(EXAMPLES.targets[:, 1:])
    assert said.amax(dim=-1).unique().tolist() == pytest.approx([module.RIGHT])
    compiled = Networks.of(COMPILED, [0], [CompiledConfig().build(TASK, 0)])
    assert mean_losses(compiled.intact()) == pytest.approx([0], abs=1e-12)
    intact = compiled.intact()
    assert descended(intact, compiled.rest(None, intact)) is intact
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


def test_a_table_a_page_and_a_picture(tmp_path, monkeypatch):
    drawn, short = {}, LLCConfig(nbeta=10.0, chains=2, draws=4, burn_in=2)
    steps = Schedule(steps=2, checkpoints=1)
    monkeypatch.setattr(module, "write_static", drawn.update)
    monkeypatch.setattr(module, "RECIPE", replace(module.RECIPE, model=SHAPE, schedule=steps))
    monkeypatch.setattr(module, "CONFIGS", {TRAINED: short, COMPILED: short})
    monkeypatch.setattr(module, "components", lambda model: list(components(model))[:1])
    monkeypatch.setattr(module, "HOW", ("zero",))
    monkeypatch.setattr(module, "DESCENT", 2)
    flags = ["--to", str(tmp_path), "--out", str(tmp_path), "--seeds", "0..1", "--quiet"]
    assert run_watched(Options, "paper.llc_ablation", module.write_tables, flags) == 0
    table = pd.read_csv(tmp_path / "llc_ablation.csv")
    assert table["network"].tolist() == [TRAINED] * 2 + [COMPILED]
    difference = table["before"] - table["after"]
    assert table["change"].tolist() == pytest.approx(difference.tolist())
    text = (tmp_path / "llc_ablation.md").read_text()
    assert text.count("| L0H0 |") == 2 and "0 of 2" in text
    (figure,) = drawn.values()
    assert len(figure.data) == 2
