"""RASP, the language of Weiss, Goldberg and Yahav, "Thinking Like Transformers" (2021).

A program is an expression: a frozen value that prints as RASP. Two expressions that say the same
are one object, so `is` compares them, and `==` is free to build an expression.

    left = aggregate(select(indices, indices - 1, "=="), tokens, default="none").named("left")
    print(listing(map(str.upper, left)))

A sequence operation has a value at every position. It is categorical (one of finitely many values)
unless made numerical, and then it may be averaged.
"""

import builtins
import operator
from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass, fields
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
        return show(self)

    def __reduce__(self) -> tuple[type, tuple[Any, ...]]:
        return type(self), tuple(_parts(self))  # copies are the expression itself


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

    def __mod__(self, other: Value) -> "SOp":
        return _operate("%", self, other)

    def __and__(self, other: Value) -> "SOp":
        return _operate("&", self, other)

    def __or__(self, other: Value) -> "SOp":
        return _operate("|", self, other)

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

    def __bool__(self) -> bool:
        raise RaspError(
            f"{self} has a value at every position and so is neither true nor false: write & for "
            "and, | for or, ~ for not"
        )


@dataclass(frozen=True, eq=False, repr=False)
class Tokens(SOp):
    """The token at each position; BOS is none of them."""


@dataclass(frozen=True, eq=False, repr=False)
class Indices(SOp):
    """The position, 0 at the first token after BOS."""


tokens = Tokens()
indices = Indices()


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
        return Both(self, _selector(other))

    def __or__(self, other: "Selector") -> "Selector":
        return Either(self, _selector(other))

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


def map(function: Callable[[Value], Value], sequence: SOp) -> SOp:
    """`function` of the value at each position."""
    return Elementwise(function, (_sop(sequence),))


def sequence_map(function: Callable[[Value, Value], Value], first: SOp, second: SOp) -> SOp:
    """`function` of two values at each position."""
    return Elementwise(function, (_sop(first), _sop(second)))


def select(
    keys: SOp | Value, queries: SOp | Value, predicate: str | Callable[[Value, Value], bool]
) -> Selector:
    """Select the keys for which predicate(key, query) holds.

    `predicate` is a function or one of == != < <= > >= true false: "<" selects keys below the
    query. A plain value stands for itself at every position.

    Raises `RaspError` for any other predicate.
    """
    if isinstance(predicate, str):
        allowed = (*COMPARISONS, *CONSTANT_PREDICATES)
        if predicate not in allowed:
            raise RaspError(f"there is no predicate {predicate!r}: allowed are {' '.join(allowed)}")
        predicate = Operator(predicate)
    return Select(_sop(keys), _sop(queries), predicate)


def aggregate(selector: Selector, values: SOp | Value, default: Value = None) -> SOp:
    """The value of the selected keys; `default` where none is selected.

    Of categorical values the selected ones must agree; numerical values are averaged. Without a
    default, a program in which some position selects nothing is refused.
    """
    return Aggregate(_selector(selector), _sop(values), default)


def selector_width(selector: Selector) -> SOp:
    """How many keys are selected."""
    return SelectorWidth(_selector(selector))


def numerical(sequence: SOp) -> SOp:
    """The same values as numbers: aggregates then average them."""
    return _encoded(sequence, True)


def categorical(sequence: SOp) -> SOp:
    """The same values as categories: they can then be selected and combined in any way."""
    return _encoded(sequence, False)


def _encoded(sequence: SOp, as_number: bool) -> SOp:
    if sequence.is_numerical == as_number:
        return sequence
    if isinstance(sequence, Elementwise):
        if sequence.function is identity:
            return _encoded(sequence.arguments[0], as_number)
        return Elementwise(sequence.function, sequence.arguments, as_number)
    return Elementwise(identity, (sequence,), as_number)


def identity(value: Value) -> Value:
    """The value itself."""
    return value


