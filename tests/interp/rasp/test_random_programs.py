"""Programs nobody thought of: whatever the language can say, compiled and interpreted alike."""

import operator

import pytest
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from interp.rasp.checking import check, inputs
from interp.rasp.compiled import compile_program
from interp.rasp.expressions import RaspError, Selector, SOp
from interp.rasp.interpret import evaluate
from interp.rasp.language import (
    aggregate,
    categorical,
    indices,
    map,
    numerical,
    select,
    selector_width,
    sequence_map,
    tokens,
)
from tasks.sequences.encoding import SequenceEncoding

ENCODING = SequenceEncoding((0, 1, 2), max_length=4)
EVERYTHING = inputs(ENCODING, all_up_to=4, n_random=0)


def halved(x):
    return x // 2


def is_odd(x):
    return x % 2 == 1


def below_two(x):
    return x < 2


def distance(x, y):
    return abs(x - y)


def larger(x, y):
    return max(x, y)


def sum_is_even(key, query):
    return (key + query) % 2 == 0


def before(key, query):
    return key == query - 1


CONSTANTS = st.integers(-1, 2)
MAPS = st.sampled_from([halved, is_odd, below_two])
PAIR_MAPS = st.sampled_from([distance, larger])
OPERATORS = st.sampled_from(
    [operator.add, operator.sub, operator.mul, operator.eq, operator.lt, operator.ge]
)
PREDICATES = st.sampled_from(["==", "!=", "<", "<=", ">", ">=", "true", "false", sum_is_even])
POSITIONS = st.sampled_from(["==", before])  # predicates on indices that select at most one key


@st.composite
def sops(draw: st.DrawFn, depth: int) -> SOp:
    """A random sequence operation, of at most `depth` operations on top of each other."""
    if depth == 0:
        return draw(st.sampled_from([tokens, indices]))
    inner = sops(depth - 1)
    kind = draw(st.integers(0, 9))
    if kind == 0:
        return map(draw(MAPS), draw(inner))
    if kind == 1:
        return sequence_map(draw(PAIR_MAPS), draw(inner), draw(inner))
    if kind == 2:
        return draw(OPERATORS)(draw(inner), draw(CONSTANTS))
    if kind == 3:
        return draw(OPERATORS)(draw(inner), draw(inner))
    if kind == 4:
        return selector_width(draw(selectors(depth - 1)))
    if kind == 5:  # often refused: no default, and several values
        return aggregate(draw(selectors(depth - 1)), draw(inner))
    if kind == 6:
        there = select(indices, indices, draw(POSITIONS)) & draw(selectors(depth - 1))
        return aggregate(there, draw(inner), draw(CONSTANTS))
    if kind == 7:
        return aggregate(draw(selectors(depth - 1)), numerical(draw(inner)), draw(CONSTANTS))
    if kind == 8:
        return draw(st.sampled_from([numerical, categorical]))(draw(inner))
    return draw(inner).named(draw(st.sampled_from("ab")))


@st.composite
def selectors(draw: st.DrawFn, depth: int) -> Selector:
    """A random selector on operations of at most `depth`."""
    inner = sops(depth)

    def one() -> Selector:
        query = draw(st.one_of(inner, CONSTANTS))
        return select(draw(inner), query, draw(PREDICATES))

    kind = draw(st.integers(0, 5))
    if kind == 0:
        return one() & one()
    if kind == 1:
        return one() | one()
    if kind == 2:
        return ~one()
    if kind == 3:
        return ~(one() | one())
    return one()


def assert_compiled_equals_interpreted(program: SOp, causal: bool) -> None:
    try:
        evaluate(program, EVERYTHING, causal=causal)
    except RaspError as error:
        event("refused by the interpreter")
        with pytest.raises(RaspError):
            compile_program(program, ENCODING.tokens, ENCODING.max_length, causal=causal)
        assert str(error)
        return
    try:
        compiled = compile_program(program, ENCODING.tokens, ENCODING.max_length, causal=causal)
    except RaspError as error:
        assert "cannot be" in str(error) or "combinations" in str(error)
        event("cannot be encoded")
        return
    event(f"compiled, {compiled.model.cfg.n_layers} layers")
    found = check(compiled, EVERYTHING)
    assert not found.n_wrong, found
    assert found.leakage < 1e-4, found


# The run-time checks of annotations look at random items of a tuple while programs are drawn.
pytestmark = pytest.mark.filterwarnings("ignore:Do not use the `random` module")
WITHOUT_HURRY = settings(deadline=None, suppress_health_check=list(HealthCheck))
PROGRAMS = given(program=sops(3), causal=st.booleans())


@settings(WITHOUT_HURRY, max_examples=100)
@PROGRAMS
def test_compiled_equals_interpreted(program: SOp, causal: bool) -> None:
    assert_compiled_equals_interpreted(program, causal)


@pytest.mark.slow
@settings(WITHOUT_HURRY, max_examples=300)
@PROGRAMS
def test_compiled_equals_interpreted_many_times(program: SOp, causal: bool) -> None:
    assert_compiled_equals_interpreted(program, causal)
