"""Coefficients of irreps: laws of the subspaces, differences of a table made by hand, the whole."""

from dataclasses import replace

import pandas as pd
import pytest
import torch

import paper.llc_irreps as experiment
from analysis.llc import NetworkLandscape
from analysis.llc.parts import restriction_to
from analysis.llc.restriction import positions
from interp.arguments import UsageError
from interp.models.config import MLPConfig
from interp.progress import progress
from interp.runs.recipe import AdamW, Recipe, Schedule
from interp.runs.run import Run
from paper.llc_irreps import Options, compare, projected, restricted, subspaces
from paper.llc_irreps_page import differences, page
from tasks.composition import GroupComposition

S3 = GroupComposition("S3", train_fraction=0.8)
MODEL = MLPConfig(d_embed=4, d_mlp=6)
SMALL = replace(experiment.CONFIG, chains=2, draws=4, burn_in=3, full_every=2)


@pytest.fixture
def landscape() -> NetworkLandscape:
    return NetworkLandscape(MODEL.build(S3, 0).eval(), S3.examples("train"), dtype=torch.float64)


def test_a_shift_of_all_logits_has_coefficient_0(landscape):
    found = {
        irrep: next(
            experiment._estimates(
                landscape, restriction_to(f"irrep:{irrep}@unembed", landscape, S3), SMALL
            )
        )["estimate"]
        for irrep in ("trivial", "standard")
    }
    assert found["trivial"] == pytest.approx(0, abs=1e-10)
    assert abs(found["standard"]) > 1e-3


def test_the_projections_on_all_irreps_sum_to_the_matrices(landscape):
    centres = landscape.centres
    where = positions(landscape.layout)
    moved = torch.cat([where[name].flatten() for name in ("W_E_a", "W_E_b", "W_U")])
    total = torch.zeros_like(centres)
    for irrep in ("trivial", "sign", "standard"):
        restriction = restriction_to(f"irrep:{irrep}@embed+unembed", landscape, S3)
        found = projected(centres, restriction)
        torch.testing.assert_close(projected(found, restriction), found)
        still = torch.ones(centres.shape[1], dtype=torch.bool)
        still[moved] = False
        assert (found[:, still] == centres[:, still]).all()
        total += found
    torch.testing.assert_close(total[:, moved], centres[:, moved])


def test_the_trivial_part_of_an_embedding_is_its_mean(landscape):
    restriction = restriction_to("irrep:trivial@embed_a", landscape, S3)
    where = positions(landscape.layout)["W_E_a"][: S3.finite_group.order]
    found = projected(landscape.centres, restriction)[0, where]
    mean = landscape.centres[0, where].mean(dim=0)
    torch.testing.assert_close(found, mean.expand_as(found))


def test_each_rank_of_a_key_irrep_has_its_random_subspaces():
    names = subspaces(GroupComposition("S4"), ["standard", "[2,2]"])
    assert len(names) == len(set(names)) == 5 + 2 * 5
    ranks = [name.split(":")[1] for name in names if name.startswith("random:")]
    assert sorted(ranks) == ["4"] * 5 + ["9"] * 5
    assert subspaces(GroupComposition("S4"), []) == []


def test_a_restricted_network_is_a_minimum_of_the_divergence_from_its_own_answers(tmp_path):
    run = made_run(tmp_path)
    for loss, is_zero in (("task", False), ("kl", True)):
        landscape, restriction = restricted(run, "irrep:standard@embed+unembed", loss)
        torch.testing.assert_close(projected(landscape.centres, restriction), landscape.centres)
        weights = landscape.centres[:, None].clone().requires_grad_()
        everything = torch.arange(landscape.n_examples)[None]
        value = landscape.losses(weights, everything).mean()
        (gradient,) = torch.autograd.grad(value, weights)
        assert (abs(float(value.detach())) < 1e-6) == is_zero
        assert (float(gradient.norm()) < 1e-6) == is_zero


def made_run(folder) -> Run:
    run = Run.create(folder / "run", Recipe(S3, MODEL, AdamW(), Schedule(steps=10)))
    run.save_weights(10, MODEL.build(S3, 1).state_dict())
    return run


def row(seed: int, kind: str, rank: int, estimate: float, **others) -> dict:
    plain = {"step": 10, "matrices": "embed", "loss": "task", "localization": 0.5, "failures": ""}
    subspace = f"random:{rank}:0" if kind == "random" else f"irrep:{kind}_{rank}"
    made = {"seed": seed, "kind": kind, "rank": rank, "subspace": subspace, "estimate": estimate}
    return plain | made | {"dimensions": 10 * rank, "similarity": 0.5, "initial_loss": 0.1} | others