def _operate(symbol: str, *operands: Value) -> SOp:
    arguments = tuple(_sop(operand) for operand in operands)
    function = Operator(symbol)
    return Elementwise(function, arguments, _is_number(function, arguments))


def _is_number(function: Callable[..., Value], arguments: tuple[SOp, ...]) -> bool:
    """Whether the result is a number unless said otherwise."""
    if function is not identity and function not in ARITHMETIC:
        return False
    varying = [a for a in arguments if not isinstance(a, Constant)]
    return bool(varying) and all(a.is_numerical for a in varying)


def _sop(value: SOp | Value) -> SOp:
    if isinstance(value, Selector):
        raise RaspError(f"{value} is a selector where a sequence operation is needed")
    if isinstance(value, SOp):
        return value
    if not isinstance(value, Hashable):
        raise RaspError(f"{value!r} cannot be a value: it can change (it is not hashable)")
    return Constant(value)


def _selector(value: Selector) -> Selector:
    if not isinstance(value, Selector):
        raise RaspError(f"{value!r} is no selector: make one with select(keys, queries, predicate)")
    return value


def children(expression: Expression) -> Iterator[Expression]:
    """The expressions that an expression is made of."""
    for part in _parts(expression):
        for item in part if isinstance(part, tuple) else (part,):
            if isinstance(item, Expression):
                yield item


def show(expression: Expression) -> str:
    """The expression as RASP; named parts by their name, the expression itself in full."""
    match expression:
        case Tokens() | Indices():
            return type(expression).__name__.lower()
        case Constant(value):
            return repr(value)
        case Named(inner, _):
            return show(inner)
        case Elementwise(function, arguments, is_number) if not expression.keeps_encoding:
            verb = "numerical" if is_number else "categorical"
            return f"{verb}({show(Elementwise(function, arguments, not is_number))})"
        case Elementwise(function, (inner,)) if function is identity:
            return brief(inner)
        case Elementwise(Operator("not"), (inner,)):
            return f"not {_operand(inner)}"
        case Elementwise(Operator(symbol), (first, second)):
            return f"{_operand(first)} {symbol} {_operand(second)}"
        case Elementwise(function, arguments):
            verb = {1: "map", 2: "sequence_map"}.get(len(arguments), "elementwise")
            inner = ", ".join(builtins.map(brief, arguments))
            return f"{verb}({_function_name(function)}, {inner})"
        case Select(keys, queries, predicate):
            return f"select({brief(keys)}, {brief(queries)}, {_function_name(predicate)})"
        case Both(first, second):
            return f"({brief(first)} and {brief(second)})"
        case Either(first, second):
            return f"({brief(first)} or {brief(second)})"
        case Neither(inner):
            return f"(not {brief(inner)})"
        case Aggregate(selector, values, default):
            ending = "" if default is None else f", default={default!r}"
            return f"aggregate({brief(selector)}, {brief(values)}{ending})"
        case SelectorWidth(selector):
            return f"selector_width({brief(selector)})"
    return type(expression).__name__


def brief(expression: Expression) -> str:
    """The expression's name if it has one, else the expression."""
    return expression.name if isinstance(expression, Named) else show(expression)


def _operand(expression: Expression) -> str:
    text = brief(expression)
    infix = isinstance(expression, Elementwise) and isinstance(expression.function, Operator)
    return f"({text})" if infix else text


def _function_name(function: Callable[..., Value]) -> str:
    if isinstance(function, Operator):
        return function.symbol
    return getattr(function, "__name__", repr(function)).replace("<lambda>", "lambda").lstrip("_")


def listing(program: SOp) -> str:
    """The program as statements: its named parts, each before it is used, then the whole."""
    lines: dict[Expression, str] = {}

    def visit(expression: Expression) -> None:
        if expression in lines:
            return
        for child in children(expression):
            visit(child)
        name = expression.name if isinstance(expression, Named) else "return"
        if isinstance(expression, Named) or expression is program:
            lines[expression] = f"{name} = {show(expression)}"

    visit(program)
    return "\n".join(lines.values())


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
