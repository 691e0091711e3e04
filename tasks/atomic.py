"""Writing a file so that it is whole or not there, whatever happens in between."""

import contextlib
import os
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """A temporary path beside `path` to write to; renamed to `path` when the block ends well.

    The data are on the disk before the rename. When the block raises (a full disk, an
    interruption) the temporary file is removed and `path` is as it was. What a process of this
    host left that was killed in such a block goes when `path` is next written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    prefix = f".{path.name}.{socket.gethostname()}."
    _remove_abandoned(path.parent, prefix)
    handle, name = tempfile.mkstemp(
        dir=path.parent, prefix=f"{prefix}{os.getpid()}.", suffix=".tmp"
    )
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        temporary.chmod(0o666 & ~_umask())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def write_text(path: Path, text: str) -> None:
    """Write a file of text by way of `atomic_path`."""
    with atomic_path(path) as temporary:
        temporary.write_text(text)


def is_alive(pid: int) -> bool:
    """Whether there is such a process on this host."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _remove_abandoned(folder: Path, prefix: str) -> None:
    for entry in os.scandir(folder):
        if entry.name.startswith(prefix) and entry.name.endswith(".tmp"):
            pid = entry.name.removeprefix(prefix).partition(".")[0]
            if pid.isdecimal() and not is_alive(int(pid)):
                Path(entry.path).unlink(missing_ok=True)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
