"""The expressions of RASP: frozen values, and what can be asked of any of them.

Two expressions with equal parts are one object, so `is` compares them, and `==` is free to build
an expression.
"""

import operator
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields
from textwrap import shorten
from typing import Any
from weakref import WeakValueDictionary

Value = Any
"""What a sequence operation says at a position: an int, str, bool, float or Fraction."""

_SYMBOLS: dict[str, Callable[..., Value]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": operator.truediv,
    "//": operator.floordiv,
    "%": operator.mod,
    "&": operator.and_,
    "|": operator.or_,
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "not": operator.not_,
}
COMPARISONS = ("==", "!=", "<", "<=", ">", ">=")
CONSTANT_PREDICATES = {"true": True, "false": False}


class RaspError(ValueError):
    """A program that cannot be written, interpreted or compiled, with the part that is at fault."""


_expressions: WeakValueDictionary[Any, Any] = WeakValueDictionary()


class _Interned(type):
    """Expressions with equal fields are one object."""

    def __call__(cls, *args: Any, **kwargs: Any) -> Any:
        made = super().__call__(*args, **kwargs)
        # 1, 1.0 and True are equal in Python, but they print differently.
        parts = tuple((type(part), part) for part in _parts(made))
        return _expressions.setdefault((cls, parts), made)


def _parts(expression: Any) -> list[Any]:
    return [getattr(expression, field.name) for field in fields(expression)]


@dataclass(frozen=True)
class Operator:
    """A Python operator, called by its symbol."""

    symbol: str

    def __call__(self, *arguments: Value) -> Value:
        if self.symbol in CONSTANT_PREDICATES:
            return CONSTANT_PREDICATES[self.symbol]
        return _SYMBOLS[self.symbol](*arguments)


ARITHMETIC = tuple(Operator(symbol) for symbol in "+-*/")


@dataclass(frozen=True, eq=False, repr=False)
class Expression(metaclass=_Interned):
    """A sequence operation or a selector."""

    def __repr__(self) -> str:
        from interp.rasp.printing import show  # which knows every expression

        return show(self)

    def __reduce__(self) -> tuple[type, tuple[Any, ...]]:
        return type(self), tuple(_parts(self))  # copies are the expression itself

    def __bool__(self) -> bool:
        raise RaspError(
            f"{self} differs from position to position and so is neither true nor false: write & "
            "for and, | for or, ~ for not"
        )


@dataclass(frozen=True, eq=False, repr=False)
class SOp(Expression):
    """A sequence operation. Python's operators on it apply at every position."""

    @property
    def is_numerical(self) -> bool:
        """Whether its value is kept as a number, in one direction of the residual stream."""
        return False

    def named(self, name: str) -> "SOp":
        """The same, shown as `name` wherever it is used."""
        return Named(self, name)

    def __add__(self, other: Value) -> "SOp":
        return _operate("+", self, other)

    def __radd__(self, other: Value) -> "SOp":
        return _operate("+", other, self)

    def __sub__(self, other: Value) -> "SOp":
        return _operate("-", self, other)

    def __rsub__(self, other: Value) -> "SOp":
        return _operate("-", other, self)

    def __mul__(self, other: Value) -> "SOp":
        return _operate("*", self, other)

    def __rmul__(self, other: Value) -> "SOp":
        return _operate("*", other, self)

    def __truediv__(self, other: Value) -> "SOp":
        return _operate("/", self, other)

    def __rtruediv__(self, other: Value) -> "SOp":
        return _operate("/", other, self)

    def __floordiv__(self, other: Value) -> "SOp":
        return _operate("//", self, other)

    def __rfloordiv__(self, other: Value) -> "SOp":
        return _operate("//", other, self)

    def __mod__(self, other: Value) -> "SOp":
        return _operate("%", self, other)

    def __rmod__(self, other: Value) -> "SOp":
        return _operate("%", other, self)

    def __and__(self, other: Value) -> "SOp":
        return _operate("&", self, other)

    def __rand__(self, other: Value) -> "SOp":
        return _operate("&", other, self)

    def __or__(self, other: Value) -> "SOp":
        return _operate("|", self, other)

    def __ror__(self, other: Value) -> "SOp":
        return _operate("|", other, self)

    def __invert__(self) -> "SOp":
        return _operate("not", self)

    def __neg__(self) -> "SOp":
        return _operate("-", 0, self)

    def __eq__(self, other: Value) -> "SOp":  # pyright: ignore[reportIncompatibleMethodOverride]
        return _operate("==", self, other)

    def __ne__(self, other: Value) -> "SOp":  # pyright: ignore[reportIncompatibleMethodOverride]
        return _operate("!=", self, other)

    def __lt__(self, other: Value) -> "SOp":
        return _operate("<", self, other)

    def __le__(self, other: Value) -> "SOp":
        return _operate("<=", self, other)

    def __gt__(self, other: Value) -> "SOp":
        return _operate(">", self, other)

    def __ge__(self, other: Value) -> "SOp":
        return _operate(">=", self, other)

    __hash__ = object.__hash__


