import os
import subprocess
import sys
import threading

import pytest

from interp.runs import lock
from interp.runs.lock import LockedError, is_locked, locked

HOLD = """
import sys, time
from pathlib import Path
from interp.runs.lock import locked
with locked(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def holder(tmp_path):
    """A process that holds the lock."""
    path = tmp_path / "lock"
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(path)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None and process.stdout.readline() == "held\n"
    yield path, process
    process.kill()
    process.wait()
    process.stdout.close()


def test_a_live_owner_is_named(holder):
    path, process = holder
    with pytest.raises(LockedError, match=f"in use by process {process.pid}"), locked(path):
        pass


def test_a_killed_owner_is_replaced_at_once(holder):
    path, process = holder
    process.kill()
    process.wait()
    assert path.exists() and not is_locked(path)
    with locked(path):
        assert is_locked(path)
    assert not path.exists()


def test_an_owner_elsewhere_is_replaced_when_its_heartbeat_stops(tmp_path):
    path = tmp_path / "lock"
    path.write_text('{"token": "x", "host": "another-host", "pid": 1}')
    with pytest.raises(LockedError, match="another-host"), locked(path):
        pass
    long_ago = path.stat().st_mtime - lock.STALE - 1
    os.utime(path, (long_ago, long_ago))
    with locked(path):
        pass


def test_the_heartbeat_keeps_the_lock_fresh(tmp_path, monkeypatch):
    monkeypatch.setattr(lock, "HEARTBEAT", 0.01)
    path = tmp_path / "lock"
    with locked(path):
        os.utime(path, (0, 0))
        for _ in range(500):
            if path.stat().st_mtime > 0:
                break
            threading.Event().wait(0.01)
        assert is_locked(path)


def test_of_many_threads_one_takes_a_stale_lock(tmp_path):
    path = tmp_path / "lock"
    path.write_text('{"token": "x", "host": "another-host", "pid": 1}')
    os.utime(path, (0, 0))
    taken, done = [], threading.Barrier(8)

    def take() -> None:
        try:
            with locked(path):
                taken.append(1)
                done.wait()
        except LockedError:
            done.wait()

    threads = [threading.Thread(target=take) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(taken) == 1
