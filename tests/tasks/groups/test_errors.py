"""Bad input: each error says what was given, what is allowed, and what to do."""

import pytest
import torch

from tasks.groups import (
    FiniteGroup,
    NotAGroupError,
    UnknownGroupError,
    UnknownIrrepError,
    find_irrep,
    finite_group,
)

NEAREST = {"S9": "S7", "Z5": "C5", "s5": "S5", "Q10": "Q8", "D0": "D1", "Dihedral4": "D4"}
NEAREST |= {"A12": "A7", "C99999": "C8192", "C2xX3": "C3", "": "C1", "Dicyc3": "Dic3"}


@pytest.mark.parametrize("name, nearest", NEAREST.items())
def test_unknown_group(name, nearest):
    with pytest.raises(UnknownGroupError) as error:
        finite_group(name)
    message = str(error.value)
    assert f"nearest is {nearest}. Allowed: C113 (cyclic)" in message and "\n" not in message


@pytest.mark.parametrize("name", ["A6", "C2xC3", "(0 1)", "Q8"])
def test_no_published_order(name):
    with pytest.raises(ValueError, match="every C and D and for S3, S4, S5, S6, A5"):
        finite_group(name, order="published")


def test_unknown_and_contradicting_orders():
    with pytest.raises(ValueError, match="'sympy'; allowed are canonical and published"):
        finite_group("S5", order="sympy")
    with pytest.raises(ValueError, match="contradicts"):
        finite_group("S5@published", order="canonical")


def test_first_failing_triple():
    table = finite_group("S3").table.clone()
    table[3, 4] = 2
    expected = next(
        (a, b, c)
        for a in range(6)
        for b in range(6)
        for c in range(6)
        if table[table[a, b], c] != table[a, table[b, c]]
    )
    with pytest.raises(NotAGroupError) as error:
        FiniteGroup.from_table(table)
    a, b, c = expected
    left, right = int(table[table[a, b], c]), int(table[a, table[b, c]])
    assert f"(a, b, c) = {expected}, (ab)c = {left} but a(bc) = {right}" in str(error.value)


def test_every_single_wrong_entry_is_found():
    table = finite_group("C2xC2").table
    for a in range(4):
        for b in range(4):
            for wrong in set(range(4)) - {int(table[a, b])}:
                broken = table.clone()
                broken[a, b] = wrong
                with pytest.raises(NotAGroupError):
                    FiniteGroup.from_table(broken)


def test_loop_that_is_no_group():
    """A Latin square with identity and inverses, of prime order, but not associative."""
    loop = [[0, 1, 2, 3, 4], [1, 0, 3, 4, 2], [2, 4, 0, 1, 3], [3, 2, 4, 0, 1], [4, 3, 1, 2, 0]]
    with pytest.raises(NotAGroupError, match="not associative"):
        FiniteGroup.from_table(loop)


BROKEN = {
    "[[0,1],[1,1]]": "element 1 has no inverse",
    "[[0,1],[1,2]]": r"not closed: table\[1\]\[1\] = 2 is no element; allowed are 0 to 1",
    "[[0,1],[0,1]]": "no identity",
    "[[0,1,2],[1,2,0]]": r"shape \(2, 3\); give n rows of n entries",
    "[[0,1],[1]]": "not a square of integers",
    "[]": "shape",
    "[[0.5]]": "give integers",
    "[[99999999999999999999999]]": "not a square of integers",
    "[[0,1],": "not JSON",
    "[[-1]]": "not closed",
}


@pytest.mark.parametrize("table, message", BROKEN.items())
def test_broken_tables(table, message):
    with pytest.raises(NotAGroupError, match=message):
        finite_group(table)


def test_broken_permutations():
    for text in ("(0 1", "(0 1),", "(a b)", "(0, 1)", "(0 99999)"):
        with pytest.raises(ValueError, match="no permutation in cycle notation"):
            finite_group(text)
    with pytest.raises(ValueError, match="names a point twice"):
        finite_group("(0 1 0)")
    with pytest.raises(ValueError, match="no permutation in array form"):
        FiniteGroup.from_permutations([[0, 2]])


def test_too_large():
    for text in ("C8000xC2", "(0 1 2 3 4 5 6 7 8),(0 1)"):
        with pytest.raises(ValueError, match="groups of order up to 8192"):
            finite_group(text)


def test_unreadable_files(tmp_path):
    (tmp_path / "dict.json").write_text('{"table": [[0]]}')
    (tmp_path / "broken.npy").write_bytes(b"\x93NUMPY")
    torch.save([[0]], tmp_path / "pickle.npy")
    with pytest.raises(NotAGroupError, match="holds no table"):
        finite_group(str(tmp_path / "dict.json"))
    for file in ("broken.npy", "pickle.npy", "missing.json"):
        with pytest.raises(ValueError, match=f"could be read from .*{file}"):
            finite_group(str(tmp_path / file))


def test_names_of_tables():
    for name in ("", "a=b", "a@b"):
        with pytest.raises(ValueError, match="is no name for a group"):
            FiniteGroup.from_table([[0]], name)


def test_unknown_irrep():
    with pytest.raises(UnknownIrrepError) as error:
        find_irrep(finite_group("S5"), "standart")
    assert str(error.value) == (
        "S5 has no irrep 'standart'; nearest is standard. It has trivial, sign, standard, "
        "standard_sign, [2,2,1], [3,2], [3,1,1]"
    )
    with pytest.raises(UnknownIrrepError, match=r"freq_10, \.\.\., freq_56"):
        find_irrep(finite_group("C113"), "freq_57")
