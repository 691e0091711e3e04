"""The ReLU units of an MLP block.

Categories are told apart by conjunctions: relu(sum of directions - (how many variables - 1)) is 1
where every variable has one of the listed values, else 0. Numbers are told apart by steps that are
flat at the values, which removes errors and gradients, or by ramps, which keep both.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise, permutations
from typing import NamedTuple

from interp.rasp.blocks import NUMBER, Curve, Direction, Linear, Lookup, MlpBlock
from interp.rasp.domains import Domains, InverseWidth
from interp.rasp.expressions import SOp, Value
from interp.rasp.interpret import as_fraction


@dataclass(frozen=True)
class Unit:
    """relu(inputs . residual + bias), times what it adds to the directions of the block's output.

    A unit never fires on BOS: whoever writes its weights sees to that.
    """

    inputs: Mapping[Direction, float]
    bias: float
    outputs: Mapping[Value, float]


ALWAYS: Mapping[Direction, float] = {}
"""The inputs of a unit that says 1 at every position, with bias 1."""


def units(block: MlpBlock, domains: Domains, exact: bool) -> list[Unit]:
    """The units of a block.

    Unless they must be `exact`, categories told apart from a width follow its small errors. Raises
    `RaspError` for a numerical value that is no number.
    """
    match block:
        case Lookup():
            return _lookup(block, domains)
        case Curve():
            is_width = isinstance(block.source, InverseWidth)
            made = _ramps(block) if is_width and not exact else _steps(block)
            return [unit for unit in made if any(unit.outputs.values())]
        case Linear(_, weights, constant):
            minus = {direction: -weight for direction, weight in weights.items()}
            return [
                Unit(weights, constant, {NUMBER: 1.0}),
                Unit(minus, -constant, {NUMBER: -1.0}),
            ]


class Box(NamedTuple):
    """Combinations of values with one output: any of each variable's `members`."""

    output: Value
    members: tuple[frozenset[int], ...]


def _lookup(block: Lookup, domains: Domains) -> list[Unit]:
    found = boxes(block.table)
    values = [domains.of(source).values for source in block.sources]
    if block.output.is_numerical:
        numbers = [(as_fraction(block.output, box.output), box) for box in found]
        return [
            _conjunction(box, block.sources, values, {NUMBER: float(x)}) for x, box in numbers if x
        ]
    rest = _cheapest_rest(found)
    units = [] if rest is None else [Unit(ALWAYS, 1.0, {rest: 1.0})]
    for box in found:
        if rest is None:
            units.append(_conjunction(box, block.sources, values, {box.output: 1.0}))
        elif box.output != rest:
            outputs = {box.output: 1.0, rest: -1.0}
            units.append(_conjunction(box, block.sources, values, outputs))
    return units


def _conjunction(
    box: Box,
    sources: Sequence[SOp],
    values: Sequence[Sequence[Value]],
    outputs: Mapping[Value, float],
) -> Unit:
    """A unit that is 1 in the box, else 0. A variable that may have any value is not asked."""
    asked = [i for i, members in enumerate(box.members) if len(members) < len(values[i])]
    inputs = {Direction(sources[i], values[i][v]): 1.0 for i in asked for v in box.members[i]}
    return Unit(inputs, 1.0 - len(asked), outputs)


def boxes(table: Mapping[tuple[int, ...], Value]) -> list[Box]:
    """Boxes that cover the table's cells, each once, and no cell of another output."""
    rank = len(next(iter(table)))
    orders = permutations(range(rank)) if rank <= 4 else [range(rank), range(rank)[::-1]]
    return min((_merged(table, order) for order in orders), key=len)


def _merged(table: Mapping[tuple[int, ...], Value], axes: Sequence[int]) -> list[Box]:
    """Single cells, merged along one axis after another."""
    found = [Box(output, tuple(frozenset([i]) for i in cell)) for cell, output in table.items()]
    for axis in axes:
        merged: dict[object, Box] = {}
        for output, members in found:
            others = output, members[:axis], members[axis + 1 :]
            before = merged[others].members[axis] if others in merged else frozenset()
            members = (*members[:axis], before | members[axis], *members[axis + 1 :])
            merged[others] = Box(output, members)
        found = list(merged.values())
    return found


def _cheapest_rest(found: Sequence[Box]) -> Value | None:
    """The output best written as 'always, unless another', if that saves weights."""
    cost: dict[Value, int] = {}
    for box in found:
        cost[box.output] = cost.get(box.output, 0) + sum(map(len, box.members)) + 2
    savings = {o: c - 3 - sum(box.output != o for box in found) for o, c in cost.items()}
    best = max(savings, key=lambda output: savings[output])
    return best if savings[best] > 0 else None


def _steps(block: Curve) -> list[Unit]:
    """Between two neighbouring values with different outputs, a step from one to the other.

    A step is relu(n - slope x) - relu(n - 1 - slope x), 1 below and 0 above, with its ramp in the
    middle of the gap. The slope is a power of two and n an integer, so that the subtraction is
    exact in floating point and the step is 0 or 1 to the last bit.
    """
    points = sorted(block.table.items(), reverse=True)
    units = [Unit(ALWAYS, 1.0, _written(block, points[0][1]))]
    x = Direction(block.source, NUMBER)
    for (upper, above), (lower, below) in pairwise(points):
        if above == below:
            continue
        slope = 2.0 ** math.ceil(math.log2(4 / (upper - lower)))
        n = float(round(slope * (upper + lower) / 2 + Fraction(1, 2)))
        rise = _sum(_written(block, below), _written(block, above, -1.0))
        units.append(Unit({x: -slope}, n, rise))
        units.append(Unit({x: -slope}, n - 1, {value: -amount for value, amount in rise.items()}))
    return units


def _ramps(block: Curve) -> list[Unit]:
    """Straight lines from each value to the next, with a kink at each, so that gradients flow."""
    points = sorted(block.table.items(), reverse=True)
    units = [Unit(ALWAYS, 1.0, _written(block, points[0][1]))]
    x = Direction(block.source, NUMBER)
    slope_before: dict[Value, float] = {}
    for (upper, above), (lower, below) in pairwise(points):
        slope = 1 / float(upper - lower)
        rise = _sum(_written(block, below, slope), _written(block, above, -slope))
        back = {value: -amount for value, amount in slope_before.items()}
        units.append(Unit({x: -1.0}, float(upper), _sum(rise, back)))
        slope_before = rise
    return units


def _written(block: Curve, value: Value, amount: float = 1.0) -> dict[Value, float]:
    """`amount` times the block's output for `value`."""
    if block.output.is_numerical:
        return {NUMBER: amount * float(as_fraction(block.output, value))}
    return {value: amount}


def _sum(first: Mapping[Value, float], second: Mapping[Value, float]) -> dict[Value, float]:
    """The sum of two outputs, without what cancels."""
    total = {value: first.get(value, 0.0) + second.get(value, 0.0) for value in {**first, **second}}
    return {value: amount for value, amount in total.items() if amount}
