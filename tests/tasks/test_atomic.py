"""Writes that are whole or not there."""

import os
import subprocess
import sys

import pytest

from tasks.atomic import atomic_path

KILLED_WHILE_IT_WRITES = """
import os, signal, sys
from pathlib import Path
from tasks.atomic import atomic_path
with atomic_path(Path(sys.argv[1])) as temporary:
    temporary.write_text("half")
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_an_interrupted_write_leaves_the_old_file_and_no_rubbish(tmp_path):
    path = tmp_path / "file"
    path.write_text("old")
    with pytest.raises(KeyboardInterrupt), atomic_path(path) as temporary:
        temporary.write_text("half")
        raise KeyboardInterrupt
    assert path.read_text() == "old" and list(tmp_path.iterdir()) == [path]


def test_what_a_killed_process_left_goes_with_the_next_write(tmp_path):
    path, other = tmp_path / "file", tmp_path / "file.txt"
    for killed in (path, other):
        subprocess.run([sys.executable, "-c", KILLED_WHILE_IT_WRITES, str(killed)], env=os.environ)
    with atomic_path(path) as ours:
        ours.write_text("ours")
        with atomic_path(path) as at_the_same_time:
            at_the_same_time.write_text("theirs")
    assert path.read_text() == "ours"
    (left,) = set(tmp_path.iterdir()) - {path}
    assert left.name.startswith(".file.txt.") and left.read_text() == "half"
