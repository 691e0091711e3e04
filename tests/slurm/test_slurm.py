"""A sweep through a real SLURM: jobs are killed in the middle, and it ends complete."""

import json
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from interp.commands.sweep import sweep
from interp.runs.run import Run
from training.sweep.slurm import SlurmError

pytestmark = pytest.mark.slurm
PATIENCE = 240.0
"""Seconds for anything to happen: a job first imports for a while."""
SWEEP = """
task: C7
model: mlp
d_embed: 4
d_mlp: 6
seeds: 0..1
checkpoints: 2
steps: 8000
lr: [1e-3, 2e-3, 3e-3]
"""


@pytest.fixture
def slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A SLURM of one node with two processors, of which nothing is left afterwards."""
    if os.geteuid() != 0:
        pytest.skip("only root can start a SLURM of its own")
    if not any(Path(folder, "apt-get").exists() for folder in os.get_exec_path()):
        pytest.skip("a SLURM of its own needs Debian's packages")
    folder = tmp_path / "slurm"
    folder.mkdir()
    start = [str(Path(__file__).with_name("start.sh")), str(folder), str(free_port())]
    started = subprocess.run(start, capture_output=True, text=True)
    try:
        assert started.returncode == 0, started.stderr
        monkeypatch.setenv("SLURM_CONF", started.stdout.strip())
        yield
        subprocess.run(["scancel", "--me"], check=True)
        until(lambda: not in_queue())
    finally:
        for file in folder.glob("*.pid"):
            end(int(file.read_text()))


def free_port() -> int:
    """A port that nobody uses, nor the one above it."""
    while True:
        with socket.socket() as one, socket.socket() as other:
            one.bind(("127.0.0.1", 0))
            port = one.getsockname()[1]
            try:
                other.bind(("127.0.0.1", port + 1))
                return port
            except OSError:
                continue


def end(pid: int) -> None:
    """End a daemon; with force if it does not."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        for _ in range(50):
            if not is_alive(pid):
                return
            os.kill(pid, number)
            time.sleep(0.1)


def is_alive(pid: int) -> bool:
    """Whether the process is there, and not a dead one whose parent has not looked."""
    status = Path(f"/proc/{pid}/status")
    return status.exists() and "State:\tZ" not in status.read_text()


def until(condition: Callable[[], Any]) -> Any:
    """What the condition gives as soon as it gives something."""
    deadline = time.monotonic() + PATIENCE
    while not (found := condition()):
        assert time.monotonic() < deadline, "nothing happened"
        time.sleep(0.1)
    return found


def in_queue() -> str:
    squeue = ["squeue", "--me", "--array", "--noheader", "--format=%i"]
    return subprocess.run(squeue, capture_output=True, text=True, check=True).stdout


def test_jobs_that_are_killed_cancelled_and_timed_out_are_completed(
    slurm: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "sweep.yaml"
    file.write_text(SWEEP)
    here = [str(file), "--to", str(tmp_path / "runs")]
    start = [*here, "--engine", "slurm", "--slurm", "cpus-per-task=1"]

    def states() -> dict[str, tuple[str, str]]:
        """State and details by run folder, as `interp sweep status` tells them."""
        capsys.readouterr()
        assert sweep(["status", *here, "--json"]) == 0
        rows = json.loads(capsys.readouterr().out)
        return {Path(row["path"]).name: (row["state"], row["details"]) for row in rows}

    def run(lr: str) -> str:
        return f"C7_mlp_lr_{lr}_seed0"

    def status(lr: str) -> dict[str, Any]:
        file = tmp_path / "runs" / run(lr) / "status.json"
        return json.loads(file.read_text()) if file.exists() else {}

    def is_training(lr: str) -> bool:
        return status(lr).get("state") == "training"

    def job(lr: str) -> str:
        return json.loads((tmp_path / "runs" / run(lr) / "slurm.json").read_text())["job"]

    with pytest.raises(SlurmError, match=r"sbatch: error: invalid partition specified: none$"):
        sweep([*start, "--slurm", "partition=none"])
    assert sweep(start) == 0
    assert len(capsys.readouterr().out.splitlines()) == 3

    # One is killed, one cancelled; both have left the queue, and nothing but the queue tells so.
    until(lambda: is_training("1e-3") and is_training("2e-3"))
    found = states()
    assert found[run("1e-3")][0] == found[run("2e-3")][0] == "running"
    assert found[run("3e-3")] == ("waiting", f"SLURM job {job('3e-3')} is PENDING (Resources)")
    killed, cancelled = job("1e-3"), job("2e-3")
    os.kill(status("1e-3")["pid"], signal.SIGKILL)
    subprocess.run(["scancel", cancelled], check=True)
    until(lambda: not {killed, cancelled} & set(in_queue().split()))
    found = states()
    assert found[run("1e-3")][0] == found[run("2e-3")][0] == "failed"
    assert f"SLURM job {cancelled} is gone" in found[run("2e-3")][1]
    assert status("2e-3")["state"] == "interrupted" and 0 < status("2e-3")["step"] < 8000
    begun = Run(tmp_path / "runs" / run("2e-3")).checkpoint_path(0).stat().st_mtime_ns

    # SLURM's signal that the time is up: the job queues itself again.
    until(lambda: is_training("3e-3"))
    subprocess.run(["scancel", "--signal=USR2", job("3e-3")], check=True)
    until(lambda: f"SLURM job {job('3e-3')} is PENDING" in states()[run("3e-3")][1])
    assert states()[run("3e-3")][0] == "waiting"

    # What is gone is submitted again, what is in the queue is not, and a third start does nothing.
    capsys.readouterr()
    assert sweep(start) == 0 and sweep(start) == 0
    assert len(capsys.readouterr().out.splitlines()) == 2
    assert job("1e-3") != killed and job("2e-3") != cancelled

    until(lambda: all(state == "done" for state, _ in states().values()))
    until(lambda: not in_queue())
    assert len(states()) == 6
    continued = Run(tmp_path / "runs" / run("2e-3"))
    assert continued.checkpoint_path(0).stat().st_mtime_ns == begun
    assert continued.history()["step"].is_monotonic_increasing
    assert sweep(start) == 0
    assert len(capsys.readouterr().out.splitlines()) == 6

    # Measuring what is trained are jobs of the same kind.
    measure = [*start, "--evaluate", "final"]
    assert sweep(measure) == 0 and sweep(measure) == 0
    assert len(capsys.readouterr().out.splitlines()) == 3
    until(lambda: not in_queue())
    assert sweep(measure) == 0
    assert len(capsys.readouterr().out.splitlines()) == 6
    assert "loss/test" in continued.summary()
