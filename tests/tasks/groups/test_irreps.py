"""Irreps: laws, types, names, and character tables from the literature."""

import json
from math import sqrt
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.groups import find_irrep, finite_group, irreps, isotypic_projection
from tasks.groups.commutant import irreps_from_commutant
from tasks.groups.irrep import IrrepError, check_complete, irrep_from_matrices
from tasks.groups.tensors import computed_irreps

PUBLISHED = Path(__file__).parents[4] / "shared" / "reference" / "published"
SMALL = ["C1", "C2", "C5", "C12", "C113", "D1", "D2", "D4", "D6", "D59", "S1", "S2", "S3", "S4"]
SMALL += ["S5", "S5@published", "A1", "A2", "A3", "A4", "A5", "A5@published", "A6", "Q8", "Q16"]
SMALL += ["Dic5", "C2xS4", "C3xQ8", "(0 1 2 3 4),(0 1)", "(0 1 2),(3 4)", "S6@published"]
LARGE = [pytest.param(name, marks=pytest.mark.slow) for name in ("A7", "S7")]


@pytest.mark.parametrize("name", [*SMALL, *LARGE])
def test_homomorphism_orthogonality_and_completeness(name):
    group = finite_group(name)
    everything = torch.arange(group.order)
    for irrep in irreps(group):
        for b in {0, 1, group.order // 2, group.order - 1} & set(everything.tolist()):
            products = irrep.matrices @ irrep.matrices[b]
            torch.testing.assert_close(
                irrep.matrices[group.table[:, b]], products, atol=1e-12, rtol=0
            )
        eye = torch.eye(irrep.dimension, dtype=torch.float64).expand_as(irrep.matrices)
        squared = irrep.matrices @ irrep.matrices.mT
        torch.testing.assert_close(squared, eye, atol=1e-12, rtol=0)
        traces = torch.einsum("gii->g", irrep.matrices)
        torch.testing.assert_close(irrep.character, traces, atol=1e-12, rtol=0)
    assert sum(i.dimension**2 / i.endomorphism_dimension for i in irreps(group)) == group.order
    assert irreps(group)[0].name == "trivial"
    assert (irreps(group)[0].matrices - 1).abs().max() < 1e-12
    assert len({irrep.name for irrep in irreps(group)}) == len(irreps(group))


@pytest.mark.parametrize("name", ["S4", "A4", "A5", "D6", "Q8", "C3xQ8", "Dic5", "S5@published"])
def test_schur_orthogonality_and_number_of_irreps(name):
    group = finite_group(name)
    characters = torch.stack([irrep.character for irrep in irreps(group)])
    norms = torch.tensor([i.endomorphism_dimension for i in irreps(group)]).double()
    gram = characters @ characters.T / group.order
    torch.testing.assert_close(gram, norms.diag(), atol=1e-12, rtol=0)
    pairs = torch.stack([group.classes, group.classes[group.inverses]]).sort(dim=0).values
    assert len(irreps(group)) == len(set(zip(*pairs.tolist(), strict=True)))
    for irrep in irreps(group):  # constant on classes
        for c in range(len(group.class_sizes)):
            assert irrep.character[group.classes == c].std(unbiased=False) < 1e-12


TYPES = {
    "C5": {(1, "real"): 1, (2, "complex"): 2},
    "C6": {(1, "real"): 2, (2, "complex"): 2},
    "D4": {(1, "real"): 4, (2, "real"): 1},
    "Q8": {(1, "real"): 4, (4, "quaternionic"): 1},
    "A4": {(1, "real"): 1, (3, "real"): 1, (2, "complex"): 1},
    "A5": {(1, "real"): 1, (4, "real"): 1, (5, "real"): 1, (3, "real"): 2},
    "A6": {(1, "real"): 1, (5, "real"): 2, (8, "real"): 2, (9, "real"): 1, (10, "real"): 1},
    "Dic5": {(1, "real"): 2, (2, "real"): 2, (2, "complex"): 1, (4, "quaternionic"): 2},
    "C3xQ8": {(1, "real"): 4, (2, "complex"): 4, (4, "quaternionic"): 1, (4, "complex"): 1},
    "A7": {(d, "real"): 2 if d == 14 else 1 for d in (1, 6, 14, 15, 21, 35)} | {(20, "complex"): 1},
}


@pytest.mark.parametrize("name", TYPES)
def test_types(name):
    found: dict = {}
    for irrep in irreps(finite_group(name)):
        key = irrep.dimension, irrep.kind
        found[key] = found.get(key, 0) + 1
    assert found == TYPES[name]


PHI = (1 + sqrt(5)) / 2
# Fulton and Harris, Representation Theory, sections 2.3 and 3.1; James and Kerber, appendix I.
CHARACTERS = {
    "S4": (
        ["()", "(0 1)", "(0 1)(2 3)", "(0 1 2)", "(0 1 2 3)"],
        {
            "trivial": [1, 1, 1, 1, 1],
            "sign": [1, -1, 1, 1, -1],
            "standard": [3, 1, -1, 0, -1],
            "standard_sign": [3, -1, -1, 0, 1],
            "[2,2]": [2, 0, 2, -1, 0],
        },
    ),
    "S5": (
        ["()", "(0 1)", "(0 1)(2 3)", "(0 1 2)", "(0 1 2)(3 4)", "(0 1 2 3)", "(0 1 2 3 4)"],
        {
            "trivial": [1, 1, 1, 1, 1, 1, 1],
            "sign": [1, -1, 1, 1, -1, -1, 1],
            "standard": [4, 2, 0, 1, -1, 0, -1],
            "standard_sign": [4, -2, 0, 1, 1, 0, -1],
            "[2,2,1]": [5, -1, 1, -1, -1, 1, 0],
            "[3,2]": [5, 1, 1, -1, 1, -1, 0],
            "[3,1,1]": [6, 0, -2, 0, 0, 0, 1],
        },
    ),
    "A5": (
        ["()", "(0 1)(2 3)", "(0 1 2)", "(0 1 2 3 4)", "(0 2 4 1 3)"],
        {
            "trivial": [1, 1, 1, 1, 1],
            "standard": [4, 0, 1, -1, -1],
            "5d_a": [5, 1, -1, 0, 0],
            "3d_a": [3, -1, 0, PHI, 1 - PHI],
            "3d_b": [3, -1, 0, 1 - PHI, PHI],
        },
    ),
    "Q8": (
        ["e", "r^2", "r", "s", "r s"],
        {
            "trivial": [1, 1, 1, 1, 1],
            "1d_a": [1, 1, 1, -1, -1],
            "1d_b": [1, 1, -1, 1, -1],
            "1d_c": [1, 1, -1, -1, 1],
            "4d_a": [4, -4, 0, 0, 0],
        },
    ),
    "D4": (
        ["e", "r^2", "r", "s", "r s"],
        {
            "trivial": [1, 1, 1, 1, 1],
            "sign": [1, 1, 1, -1, -1],
            "1d_a": [1, 1, -1, 1, -1],
            "1d_b": [1, 1, -1, -1, 1],
            "freq_1": [2, -2, 0, 0, 0],
        },
    ),
}
CHARACTERS |= {f"{name}@published": CHARACTERS[name] for name in ("S4", "S5", "A5")}


@pytest.mark.parametrize("name", CHARACTERS)
def test_character_tables(name):
    group, (elements, table) = finite_group(name), CHARACTERS[name]
    indices = [group.element_names.index(element) for element in elements]
    found = {i.name: i.character[indices] for i in irreps(group)}
    assert list(found) == list(table)  # in the published order
    for irrep, character in table.items():
        expected = torch.tensor(character, dtype=torch.float64)
        torch.testing.assert_close(found[irrep], expected, atol=1e-12, rtol=0)


def test_characters_of_the_two_published_5d_irreps_of_s6():
    group = finite_group("S6@published")
    elements = ["()", "(0 1)", "(0 1)(2 3)(4 5)", "(0 1 2)", "(0 1 2)(3 4 5)", "(0 1 2 3 4 5)"]
    indices = [group.element_names.index(element) for element in elements]
    for name, character in {
        "s6_5d_a": [5, 1, -3, -1, 2, 0],
        "s6_5d_b": [5, -1, 3, -1, 2, 0],
    }.items():
        found = find_irrep(group, name).character[indices]
        assert found.round().tolist() == character


def test_cyclic_and_dihedral_frequencies():
    group = finite_group("C12")
    names = ["trivial", "sign", *(f"freq_{k}" for k in range(1, 6))]
    assert [irrep.name for irrep in irreps(group)] == names
    for k in range(1, 6):
        expected = 2 * torch.cos(2 * torch.pi * k * torch.arange(12).double() / 12)
        character = find_irrep(group, f"freq_{k}").character
        torch.testing.assert_close(character, expected, atol=1e-12, rtol=0)
    reflected = find_irrep(finite_group("D59"), "freq_3").matrices[59 + 2]
    angle = torch.tensor(2 * torch.pi * 3 * 2 / 59, dtype=torch.float64)
    c, s = angle.cos(), angle.sin()  # published form of r^j s: [[cos, sin], [sin, -cos]]
    expected = torch.stack([c, s, s, -c]).reshape(2, 2)
    torch.testing.assert_close(reflected, expected, atol=1e-12, rtol=0)
    assert [i.name for i in irreps(finite_group("D2"))] == ["trivial", "sign", "1d_a", "1d_b"]


PUBLISHED_NAMES = {
    "S4": ["trivial", "sign", "standard", "standard_sign", "s4_2d"],
    "S5": ["trivial", "sign", "standard", "standard_sign", "s5_5d_a", "s5_5d_b", "s5_6d"],
    "S6": ["trivial", "sign", "standard", "standard_sign", "s6_5d_a", "s6_5d_b", *[None] * 5],
    "A5": ["trivial", "standard", "a5_5d_a", "a5_3d_a", "a5_3d_b"],
    "A4": [None] * 3,
    "D6": [None] * 6,
    "D5": ["trivial", "sign", "freq_1", "freq_2"],
    "C4": ["trivial", "sign", "freq_1"],
}


@pytest.mark.parametrize("name", PUBLISHED_NAMES)
def test_published_names(name):
    group = finite_group(name)
    assert [irrep.published_name for irrep in irreps(group)] == PUBLISHED_NAMES[name]
    for irrep in irreps(group):
        assert find_irrep(group, irrep.name) is irrep
        assert find_irrep(group, irrep.published_name or irrep.name) is irrep


def test_partitions_name_the_rest():
    names = [irrep.name for irrep in irreps(finite_group("S6"))]
    assert names[4:6] == ["[3,3]", "[2,2,2]"]
    assert names[6:] == ["[4,2]", "[2,2,1,1]", "[4,1,1]", "[3,1,1,1]", "[3,2,1]"]
    a4 = irreps(finite_group("A4"))
    assert [irrep.name for irrep in a4] == ["trivial", "standard", "2d_a"]


BOTH_WAYS = ["C1", "C12", "C113", "D1", "D4", "D59", "S3", "S4", "S5", "S5@published", "A3", "A4"]
BOTH_WAYS += ["A5", "A5@published", "A6", pytest.param("S6", marks=pytest.mark.slow)]


@pytest.mark.parametrize("name", BOTH_WAYS)
def test_closed_forms_agree_with_the_general_algorithm(name):
    group = finite_group(name)
    ours = sorted(_rounded_characters(computed_irreps(group)))
    assert ours == sorted(_rounded_characters(irreps_from_commutant(group, seed=3)))


@settings(deadline=None, max_examples=10)
@given(st.permutations(range(8)))
def test_relabelling_the_elements_permutes_the_characters(relabel):
    group, relabel = finite_group("Q8"), torch.tensor(relabel)
    table = torch.empty_like(group.table)
    table[relabel[:, None], relabel] = relabel[group.table]
    relabelled = irreps_from_commutant(type(group).from_table(table))
    characters = {tuple(irrep.character[relabel].round().int().tolist()) for irrep in relabelled}
    assert characters == set(_rounded_characters(irreps(group), digits=0))


def test_seed_changes_the_basis_only():
    group = finite_group("C2xS4")
    one, two = irreps_from_commutant(group, seed=1), irreps_from_commutant(group, seed=2)
    for a, b in zip(one, two, strict=True):
        torch.testing.assert_close(a.character, b.character, atol=1e-10, rtol=0)
    assert any((a.matrices - b.matrices).abs().max() > 1e-3 for a, b in zip(one, two, strict=True))


def test_near_degenerate_draws_are_refused(monkeypatch):
    monkeypatch.setattr(torch, "randn", lambda n, **_: 1e-8 * torch.arange(n).double())
    monkeypatch.setattr("tasks.groups.commutant._DISTINCT", 10.0)
    with pytest.raises(IrrepError, match="near-degenerate eigenvalues in each of 20"):
        irreps_from_commutant(finite_group("S3"))


def test_defective_irreps_are_refused():
    group = finite_group("S4")
    with pytest.raises(IrrepError, match="ranks sum to 23"):
        check_complete(group, irreps(group)[1:])
    twice = [irrep for irrep in irreps(group) if irrep.name != "standard"]
    with pytest.raises(IrrepError, match="not complete"):
        check_complete(group, [*twice, find_irrep(group, "standard_sign")])
    sign = find_irrep(group, "sign").matrices
    with pytest.raises(IrrepError, match="not irreducible"):
        irrep_from_matrices(group, "sum", torch.block_diag(*[torch.ones(1)] * 2) * sign)


RUNS = ["S5_MLP_seed1", "S5_MLP_seed4", "S6_MLP_seed1"]


@pytest.mark.skipif(not PUBLISHED.is_dir(), reason=f"no published runs in {PUBLISHED}")
@pytest.mark.parametrize("run", RUNS)
def test_published_shares_of_the_embedding(run):
    """Order, irreps, names and projection at once: the published percent_x_embed of each irrep."""
    weights = torch.load(PUBLISHED / run / "model.pt", weights_only=True, map_location="cpu")
    summary = json.loads((PUBLISHED / run / "summary_metrics.json").read_text())
    group = finite_group(run.split("_")[0], order="published")
    embedding = (weights["W_x"] @ weights["W"][: weights["W_x"].shape[1]]).double()
    total = embedding.square().sum()
    shares = {
        irrep: isotypic_projection(irrep, group, embedding).square().sum() / total
        for irrep in irreps(group)
    }
    assert float(torch.stack(list(shares.values())).sum()) == pytest.approx(1, abs=1e-12)
    named = {irrep.published_name: share for irrep, share in shares.items() if irrep.published_name}
    for name, share in named.items():
        published = summary[f"percent_x_embed_{name}_rep"]
        assert float(share) == pytest.approx(published, rel=1e-4, abs=1e-9)


@pytest.mark.skipif(not PUBLISHED.is_dir(), reason=f"no published runs in {PUBLISHED}")
def test_the_one_3d_irrep_that_the_a5_transformer_learned():
    """The corrected key irreps of A5_T_seed2 are a5_3d_a alone: the labels a and b are right."""
    weights = torch.load(
        PUBLISHED / "A5_T_seed2" / "model.pt", weights_only=True, map_location="cpu"
    )
    group = finite_group("A5", order="published")
    embedding = weights["embed.W_E"][:60].double()
    share = {
        name: isotypic_projection(find_irrep(group, name), group, embedding).square().sum()
        / embedding.square().sum()
        for name in ("a5_3d_a", "a5_3d_b")
    }
    assert share["a5_3d_a"] > 0.9 > 0.1 > share["a5_3d_b"]


def _rounded_characters(found, digits: int = 6) -> list[tuple[float, ...]]:
    return [tuple((irrep.character.round(decimals=digits) + 0.0).tolist()) for irrep in found]
