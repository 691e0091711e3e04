"""Expressions as text."""

from collections.abc import Callable

from interp.rasp.expressions import (
    Aggregate,
    Both,
    Constant,
    Either,
    Elementwise,
    Expression,
    Indices,
    Named,
    Neither,
    Operator,
    Select,
    SelectorWidth,
    SOp,
    Tokens,
    Value,
    children,
    identity,
)


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
            inner = ", ".join(map(brief, arguments))
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
