"""From the string a user writes to the group."""

import json
from difflib import get_close_matches
from functools import lru_cache
from pathlib import Path

import numpy as np

from tasks.groups.axioms import NotAGroupError
from tasks.groups.families import (
    FAMILIES,
    Member,
    build_member,
    build_product,
    build_published,
    parse_member,
    published_orders,
)
from tasks.groups.group import FiniteGroup
from tasks.groups.permutations import parse_generators

ALLOWED = (
    "C113 (cyclic), D59 (dihedral, order 118), S1 to S7, A1 to A7, Q8, Q12, Q16, ... "
    "(generalised quaternion), Dic26 (dicyclic, order 104), products such as C2xS4, "
    'permutations such as "(0 1 2 3 4),(0 1)", a table such as "[[0,1],[1,0]]" '
    "or a file of one (.json, .npy)"
)
_OTHER_LETTERS = {"Z": "C", "Cyc": "C", "Dih": "D", "Sym": "S", "Alt": "A", "Quat": "Q"}


class UnknownGroupError(ValueError):
    """No group has this name; the message says what is allowed and what comes nearest."""


def finite_group(definition: str, order: str | None = None) -> FiniteGroup:
    """The group of a definition; the same object for the same definition.

    Args:
        definition: a named family ("S5", "C113", "D59", "A5", "Q8", "Dic26", "C2xS4"), permutation
            generators in cycle notation ("(0 1 2 3 4),(0 1)"), a multiplication table as JSON, or
            the path of a table (.json, .npy). "S5@published" sets the element order as well, and
            "V4=[[...]]" gives a table or generators a name.
        order: "canonical" (the default, documented in `tasks.groups.families`) or "published", the
            element order of the checkpoints of arXiv 2302.03025. For cyclic and dihedral groups
            the two are one, and so is their definition.

    Raises:
        UnknownGroupError: no such group.
        NotAGroupError: the table breaks a group axiom.
        ValueError: the group has no published element order, or generators that cannot be read.
    """
    text = definition.strip()
    if text.endswith((".json", ".npy")):
        text = _table_in_file(Path(text))
    text, _, suffix = text.partition("@")
    if order and suffix and order != suffix:
        raise ValueError(f"{definition} names its element order; order={order!r} contradicts it")
    return _build(text.strip() + _order_suffix(text.strip(), order or suffix or "canonical"))


@lru_cache(maxsize=32)
def _build(definition: str) -> FiniteGroup:
    base, _, order = definition.partition("@")
    name, named, body = base.rpartition("=")
    if body.startswith("["):
        return FiniteGroup.from_table(_parse_table(body), name if named else None)
    if body.startswith("("):
        return FiniteGroup.from_permutations(parse_generators(body), name if named else None)
    members = [_known_member(factor, base) for factor in base.split("x")]
    if order:
        return build_published(members[0])
    return build_member(members[0]) if len(members) == 1 else build_product(members)


def _known_member(name: str, within: str) -> Member:
    member = parse_member(name)
    if member and member.family in FAMILIES and member.size in FAMILIES[member.family].sizes:
        return member
    where = "" if name == within else f" in {within!r}"
    raise UnknownGroupError(
        f"unknown group {name!r}{where}; nearest is {_nearest(name)}. Allowed: {ALLOWED}"
    )


def _nearest(name: str) -> str:
    letters = name.rstrip("0123456789")
    digits = name[len(letters) :]
    spelled = {key.lower(): value for key, value in _OTHER_LETTERS.items()}
    spelled |= {key.lower(): key for key in FAMILIES}
    family = spelled[get_close_matches(letters.lower(), spelled, n=1, cutoff=0)[0]]
    wanted = int(digits[:9] or 0)
    return f"{family}{min(FAMILIES[family].sizes, key=lambda size: abs(size - wanted))}"


def _order_suffix(name: str, order: str) -> str:
    """What a definition ends in: nothing where the order is the canonical one."""
    member = parse_member(name)
    if order == "canonical" or (order == "published" and member and member.family in "CD"):
        return ""
    if order != "published":
        raise ValueError(f"unknown element order {order!r}; allowed are canonical and published")
    if name not in published_orders():
        _build(name)  # an unknown group is the better complaint
        raise ValueError(
            f"{name} has no published element order; there is one for every C and D and for "
            f"{', '.join(published_orders())}. Leave the order out for the canonical one"
        )
    return "@published"


def _parse_table(text: str) -> list:
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise NotAGroupError(f"the table is not JSON ({error}); give [[0,1],[1,0]]") from error


def _table_in_file(path: Path) -> str:
    """The table in a file as inline JSON, so that the definition needs the file no more."""
    try:
        table = _npy(path) if path.suffix == ".npy" else json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise ValueError(f"no multiplication table could be read from {path}: {error}") from error
    if not isinstance(table, list):
        raise NotAGroupError(f"{path} holds no table; give a list of rows, table[a][b] = ab")
    return json.dumps(table)


def _npy(path: Path) -> list:
    with path.open("rb") as file:
        return np.lib.format.read_array(file, allow_pickle=False).tolist()
