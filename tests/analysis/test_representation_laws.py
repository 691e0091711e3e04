"""The metrics against their definitions, written out over (a, b, c), and the laws they obey."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from analysis.representation.losses import losses_with
from analysis.representation.measure import Metrics, representation_metrics
from analysis.scores import standard_metrics
from interp.models.config import BilinearConfig, MLPConfig, ModelConfig, TransformerConfig
from tasks.composition import GroupComposition
from tasks.groups import FiniteGroup, finite_group, irreps

CONFIGS = {
    "mlp": MLPConfig(d_embed=6, d_mlp=7),
    "biased mlp": MLPConfig(d_embed=6, d_mlp=7, bias=True),
    "bilinear": BilinearConfig(d_embed=6),
    "transformer": TransformerConfig(n_heads=2, d_model=8, d_head=4, d_mlp=10),
    "two layers": TransformerConfig(n_layers=2, n_heads=2, d_model=8, d_head=4, d_mlp=10),
}
GROUPS = ("C7", "Q8", "A4", "S4", "Dic3")


def make(config: ModelConfig, group: str) -> tuple[Any, GroupComposition]:
    """An untrained network, its weights large enough that its logits are nothing like uniform."""
    is_transformer = isinstance(config, TransformerConfig)
    task = GroupComposition(group=group, split_seed=3, equals_token=is_transformer)
    model = config.build(task, seed=5).to(torch.float64)
    with torch.no_grad():
        for name, weights in model.named_parameters():
            weights.mul_(2)
            if name == "b_in":
                weights.add_(torch.linspace(-1, 1, len(weights)))
    return model, task


def key_irreps(group: FiniteGroup) -> tuple[str, ...]:
    return tuple(irrep.name for irrep in irreps(group)[1:3])


@torch.no_grad()
def by_definition(model: Any, task: GroupComposition, key: tuple[str, ...]) -> Metrics:
    """Everything from dense projections on the n^2 pairs and trace tensors of n^3 entries."""
    group, n = task.finite_group, task.finite_group.order
    logits, hidden, readout, skip_logits = dissect(model, task)
    a, b = torch.arange(n**2) // n, torch.arange(n**2) % n
    ab = group.table[a, b]
    train = task.indices("train")
    centred, cells = logits - logits.mean(1, keepdim=True), group.table[ab][:, group.inverses]
    varied = hidden - hidden.mean(0)
    metrics: dict[str, dict[str, float]] = {}
    parts: dict[str, dict[str, Tensor]] = {"logits": {}, "hidden": {}}

    def put(metric: str, irrep: str, value: Tensor) -> None:
        metrics.setdefault(metric, {})["irrep:" + irrep if irrep else ""] = float(value)

    for irrep in irreps(group):
        kernel = irrep.character[group.table[group.inverses]]
        kernel = kernel * irrep.dimension / (irrep.endomorphism_dimension * n)
        for side, label in (("a", a), ("b", b), ("ab", ab)):
            projection = kernel[label][:, label] / n
            share = (projection @ varied).square().sum() / varied.square().sum()
            put(f"hidden_{side}/fve", irrep.name, share)
        parts["hidden"][irrep.name] = kernel[ab][:, ab] / n @ hidden @ readout
        put("unembed/fve", irrep.name, share_of(kernel, readout.T))
        cube = irrep.character[cells]
        parts["logits"][irrep.name] = (centred * cube).sum() / cube.square().sum() * cube
        cosine = (centred * cube).sum() / (centred.norm() * cube.norm())
        put("logits/similarity", irrep.name, cosine)
    for part in parts.values():
        part[""] = sum((part[name] for name in key), torch.zeros_like(logits))
    for kind, baseline, kept in (
        ("logits", logits, 0 * logits),
        ("hidden", hidden @ readout, 0 * logits),
        ("model", logits, skip_logits),
    ):
        for name, part in parts["logits" if kind == "logits" else "hidden"].items():
            excluded, restricted = (baseline - part)[train], kept + part
            put(f"{kind}/excluded_loss", name, cross_entropy(excluded, ab[train]))
            put(f"{kind}/restricted_loss", name, cross_entropy(restricted, ab))
    mean_kept = skip_logits + parts["hidden"][""] + hidden.mean(0) @ readout
    put("model/restricted_loss_mean_kept", "", cross_entropy(mean_kept, ab))
    del metrics["logits/similarity"]["irrep:trivial"]
    del metrics["logits/excluded_loss"]["irrep:trivial"]
    del metrics["logits/restricted_loss"]["irrep:trivial"]
    return metrics


def dissect(model: Any, task: GroupComposition) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Logits, hidden layer, readout and the logits of the skip path, by the hooks."""
    logits, cache = model.run_with_cache(task.examples("all").tokens)
    hidden = cache[[name for name in cache if name.endswith("mlp.hook_post")][-1]]
    logits = logits[:, -1]
    if not hasattr(model, "blocks"):
        return logits, hidden, model.W_U, torch.zeros_like(logits)
    skip = cache["resid_mid", -1][:, -1]
    return logits, hidden[:, -1], model.blocks[-1].mlp.W_out @ model.W_U, skip @ model.W_U


