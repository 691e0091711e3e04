"""Which irreps count as key, and in what order they were learned."""

import pandas as pd
import pytest
import torch

from analysis.representation.activations import activation_sums, activations
from analysis.representation.key_irreps import find_key_irreps, learning_order
from analysis.representation.logits import (
    character_coefficients,
    logit_squares,
    similarity,
    similarity_by_chance,
)
from analysis.representation.published_names import from_published_column
from interp.models.config import MLPConfig, TransformerConfig
from interp.models.mlp import HookedMLP
from tasks.composition import GroupComposition
from tasks.groups import FiniteGroup, find_irrep, finite_group, irreps

CONFIG = MLPConfig(d_embed=8, d_mlp=16)


def similarities(model, task):
    acts = activations(model, task)
    coefficients = character_coefficients(acts, activation_sums(acts))
    return acts, similarity(acts, coefficients, logit_squares(acts))


@torch.no_grad()
def solved(group: FiniteGroup, names: list[str], task: GroupComposition) -> HookedMLP:
    """A hand-set network whose logits are the sum of the characters of `names`.

    A neuron for every pair (a, b) fires on that pair alone and writes its row of logits.
    """
    n = group.order
    model = MLPConfig(d_embed=n, d_mlp=n**2).build(task, seed=0)
    assert isinstance(model, HookedMLP)
    pairs = torch.arange(n**2)
    identity = torch.eye(n)
    model.W_E_a[:n], model.W_E_b[:n] = identity - 0.5, identity - 0.5
    model.W_in[:] = torch.cat([identity[pairs // n].T, identity[pairs % n].T])  # pre is 1 or <= 0
    cells = group.table.flatten()[:, None], group.inverses[None]
    rows = sum(find_irrep(group, name).character[group.table[cells]] for name in names)
    model.W_U[:] = torch.as_tensor(rows)
    return model


@pytest.mark.parametrize("group", ["Q8", "A4", "S4", "C7", "Dic3"])
@pytest.mark.parametrize("seed", range(4))
def test_an_untrained_network_has_no_key_irreps(group, seed):
    """Neither by its accuracy nor, were that ignored, by its similarities."""
    task = GroupComposition(group=group)
    model = CONFIG.build(task, seed)
    found = find_key_irreps(model, task)
    assert found.names == ()
    assert found.rule.startswith("none: the test accuracy")
    acts, values = similarities(model, task)
    assert not (values > (5 * similarity_by_chance(acts)).clamp_min(0.005))[1:].any()


def test_the_uncalibrated_threshold_would_find_some():
    found = 0
    for seed in range(4):
        task = GroupComposition(group="Q8")
        _, values = similarities(CONFIG.build(task, seed), task)
        found += int((values[1:] > 0.005).sum())
    assert found > 0


@pytest.mark.parametrize("group", ["Q8", "A4", "S4", "C7", "Dic3"])
def test_a_network_that_computes_with_characters_has_them_as_key_irreps(group):
    finite = finite_group(group)
    every = [irrep.name for irrep in irreps(finite)][1:]
    task = GroupComposition(group=group)
    found = find_key_irreps(solved(finite, every, task), task)
    assert list(found.names) == every
    assert "standard deviations" in found.rule
    faithful = [irrep.name for irrep in irreps(finite) if is_faithful(irrep.character)][-1:]
    if faithful:
        assert find_key_irreps(solved(finite, faithful, task), task).names == tuple(faithful)


def is_faithful(character):
    return int((character > character.max() - 1e-9).sum()) == 1


@pytest.mark.parametrize("config", [CONFIG, TransformerConfig(1, 2, 8, 4, 16)])
@pytest.mark.parametrize("group", ["Q8", "C7"])
def test_similarity_by_chance_is_its_spread_under_random_relabelling(config, group):
    """Against 2,000 permutations of the pairs' targets."""
    task = GroupComposition(group=group, equals_token=isinstance(config, TransformerConfig))
    model = config.build(task, seed=1).to(torch.float64)
    finite, pairs = task.finite_group, task.examples("all")
    with torch.no_grad():
        logits = model(pairs.tokens)[:, -1]
        acts = activations(model, task)
        exact = similarity_by_chance(acts)[1:]
    logits = logits - logits.mean(1, keepdim=True)
    targets = pairs.targets[:, -1]
    characters = torch.stack([irrep.character for irrep in irreps(finite)])[1:]
    rows = characters[:, finite.table[:, finite.inverses]]  # [irrep, target, output]
    products = torch.einsum("pc,ktc->kpt", logits, rows)
    generator = torch.Generator().manual_seed(0)
    draws = []
    for _ in range(2000):
        shuffled = targets[torch.randperm(len(targets), generator=generator)]
        draws.append(products[:, torch.arange(len(targets)), shuffled].sum(1))
    norms = logits.norm() * finite.order * characters.norm(dim=1)
    sampled = (torch.stack(draws) / norms).std(dim=0)
    torch.testing.assert_close(exact, sampled, rtol=0.07, atol=0)  # 4 sd of a sample's spread


def course(**values: list[float]) -> pd.DataFrame:
    rows = [
        (step, "logits/similarity", f"irrep:{name}", value)
        for name, column in values.items()
        for step, value in enumerate(column)
    ]
    return pd.DataFrame(rows, columns=["step", "metric", "component", "value"])


def test_irreps_are_ordered_by_the_step_that_learned_them():
    metrics = course(
        late=[0, 0, 0, 0.2],
        together=[0, 0, 0.1, 0.2],
        larger=[0, 0, 0.3, 0.1],
        never=[0.01, 0.01, 0.01, 0.04],
        almost=[0.04, 0.04, 0.04, 0.045],
        first=[0, 0.06, 0, 0],
    )
    names = ("almost", "first", "larger", "late", "never", "together")
    expected = ["first", "larger", "together", "late", "almost", "never"]
    assert learning_order(metrics, names) == expected
    assert learning_order(metrics.sample(frac=1, random_state=0), names) == expected


def test_of_one_checkpoint_the_order_is_that_of_similarity():
    assert learning_order(course(b=[0.2], a=[0.01], c=[0.4]), ("a", "b", "c")) == ["c", "b", "a"]


def test_published_order_of_learning(published):
    """From the similarities that were published over training."""
    folder = published / "S5_MLP_seed2"
    table = pd.read_csv(folder / "metrics.csv").sort_values("epoch")
    similarity_columns = {
        column: f"irrep:{named[1]}"
        for column in table.columns
        if (named := from_published_column(column)) and named[0] == "logits/similarity"
    }
    rows = table.rename(columns={"epoch": "step", **similarity_columns}).melt(
        "step", list(similarity_columns.values()), "component", "value"
    )
    order = (folder / "key_reps_in_order.txt").read_text().split()
    found = learning_order(rows.assign(metric="logits/similarity"), tuple(sorted(order)))
    assert found == order
