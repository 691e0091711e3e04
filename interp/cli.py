"""The command line: `interp COMMAND ...`.

A command is a function in `interp.commands`; its options are a frozen dataclass whose fields are
its flags (tyro). Layers are imported inside the commands, so that `--help` answers at once.
"""

import signal
import sys
from collections.abc import Callable, Sequence

from interp.arguments import UsageError, nearest, run_command
from interp.commands.cache import cache
from interp.commands.causal import circuit, patch
from interp.commands.compile import compile_
from interp.commands.completion import completion_script
from interp.commands.demo import demo
from interp.commands.evaluate import evaluate, report
from interp.commands.llc import llc
from interp.commands.published import import_, tables
from interp.commands.show import list_, show
from interp.commands.sweep import sweep
from interp.commands.train import resume, train


def completion(arguments: list[str]) -> int:
    """Print a script that completes commands in your shell: `interp completion bash`."""
    return completion_script(arguments, COMMANDS)


COMMANDS: dict[str, Callable[[list[str]], int]] = {
    "demo": demo,
    "list": list_,
    "train": train,
    "resume": resume,
    "compile": compile_,
    "sweep": sweep,
    "show": show,
    "evaluate": evaluate,
    "patch": patch,
    "circuit": circuit,
    "llc": llc,
    "report": report,
    "import": import_,
    "tables": tables,
    "cache": cache,
    "completion": completion,
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; returns the exit status: 0, 1 the work failed, 2 the request was wrong."""
    name, *rest = (sys.argv[1:] if arguments is None else list(arguments)) or ["--help"]
    if name in ("-h", "--help"):
        return run_command(_print_help)
    # A job scheduler's stop is an orderly one: what was done until then is written.
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    return run_command(lambda: _command(name)(rest))


def _command(name: str) -> Callable[[list[str]], int]:
    if name not in COMMANDS:
        raise UsageError(f"there is no command {name!r}{nearest(name, COMMANDS)}")
    return COMMANDS[name]


def _print_help() -> int:
    print("interp: mechanistic interpretability of small networks on algorithmic tasks\n")
    print("usage: interp COMMAND [OPTIONS]\n")
    for name, command in COMMANDS.items():
        print(f"  {name:<12}{_first_line(command)}")
    print("\n`interp COMMAND --help` tells a command's options.")
    return 0


def _first_line(command: Callable[..., object]) -> str:
    return (command.__doc__ or "").splitlines()[0]


if __name__ == "__main__":
    sys.exit(main())