def share_of(projection: Tensor, weights: Tensor) -> Tensor:
    return (projection @ weights).square().sum() / weights.square().sum()


def assert_same(measured: Metrics, expected: Metrics, tolerance: float = 1e-9) -> None:
    for metric, values in expected.items():
        for component, value in values.items():
            found = measured[metric][component]
            assert found == pytest.approx(value, rel=tolerance, abs=1e-12), (metric, component)


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
@pytest.mark.parametrize("group", GROUPS)
def test_metrics_are_their_definitions(config, group):
    model, task = make(config, group)
    key = key_irreps(task.finite_group)
    measured = representation_metrics(model, task, key)
    assert_same(measured, by_definition(model, task, key))
    assert_same(measured, {k: {"": v} for k, v in standard_metrics(model, task).items()})


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
def test_logits_hundreds_apart_are_measured_without_overflow(config):
    model, task = make(config, "S4")
    with torch.no_grad():
        for weights in model.parameters():
            weights.mul_(20)
    key = key_irreps(task.finite_group)
    measured = representation_metrics(model, task, key)
    assert measured["loss/all"][""] > 1000  # exp overflows at 710
    assert_same(measured, by_definition(model, task, key))


def test_losses_far_below_rounding_are_exact():
    logits = torch.tensor([[[0.0, -50.0, -60.0]]], dtype=torch.float64)
    shifts = torch.tensor([[[0.0, 0.0, 0.0]], [[10.0, -20.0, 0.0]]], dtype=torch.float64)
    losses = losses_with(logits, shifts, torch.tensor([0])).flatten()
    margins = torch.tensor([[-50.0, -60.0], [-80.0, -70.0]], dtype=torch.float64)
    torch.testing.assert_close(losses, margins.exp().sum(1), rtol=1e-14, atol=0)


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
@pytest.mark.parametrize("group", GROUPS)
def test_plancherel(config, group):
    """Over all irreps, the shares of the weights sum to 1; those of the hidden layer to less."""
    model, task = make(config, group)
    metrics = representation_metrics(model, task, ())
    for weights in ("embed_a", "embed_b", "unembed"):
        shares = [v for irrep, v in metrics[f"{weights}/fve"].items() if irrep]
        assert sum(shares) == pytest.approx(1, abs=1e-12)
    everything = tuple(irrep.name for irrep in irreps(task.finite_group))
    hidden = representation_metrics(model, task, everything)["hidden/fve"][""]
    assert 0 < hidden < 1 + 1e-12


def test_excluding_nothing_leaves_the_loss_and_restricting_to_nothing_is_uniform():
    model, task = make(CONFIGS["transformer"], "Q8")
    metrics = representation_metrics(model, task, ())
    loss, log_n = metrics["loss/train"][""], float(torch.tensor(8.0, dtype=torch.float64).log())
    assert metrics["logits/excluded_loss"][""] == pytest.approx(loss, rel=1e-12)
    assert metrics["model/excluded_loss"][""] == pytest.approx(loss, rel=1e-12)
    assert metrics["hidden/restricted_loss"][""] == pytest.approx(log_n, rel=1e-12)
    assert metrics["embed_a/fve"][""] == 0


