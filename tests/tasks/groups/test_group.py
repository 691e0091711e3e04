"""Groups: the axioms, element orders, conjugacy classes, and what each definition builds."""

import json
from hashlib import md5
from math import factorial

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.groups import FiniteGroup, finite_group
from tasks.groups.families import FAMILIES, parse_member, published_orders
from tasks.groups.permutations import compose, cycle_notation, parse_generators

NAMED = ["C1", "C2", "C12", "D1", "D2", "D4", "D7", "S1", "S2", "S3", "S4", "S4@published"]
NAMED += ["A1", "A2", "A3", "A4", "A5", "A5@published", "Q8", "Q12", "Q16", "Dic1", "Dic5"]
NAMED += ["C2xS3", "C2xC3xC2", "(0 1 2 3),(0 2)", "[[1,0],[0,1]]"]


@pytest.mark.parametrize("name", NAMED)
def test_axioms_by_brute_force(name):
    group = finite_group(name)
    table, n, everything = group.table.numpy(), group.order, np.arange(group.order)
    assert table.shape == (n, n) and len(group.element_names) == len(set(group.element_names)) == n
    assert (table[table] == table[:, table]).all()  # [a, b, c]: (ab)c = a(bc)
    assert (table[group.identity] == everything).all()
    assert (table[:, group.identity] == everything).all()
    assert (table[everything, group.inverses.numpy()] == group.identity).all()
    assert (table[group.inverses.numpy(), everything] == group.identity).all()


ORDERS = {"C113": 113, "D59": 118, "S6": 720, "A6": 360, "A7": 2520, "Q8": 8, "Q16": 16}
ORDERS |= {"Dic26": 104, "C2xS4": 48, "(0 1 2 3 4),(0 1)": 120, "(0 1 2)(3 4)": 6, "()": 1}


@pytest.mark.parametrize("name, order", ORDERS.items())
def test_order(name, order):
    assert finite_group(name).order == order


@pytest.mark.parametrize("name", ["C6", "D1", "D6", "S1", "S4", "A1", "A2", "A5", "Q12", "Dic3"])
def test_order_known_before_the_table_is_built(name):
    family, size = parse_member(name)
    assert FAMILIES[family].order(size) == finite_group(name).order


def test_defining_relations():
    d = finite_group("D7")
    assert _product(d, "r", "r^6") == "e" and _product(d, "s", "s") == "e"
    assert _product(d, "s", "r", "s") == "r^6" and _product(d, "r^3", "s") == "r^3 s"
    q = finite_group("Q8")
    assert _product(q, "s", "s") == "r^2" == _product(q, "r", "r") != "e"
    assert _product(q, "s", "r") == "r^3 s"
    dic = finite_group("Dic5")
    assert _product(dic, "s", "s") == "r^5" and _product(dic, "s", "r") == "r^9 s"


def test_canonical_orders():
    assert finite_group("C4").element_names == ("0", "1", "2", "3")
    assert finite_group("D3").element_names == ("e", "r", "r^2", "s", "r s", "r^2 s")
    assert finite_group("S3").element_names == (
        "()",
        "(1 2)",
        "(0 1)",
        "(0 1 2)",
        "(0 2 1)",
        "(0 2)",
    )
    assert finite_group("A4").element_names[:4] == ("()", "(1 2 3)", "(1 3 2)", "(0 1)(2 3)")
    assert finite_group("C2xC2").element_names == ("(0, 0)", "(0, 1)", "(1, 0)", "(1, 1)")


@pytest.mark.parametrize("name", ["S4", "S4@published", "S5@published", "A5@published"])
def test_permutations_apply_the_left_factor_first(name):
    group = finite_group(name)
    permutations = [parse_generators(element)[0] for element in group.element_names]
    degree = max(map(len, permutations))
    permutations = [p + tuple(range(len(p), degree)) for p in permutations]
    for a, p in enumerate(permutations):
        for b, q in enumerate(permutations):
            product = permutations[group.table[a, b]]
            assert all(product[i] == q[p[i]] for i in range(degree))


FINGERPRINTS = {  # of the published order: md5 of the list of array forms
    "S3": "395cb0cf",
    "S4": "bdbde508b0c8d0a70f85ec5128d07a68",
    "S5": "dd9af57814236708f30cbc0034b6c6a3",
    "S6": "484e901b0bfe6c9bfcd06d9d2d447b27",
    "A5": "ac17f1a261c6b1a73eb6e864848a95eb",
}


@pytest.mark.parametrize("name, fingerprint", FINGERPRINTS.items())
def test_published_order_fingerprint(name, fingerprint):
    order = published_orders()[name]
    digest = md5(str([list(p) for p in order]).encode(), usedforsecurity=False).hexdigest()
    assert digest.startswith(fingerprint)
    group = finite_group(name, order="published")
    assert group.element_names == tuple(map(cycle_notation, order))


