"""Reading the command line's flags into frozen dataclasses, with mistakes told in one line."""

import dataclasses
import difflib
import os
import re
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextvars import ContextVar
from typing import Any, TypeVar, get_type_hints

import tyro
from tyro import _errors as events

Options = TypeVar("Options")
MAX_SEEDS = 10_000
FAILED, WRONG_REQUEST, INTERRUPTED = 1, 2, 130
"""Exit statuses: the work failed, the request was wrong, Ctrl-C."""


class UsageError(ValueError):
    """A request that cannot be understood."""


def parse(
    options: type[Options], command: str, arguments: list[str], program: str = "interp"
) -> Options:
    """Read `arguments` into `options`, a dataclass. Raises `UsageError` of one line."""
    if _asking.get():
        raise _Asked(options)

    def refuse(event: events.ParseErrorEvent) -> None:
        raise UsageError(f"{_explain(event, options)} (see `{program} {command} --help`)")

    with events.on_parse_error(refuse):
        return tyro.cli(options, prog=f"{program} {command}", args=arguments)


_asking = ContextVar("_asking", default=False)


class _Asked(Exception):
    """In place of what a command would do: what it reads its arguments into."""


def options_of(command: Callable[[list[str]], int]) -> type:
    """The dataclass that a command reads its arguments into."""
    token = _asking.set(True)
    try:
        command(["--help"])
    except _Asked as asked:
        return asked.args[0]
    finally:
        _asking.reset(token)
    raise TypeError(f"{command} does not parse its arguments")


def run_command(work: Callable[[], int]) -> int:
    """The exit status of `work`: its own, or one line on stderr and the status for what it raised.

    An exception that nobody foresaw passes through with its traceback: that is a defect of ours.
    `INTERP_TRACEBACK=1` lets them all through.
    """
    warnings.showwarning = lambda message, *_, **__: complain(message)
    try:
        status = work()
        sys.stdout.flush()
        return status
    except BrokenPipeError:  # whoever read the output has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
    except KeyboardInterrupt:
        complain("interrupted")
        return INTERRUPTED
    except (ValueError, OSError, RuntimeError) as error:
        if os.environ.get("INTERP_TRACEBACK"):
            raise
        complain(error)
        return WRONG_REQUEST if isinstance(error, ValueError) else FAILED


def complain(problem: object) -> None:
    """One line on stderr."""
    print("interp: " + " ".join(str(problem).split()), file=sys.stderr)


def value_of(flag: str, arguments: list[str]) -> str | None:
    """What follows the last `flag` (`--flag VALUE` or `--flag=VALUE`); None if it is not there."""
    found = None
    for argument, following in zip(arguments, [*arguments[1:], None], strict=False):
        name, equals, value = argument.partition("=")
        if name.replace("_", "-") == flag:
            found = value if equals else following
    return found


def parse_seeds(text: str) -> list[int]:
    """`0..3` is 0, 1, 2, 3; commas join: `0..3,7`. Raises `UsageError` for anything else."""
    seeds: list[int] = []
    for part in text.split(","):
        match = re.fullmatch(r"(\d+)(?:\.\.(\d+))?", part.strip())
        if not match:
            raise UsageError(f"seeds are {text!r}: write them as 0..3 or 1,5,7")
        first, last = int(match[1]), int(match[2] or match[1])
        if last - first >= MAX_SEEDS or last >= 2**63:
            raise UsageError(f"seeds are {text!r}: at most {MAX_SEEDS} at a time, below 2^63")
        seeds.extend(range(first, last + 1))
    if not seeds or len(set(seeds)) < len(seeds):
        raise UsageError(f"seeds are {text!r}: name at least one, and each once")
    return seeds


def nearest(word: str, choices: Iterable[str]) -> str:
    """`; did you mean 'x'?` with the choice nearest to `word`, or nothing when none is near."""
    close = difflib.get_close_matches(word, list(choices), n=1)
    return f"; did you mean {close[0]!r}?" if close else ""


def _explain(event: events.ParseErrorEvent, options: type) -> str:
    match event:
        case events.UnrecognizedArgs(tokens=[token, *_]):
            return f"there is no option {token!r}{nearest(token, _flags(options))}"
        case events.InvalidChoice(value=value, choices=choices):
            name = _name(event.argument)
            allowed = ", ".join(choices)
            return f"{name} is {value!r}: it must be one of {allowed}{nearest(value, choices)}"
        case events.MissingArgs(missing_arguments=missing):
            return f"{', '.join(_name(m.arg) for m in missing)} is missing"
        case events.BadValue(argument=argument):
            return f"{_name(argument)} needs a value of another kind"
        case events.InstantiationFailure(message=message, argument=argument):
            return f"{_name(argument)}: {message}" if argument else message
        case _:
            return "the request cannot be read"


def _name(argument: Any) -> str:
    if argument.is_positional():
        return argument.field.extern_name.upper()
    return "/".join(argument.lowered.name_or_flags)


def _flags(options: type) -> Iterator[str]:
    """The flags of a dataclass and of those inside it, whose prefixes are left out."""
    for name, kind in get_type_hints(options).items():
        if dataclasses.is_dataclass(kind) and isinstance(kind, type):
            yield from _flags(kind)
        else:
            yield "--" + name.replace("_", "-")
