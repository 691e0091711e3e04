"""What a page tells its reader to type, and how to run it with fewer steps."""

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from interp.cli import main

ROOT = Path(__file__).parents[1]
QUIET = ("train", "evaluate", "llc")
LITTLE = ["--draws", "4", "--full-every", "2", "--burn-in", "2"]


def blocks(language: str, page: str) -> list[str]:
    """A page's code blocks of a language, in order, without those that are files."""
    return re.findall(rf"```{language}\n(.*?)```", page, flags=re.DOTALL)


def files(page: str) -> dict[str, str]:
    """The code blocks that are files, by their names."""
    return dict(re.findall(r'```\w+ title="([^"]*)"\n(.*?)```', page, flags=re.DOTALL))


def commands(page: str, faster: Mapping[str, str]) -> list[list[str]]:
    """Every `interp` and `python -m` command, in order, with other words where there are."""
    lines = [
        line.partition("  #")[0] for block in blocks("sh", page) for line in block.splitlines()
    ]
    lines += re.findall(r"`(python -m [^`]*)`", page)
    words = [shlex.split(line) for line in lines if line.startswith(("interp ", "python -m "))]
    return [[faster.get(word, word) for word in command] for command in words]


def run(command: list[str]) -> int:
    """The exit status of a command that is run with fewer steps."""
    if command[0] == "interp":
        is_trained = command[1] == "train" and "iteration_head" not in command
        fewer = ["--steps", "30", "--checkpoints", "3"] if is_trained else []
        if command[1] == "llc":
            fewer = ["--budget", "240"] if command[2] == "calibrate" else LITTLE
            fewer = [*fewer, "--chains", "2"]
        return main([*command[1:], *fewer, *(["--quiet"] if command[1] in QUIET else [])])
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run([sys.executable, *command[1:]], env=environment).returncode
