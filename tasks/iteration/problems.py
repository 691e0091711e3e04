"""The problems that are built in."""

import math
from collections.abc import Callable
from difflib import get_close_matches

import torch

from tasks.groups import finite_group
from tasks.iteration.iteration import Iteration
from tasks.sequences.encoding import parse_vocabulary

MAX_MODULUS = 8191
"""The largest modulus: its table of int64 takes 512 MiB."""


def copy(vocab: str = "0..1") -> Iteration:
    """F(s, x) = x over the symbols of `vocab`, which `parse_vocabulary` reads."""
    symbols = tuple(map(str, parse_vocabulary(vocab)))
    x = torch.arange(len(symbols))
    name = "copy" if symbols == ("0", "1") else f"copy:{vocab}"
    return Iteration(name, symbols, symbols, x.repeat(len(symbols), 1), x)


def parity() -> Iteration:
    """F(s, x) = s + x mod 2 on bits, with s_1 = x_1."""
    bits = torch.arange(2)
    return Iteration("parity", ("0", "1"), ("0", "1"), (bits[:, None] + bits) % 2, bits)


def polynomial(modulus: int = 11) -> Iteration:
    """F(s, x) = s x + 1 mod p on residues, with inputs 1 to p - 1 and s_1 = x_1.

    So s_L = x_1 ... x_L + x_3 ... x_L + ... + x_L + 1, for L of 2 and more.

    Raises `ValueError` unless the modulus is an odd prime up to `MAX_MODULUS`. For a prime, every
    input permutes the states, and no input makes one forget those before it; a composite modulus
    has inputs that do. Modulo 2 there is one input, and nothing to compute.
    """
    if not (2 < modulus <= MAX_MODULUS and _is_prime(modulus)):
        primes = filter(_is_prime, range(3, MAX_MODULUS + 1))
        raise ValueError(
            f"the modulus is {modulus}: it must be a prime from 3 to {MAX_MODULUS}, so that every "
            f"input permutes the states; the nearest is {min(primes, key=_distance_to(modulus))}"
        )
    residues = tuple(map(str, range(modulus)))
    s, x = torch.arange(modulus)[:, None], torch.arange(1, modulus)
    return Iteration(f"polynomial:{modulus}", residues, residues[1:], (s * x + 1) % modulus, x)


def prefix_product(group: str = "S3") -> Iteration:
    """F(s, x) = s x in a finite group, with s_0 = e: the products x_1, x_1 x_2, x_1 x_2 x_3, ...

    `group` is a name or definition as `tasks.groups.finite_group` reads it, and raises what that
    raises.
    """
    found = finite_group(group)
    names = found.element_names
    start = found.table[found.identity]
    return Iteration(f"product:{found.name}", names, names, found.table, start)


PROBLEMS: dict[str, Callable[[str], Iteration]] = {
    "copy": lambda vocab: copy(vocab or "0..1"),
    "parity": lambda nothing: parity(),
    "polynomial": lambda modulus: polynomial(_integer(modulus or "11")),
    "product": lambda group: prefix_product(group or "S3"),
}


def named_problem(definition: str) -> Iteration:
    """The problem of a definition: parity, copy, copy:a..e, polynomial:7, product:S5.

    Raises `ValueError` for anything else, and as the problem itself does.
    """
    kind, colon, rest = definition.partition(":")
    if kind not in PROBLEMS or (kind == "parity" and colon):
        raise ValueError(
            f"there is no problem {definition!r}: there are copy:0..1, parity, polynomial:11 and "
            f"product:S3; the nearest is {get_close_matches(kind, PROBLEMS, n=1, cutoff=0)[0]}"
        )
    return PROBLEMS[kind](rest)


def _integer(text: str) -> int:
    if not text.isdecimal():
        raise ValueError(f"the modulus is {text!r}: it must be a prime, as in polynomial:11")
    return int(text)


def _is_prime(n: int) -> bool:
    return n > 1 and all(n % divisor for divisor in range(2, math.isqrt(n) + 1))


def _distance_to(n: int) -> Callable[[int], int]:
    return lambda other: abs(other - n)