def test_published_identities_and_spot_values():
    identities = {"S3": 0, "S4": 0, "S5": 20, "S6": 60, "A5": 0, "C113": 0, "D59": 0}
    for name, identity in identities.items():
        assert finite_group(name, order="published").identity == identity
    names = finite_group("S5@published").element_names
    spots = {79: "(0 4 3 1)", 47: "(0 2 3)(1 4)", 92: "(0 2 4 1)"}
    spots |= {34: "(0 4 2)(1 3)", 58: "(0 3 1 2 4)"}
    assert {index: names[index] for index in spots} == spots


def test_published_tables_of_cyclic_and_dihedral_groups():
    a, b = 70, 90
    assert finite_group("C113@published").table[a, b] == (a + b) % 113
    assert finite_group("D59@published").table[59 + 5, 8] == 59 + (5 - 8) % 59
    assert finite_group("D59@published").table[59 + 5, 59 + 8] == (5 - 8) % 59


def test_element_orders_relabel_one_group():
    ours, theirs = finite_group("S5"), finite_group("S5@published")
    relabel = torch.tensor([theirs.element_names.index(name) for name in ours.element_names])
    assert torch.equal(relabel[ours.table], theirs.table[relabel][:, relabel])


CLASS_SIZES = {
    "S4": [1, 3, 6, 6, 8],
    "A5": [1, 12, 12, 15, 20],
    "S5": [1, 10, 15, 20, 20, 24, 30],
    "Q8": [1, 1, 2, 2, 2],
    "D4": [1, 1, 2, 2, 2],
    "A4": [1, 3, 4, 4],
    "C5": [1] * 5,
}


@pytest.mark.parametrize("name, sizes", CLASS_SIZES.items())
def test_conjugacy_classes(name, sizes):
    group = finite_group(name)
    assert sorted(group.class_sizes.tolist()) == sizes
    assert group.classes.unique_consecutive()[0] == 0
    firsts = [group.classes.tolist().index(c) for c in range(len(sizes))]
    assert firsts == sorted(firsts)  # numbered by their first element
    for g in range(group.order):
        x = torch.arange(group.order)
        conjugates = group.table[group.table[group.inverses[g], x], g]  # g^-1 x g
        assert torch.equal(group.classes[conjugates], group.classes)


def test_abelian():
    assert finite_group("C12").is_abelian and finite_group("C2xC6").is_abelian
    assert not finite_group("S3").is_abelian and not finite_group("Q8").is_abelian


def test_definitions_rebuild_the_group():
    table = [[0, 1], [1, 0]]
    groups = [finite_group(name) for name in ("S5@published", "C2xS3", "(0 1 2),(3 4)")]
    groups += [FiniteGroup.from_table(table), FiniteGroup.from_table(torch.tensor(table), "Z2")]
    groups += [FiniteGroup.from_permutations([[1, 0], [0, 2, 1]], name="Sym3")]
    for group in groups:
        again = finite_group(group.definition)
        assert again == group and hash(again) == hash(group)
        assert (again.name, again.element_names) == (group.name, group.element_names)
        assert torch.equal(again.table, group.table)


def test_same_definition_same_object():
    assert finite_group("S5") is finite_group(" S5 ") is finite_group("S5@canonical")
    assert finite_group("S5@published") is finite_group("S5", order="published")
    assert finite_group("S5@published") != finite_group("S5")
    assert finite_group("C113", order="published") is finite_group("C113")
    assert finite_group("S5@published").name == "S5"
    assert finite_group("S5@published").definition == "S5@published"


def test_tables_from_files(tmp_path):
    klein = finite_group("C2xC2").table
    (tmp_path / "klein.json").write_text(json.dumps(klein.tolist()))
    np.save(tmp_path / "klein.npy", klein.numpy())
    for file in ("klein.json", "klein.npy"):
        group = finite_group(str(tmp_path / file))
        assert torch.equal(group.table, klein)
        assert group.definition == "[[0,1,2,3],[1,0,3,2],[2,3,0,1],[3,2,1,0]]"


permutation = st.integers(2, 4).flatmap(lambda n: st.permutations(range(n)))


@settings(deadline=None, max_examples=25)
@given(st.lists(permutation, min_size=1, max_size=3))
def test_generated_groups(generators):
    group = FiniteGroup.from_permutations(generators)
    degree = max(map(len, generators))
    assert factorial(degree) % group.order == 0  # Lagrange
    for generator in generators:
        assert cycle_notation(tuple(generator)) in group.element_names
    assert FiniteGroup.from_table(group.table).order == group.order  # it passes the axioms


@given(st.permutations(range(6)), st.permutations(range(6)))
def test_cycle_notation_round_trip(p, q):
    p, q = tuple(p), tuple(q)
    text = f"{cycle_notation(p)}{cycle_notation(q)}(5)"
    assert parse_generators(text) == [compose(p, q)]


def _product(group: FiniteGroup, *factors: str) -> str:
    product = group.identity
    for factor in factors:
        product = group.table[product, group.element_names.index(factor)]
    return group.element_names[int(product)]
