"""Completion of commands and options in a shell."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

from tyro.conf import Positional

from interp.arguments import options_of, parse


@dataclass(frozen=True)
class Completion:
    """Print a script that completes commands and options."""

    shell: Positional[Literal["bash", "zsh", "tcsh"]]
    """The shell it is for. Of bash: `interp completion bash >> ~/.bash_completion`."""


def completion_script(
    arguments: list[str], commands: Mapping[str, Callable[[list[str]], int]]
) -> int:
    """Print the script for these commands."""
    shell = parse(Completion, "completion", arguments).shell
    from tyro.extras import subcommand_cli_from_dict

    options = {name: options_of(command) for name, command in commands.items()}
    subcommand_cli_from_dict(options, prog="interp", args=["--tyro-print-completion", shell])
    return 0