@dataclass(frozen=True, eq=False, repr=False)
class Tokens(SOp):
    """The token at each position; BOS is none of them."""


@dataclass(frozen=True, eq=False, repr=False)
class Indices(SOp):
    """The position, 0 at the first token after BOS."""


@dataclass(frozen=True, eq=False, repr=False)
class Constant(SOp):
    """The same value at every position."""

    value: Value


@dataclass(frozen=True, eq=False, repr=False)
class Named(SOp):
    """An expression with a name."""

    inner: SOp
    name: str

    @property
    def is_numerical(self) -> bool:
        return self.inner.is_numerical


@dataclass(frozen=True, eq=False, repr=False)
class Elementwise(SOp):
    """A function of one or more values at the same position."""

    function: Callable[..., Value]
    arguments: tuple[SOp, ...]
    numerical: bool = False

    @property
    def is_numerical(self) -> bool:
        return self.numerical

    @property
    def keeps_encoding(self) -> bool:
        """Whether the encoding goes without saying: arithmetic on numbers, or a copy, is one."""
        return self.numerical == _is_number(self.function, self.arguments)


@dataclass(frozen=True, eq=False, repr=False)
class Selector(Expression):
    """For every position (query), a set of positions (keys). Combined by &, | and ~."""

    def __and__(self, other: "Selector") -> "Selector":
        return Both(self, as_selector(other))

    def __or__(self, other: "Selector") -> "Selector":
        return Either(self, as_selector(other))

    def __invert__(self) -> "Selector":
        return Neither(self)


@dataclass(frozen=True, eq=False, repr=False)
class Select(Selector):
    """The keys for which predicate(value of `keys` there, value of `queries` here) is true."""

    keys: SOp
    queries: SOp
    predicate: Callable[[Value, Value], bool]


@dataclass(frozen=True, eq=False, repr=False)
class Both(Selector):
    """What both selectors select."""

    first: Selector
    second: Selector


@dataclass(frozen=True, eq=False, repr=False)
class Either(Selector):
    """What at least one of the selectors selects."""

    first: Selector
    second: Selector


@dataclass(frozen=True, eq=False, repr=False)
class Neither(Selector):
    """What the selector does not select."""

    inner: Selector


@dataclass(frozen=True, eq=False, repr=False)
class Aggregate(SOp):
    """The value that the selected keys agree on, or the mean of numerical values."""

    selector: Selector
    values: SOp
    default: Value = None

    @property
    def is_numerical(self) -> bool:
        return self.values.is_numerical


@dataclass(frozen=True, eq=False, repr=False)
class SelectorWidth(SOp):
    """The number of selected keys."""

    selector: Selector


def _operate(symbol: str, *operands: Value) -> SOp:
    arguments = tuple(as_sop(operand) for operand in operands)
    function = Operator(symbol)
    return Elementwise(function, arguments, _is_number(function, arguments))


def identity(value: Value) -> Value:
    """The value itself."""
    return value


def _is_number(function: Callable[..., Value], arguments: tuple[SOp, ...]) -> bool:
    """Whether the result is a number unless said otherwise."""
    if function is not identity and function not in ARITHMETIC:
        return False
    varying = [a for a in arguments if not isinstance(a, Constant)]
    return bool(varying) and all(a.is_numerical for a in varying)


def as_sop(value: SOp | Value) -> SOp:
    """A sequence operation; a plain value stands for itself at every position."""
    if isinstance(value, Selector):
        raise RaspError(f"{value} is a selector where a sequence operation is needed")
    if isinstance(value, SOp):
        return value
    try:
        hash(value)
    except TypeError as error:
        raise RaspError(f"{shorten(repr(value), 60)} cannot be a value: it can change") from error
    return Constant(value)


def as_selector(value: Selector) -> Selector:
    """The selector. Raises `RaspError` for anything else."""
    if not isinstance(value, Selector):
        raise RaspError(f"{value!r} is no selector: make one with select(keys, queries, predicate)")
    return value


def children(expression: Expression) -> Iterator[Expression]:
    """The expressions that an expression is made of."""
    for part in _parts(expression):
        for item in part if isinstance(part, tuple) else (part,):
            if isinstance(item, Expression):
                yield item


def without_names(program: SOp) -> tuple[SOp, dict[Expression, Expression]]:
    """The program without names, and for each of its parts what it was, with the names."""
    plain: dict[Expression, Any] = {}
    origins: dict[Expression, Expression] = {}

    def strip(part: Any) -> Any:
        if isinstance(part, tuple):
            return tuple(strip(item) for item in part)
        if not isinstance(part, Expression):
            return part
        if part not in plain:
            parts = [strip(inner) for inner in _parts(part)]
            plain[part] = parts[0] if isinstance(part, Named) else type(part)(*parts)
            if isinstance(part, Named) or plain[part] not in origins:
                origins[plain[part]] = part
        return plain[part]

    return strip(program), origins
