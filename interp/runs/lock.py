"""A lock on a folder that outlives its owner by no more than a minute."""

import contextlib
import fcntl
import json
import os
import socket
import threading
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

from tasks.atomic import is_alive, write_text

HEARTBEAT = 10.0
"""Seconds between two signs of life."""
STALE = 60.0
"""Seconds without a sign of life after which a lock may be taken over."""


class LockedError(RuntimeError):
    """Another live process holds the lock."""


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock file `path` inside the block.

    A lock whose owner died (its process is gone from this host, or its heartbeat stopped a minute
    ago) is taken over. Raises `LockedError` when the owner lives.
    """
    token = _acquire(path)
    stop = threading.Event()
    beat = threading.Thread(target=_beat, args=(path, token, stop), daemon=True)
    beat.start()
    try:
        yield
    finally:
        stop.set()
        beat.join()
        if _owner(path).get("token") == token:
            path.unlink(missing_ok=True)


def is_locked(path: Path) -> bool:
    """Whether a live process holds the lock file `path`."""
    return path.exists() and not _is_stale(path)


def _acquire(path: Path) -> str:
    token = uuid.uuid4().hex
    with _guarded(path.parent):
        if is_locked(path):
            owner = _owner(path)
            raise LockedError(
                f"{path.parent} is in use by process {owner.get('pid')} on {owner.get('host')}: "
                "wait for it to end, or stop it"
            )
        owner = {"token": token, "host": socket.gethostname(), "pid": os.getpid()}
        write_text(path, json.dumps(owner))
    return token


@contextlib.contextmanager
def _guarded(folder: Path) -> Iterator[None]:
    """Let one process at a time look at the lock and take it, so that none takes it over twice."""
    folder.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _is_stale(path: Path) -> bool:
    try:
        age = time.time() - path.stat().st_mtime
    except FileNotFoundError:
        return True
    owner = _owner(path)
    if age > STALE:
        return True
    pid = owner.get("pid")  # None where it cannot be read: then the heartbeat decides
    return owner.get("host") == socket.gethostname() and pid is not None and not is_alive(pid)


def _owner(path: Path) -> dict:
    try:
        return json.loads(path.read_text())
    except (FileNotFoundError, json.JSONDecodeError):
        return {}


def _beat(path: Path, token: str, stop: threading.Event) -> None:
    while not stop.wait(HEARTBEAT) and _owner(path).get("token") == token:
        with contextlib.suppress(OSError):
            os.utime(path)