def test_differences_are_between_equal_ranks_of_one_network_at_the_end():
    table = pd.DataFrame(
        [
            row(0, "key", 9, 9.0),  # 0.1 for each dimension
            row(0, "random", 9, 27.0),
            row(0, "random", 9, 45.0),  # with the other, 0.4
            row(0, "unused", 1, 5.0),  # of another rank
            row(1, "key", 9, 9.0),
            row(1, "key", 4, 4.0),
            row(1, "random", 9, 18.0),
            row(1, "random", 4, 12.0),  # 0.2 and 0.3: a mean difference of 0.15
            row(1, "unused", 9, 45.0),
            row(1, "key", 9, 900.0, step=5),
        ]
    )
    found = differences(table).set_index(["first", "second"])
    beside_random = found.loc[("key", "random")]
    assert beside_random["networks"] == 2
    assert beside_random["mean"] == pytest.approx((-0.3 - 0.15) / 2)
    half = 12.706 * 0.075  # Student's t with one degree of freedom; standard error 0.15 / 2
    assert beside_random["high"] - beside_random["mean"] == pytest.approx(half, rel=1e-3)
    beside_unused = found.loc[("key", "unused")]
    assert beside_unused["networks"] == 1
    assert beside_unused["mean"] == pytest.approx(-0.4)
    assert beside_unused["share"] == pytest.approx(-0.8)
    assert pd.isna(beside_unused["low"])


def test_the_page_counts_what_failed():
    rows = [row(s, kind, 9, 9.0) for s in range(2) for kind in ("key", "random", "trivial")]
    rows += [row(0, "key", 9, 5.0, matrices="embed+unembed", loss=loss) for loss in ("task", "kl")]
    rows[0]["failures"] = "localization minimum"
    rows[-2]["failures"] = "minimum"
    text = page(pd.DataFrame(rows), "settings", 3)
    assert "2 networks, and 3 that did not generalise" in text
    assert "6 of 8 numbers pass all checks" in text and "minimum 2, localization 1" in text
    assert "| key | 9 | 90 | 0.10 | 0 of 1 | 5.0 | 5.0 | 1 of 1 |" in text


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = Recipe(S3, MODEL, AdamW(), Schedule(steps=20, checkpoints=3, log_every=10))
    monkeypatch.setattr(experiment, "RECIPE", recipe)
    monkeypatch.setattr(experiment, "FIRST_STEP", 2)
    monkeypatch.setattr(experiment, "STRONGER", (1.5,))
    monkeypatch.setattr(experiment, "MATRICES", ("unembed",))
    monkeypatch.setattr(experiment, "CONFIG", SMALL)
    monkeypatch.setattr(experiment, "JOINT_CONFIG", SMALL)


@pytest.mark.usefixtures("small")
def test_a_table_a_page_and_a_picture(tmp_path, monkeypatch):
    drawn = {}
    monkeypatch.setattr(experiment, "write_static", drawn.update)
    summary = Run.summary
    monkeypatch.setattr(Run, "summary", lambda run: summary(run) | {"key_irreps": ["standard"]})
    options = Options(to=tmp_path / "runs", out=tmp_path / "out", seeds="0", quiet=True)
    with progress(quiet=True) as show:
        assert compare(options, show) == 0
    table = pd.read_csv(tmp_path / "out" / "llc_irreps.csv", keep_default_na=False)
    kinds = table.groupby("kind")["subspace"].nunique().to_dict()
    assert kinds == {"key": 1, "random": 5, "trivial": 1, "unused": 1}
    steps = table.query("localization == 0.5 and loss == 'task'").groupby("subspace")["step"]
    n_steps = steps.nunique().to_dict()
    assert n_steps["irrep:sign"] == n_steps["random:4:0"] == 2  # 4 and 20
    assert n_steps["random:4:1"] == 1
    is_kl = table["loss"] == "kl"
    assert set(table.loc[is_kl, "matrices"]) == {"embed+unembed"}
    assert table.loc[is_kl, "initial_loss"].abs().max() < 1e-6
    similarity = table.set_index("subspace")["similarity"]
    assert (similarity["irrep:standard"] != "").all() and (similarity["random:4:0"] == "").all()
    (figure,) = drawn.values()
    names = {line.name for line in figure.data}
    assert {"standard, key", "sign, unused", "trivial, trivial", "random"} <= names


@pytest.mark.usefixtures("small")
def test_without_networks_that_generalise_there_is_nothing_to_compare(tmp_path):
    options = Options(to=tmp_path / "runs", out=tmp_path / "out", seeds="0", quiet=True)
    with progress(quiet=True) as show, pytest.raises(UsageError, match="no network generalised"):
        compare(options, show)