@pytest.mark.parametrize("name", ["mlp", "biased mlp", "bilinear"])
def test_without_a_skip_path_model_and_hidden_losses_are_equal(name):
    model, task = make(CONFIGS[name], "A4")
    metrics = representation_metrics(model, task, key_irreps(task.finite_group))
    for loss in ("excluded_loss", "restricted_loss"):
        assert metrics[f"model/{loss}"] == metrics[f"hidden/{loss}"]


@pytest.mark.parametrize("name", ["mlp", "bilinear"])
def test_relabelling_the_elements_changes_nothing(name):
    model, task = make(CONFIGS[name], "Dic3")
    group, n = task.finite_group, task.finite_group.order
    order = torch.randperm(n, generator=torch.Generator().manual_seed(0))  # new -> old
    to_new = order.argsort()
    table = to_new[group.table[order][:, order]]
    relabelled = FiniteGroup.from_table(table, name="relabelled")
    key = tuple(irrep.name for irrep in irreps(group) if irrep.dimension == 4)
    before = representation_metrics(model, replace(task, train_fraction=1.0), key)
    with torch.no_grad():
        model.W_E_a[:] = model.W_E_a[order]
        model.W_E_b[:] = model.W_E_b[order]
        model.W_U[:] = model.W_U[:, order]
    new_task = replace(task, group=relabelled.definition, train_fraction=1.0)
    new_names = {
        new.name: old.name
        for new in irreps(relabelled)
        for old in irreps(group)
        if torch.allclose(new.character, old.character[order], atol=1e-9)
    }
    assert sorted(new_names.values()) == sorted(irrep.name for irrep in irreps(group))
    new_key = tuple(new for new, old in new_names.items() if old in key)
    after = representation_metrics(model, new_task, new_key)
    renamed = {
        metric: {
            f"irrep:{new_names[component[6:]]}" if component else "": value
            for component, value in values.items()
        }
        for metric, values in after.items()
    }
    assert_same(renamed, before, tolerance=1e-8)


def test_a_change_of_basis_of_the_representations_changes_nothing(monkeypatch):
    from analysis.representation import harmonics as module

    model, task = make(CONFIGS["mlp"], "S4")
    key = key_irreps(task.finite_group)
    before = representation_metrics(model, task, key)
    basis = module.fourier_basis(finite_group("S4"))
    turned = torch.zeros_like(basis.matrix)
    generator = torch.Generator().manual_seed(0)
    for block in basis.blocks:
        size = block.stop - block.start
        draw = torch.randn(size, size, dtype=torch.float64, generator=generator)
        turned[:, block] = basis.matrix[:, block] @ torch.linalg.qr(draw).Q
    assert not torch.allclose(turned, basis.matrix)
    monkeypatch.setattr(module, "fourier_basis", lambda group: replace(basis, matrix=turned))
    module.harmonics.cache_clear()
    assert_same(representation_metrics(model, task, key), before)
    module.harmonics.cache_clear()


def test_small_blocks_and_tiles_give_the_same_numbers(monkeypatch):
    from analysis.representation import activations as module

    model, task = make(CONFIGS["transformer"], "S4")
    key = key_irreps(task.finite_group)
    before = representation_metrics(model, task, key)
    monkeypatch.setattr(module, "KEPT_BYTES", 0)
    monkeypatch.setattr(module, "AT_ONCE_BYTES", {"cpu": 2 * 8 * 24**2})
    assert_same(representation_metrics(model, task, key), before)


def test_the_model_is_left_as_it_is():
    model, task = make(CONFIGS["mlp"], "C7")
    model = model.to(torch.float32)
    weights = {name: weight.clone() for name, weight in model.named_parameters()}
    representation_metrics(model, task)
    assert all(torch.equal(weights[name], weight) for name, weight in model.named_parameters())
    assert all(weight.dtype == torch.float32 for weight in model.parameters())


def test_without_test_pairs_there_are_no_test_metrics():
    model, task = make(CONFIGS["mlp"], "C7")
    metrics = representation_metrics(model, replace(task, train_fraction=1.0), ())
    assert metrics["loss/train"][""] == pytest.approx(metrics["loss/all"][""], rel=1e-12)
    assert not {"loss/test", "accuracy/test", "progress/test_to_restricted"} & set(metrics)
