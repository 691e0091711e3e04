"""What a user may do to a run in the middle of things: nothing is lost, and it is said what to do.

`KILLS=50 pytest -m slow -s tests/test_damage.py` kills each command 50 times; 5 times if not given.
Damaged files are in the tests of what reads them.
"""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from interp.runs.run import Run

KILLS = int(os.environ.get("KILLS", "5"))
TRAIN = ["train", "C13", "--train-fraction", "0.6", "--d-embed", "16", "--d-mlp", "16"]
TRAIN += ["--steps", "1500", "--checkpoints", "20", "--name", "run", "--quiet"]
CHAINS = ["--chains", "2", "--draws", "200", "--burn-in", "50", "--checkpoints", "log", "--quiet"]
GROUPS = """
from tasks.groups import finite_group, irreps
for n in range(3, 40):
    irreps(finite_group(f"D{n}"))
"""
SCRIPT = """
import json, os, random, shutil, signal, sys, time
import analysis.evaluate, analysis.llc.runs, training.train, torch
from interp.cli import main

torch.set_num_threads(1)
command, folder, fresh, kills, seconds = json.loads(sys.argv[1])
if command[0] == "-c":
    main = lambda command: exec(command[1]) or 0
draw, killed = random.Random(0), 0
for _ in range(kills):
    child = os.fork()
    if child == 0:
        sys.stdout = sys.stderr = open(os.devnull, "w")
        os._exit(main(command))
    time.sleep(draw.uniform(0, seconds))
    os.kill(child, signal.SIGKILL)
    if os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL:
        killed += 1
    else:  # it was at its end: from the beginning again
        shutil.rmtree(folder)
        shutil.copytree(fresh, folder)
begun = time.monotonic()
status = main(command)
print(json.dumps([killed, status, time.monotonic() - begun]))
"""


def carry_out(
    command: list[str], folder: Path, fresh: Path, kills: int = 0, seconds: float = 0.0
) -> tuple[int, int, float]:
    """Run a command to its end, after it was killed some times within so many seconds.

    Where it ends before it is killed, `folder` becomes a copy of `fresh` again. Returns how often
    it was killed before its end, its exit status, and how long it took then.
    """
    asked = json.dumps([command, str(folder), str(fresh), kills, seconds])
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, asked], env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    killed, status, took = json.loads(done.stdout.splitlines()[-1])
    return killed, status, took


def weights(folder: Path) -> Any:
    run = Run(folder / "run_seed0")
    assert run.status()["state"] == "done"
    return [
        (step, {name: x.tolist() for name, x in run.weights(step).items()}) for step in run.steps
    ]


def measured(folder: Path) -> Any:
    run = Run(folder / "run_seed0")
    return run.metrics().to_dict("records"), run.summary()


def coefficients(folder: Path) -> Any:
    about = Run(folder / "run_seed0").read_json("llc/all.json")
    del about["settings"]["seconds"]
    return about, measured(folder)


def cached(folder: Path) -> Any:
    found = subprocess.run(
        [sys.executable, "-m", "interp.cli", "cache", "verify", "--json"],
        env={**os.environ, "INTERP_CACHE_DIR": str(folder / "cache")},
        capture_output=True,
        text=True,
    )
    return [(entry["group"], entry["bytes"], entry["state"]) for entry in json.loads(found.stdout)]


COMMANDS = {
    "train": (TRAIN, weights),
    "evaluate": (["evaluate", "FOLDER/run_seed0", "--quiet"], measured),
    "llc": (["llc", "FOLDER/run_seed0", *CHAINS], coefficients),
    "cache": (["-c", GROUPS], cached),
}


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("trained")
    assert carry_out([*TRAIN, "--to", str(folder)], folder, folder)[1] == 0
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("what", COMMANDS)
def test_killed_at_random_moments_it_ends_with_the_same(
    what: str, trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    command, result = COMMANDS[what]
    found, seconds = [], 0.0
    fresh = tmp_path / "fresh"
    if what == "train":
        fresh.mkdir()
    else:
        shutil.copytree(trained, fresh)
    for name, kills in (("whole", 0), ("killed", KILLS)):
        folder = tmp_path / name
        shutil.copytree(fresh, folder)
        monkeypatch.setenv("INTERP_CACHE_DIR", str(folder / "cache"))
        own = [word.replace("FOLDER", str(folder)) for word in command]
        own += ["--to", str(folder)] if what == "train" else []
        killed, status, took = carry_out(own, folder, fresh, kills, seconds)
        assert status == 0 and killed >= kills / 2, f"killed {killed} times of {kills}"
        print(f"{what}: killed {killed} of {kills} times, then ended after {took:.1f} s")
        seconds = 0.6 * took  # so that few attempts end before they are killed
        found.append(result(folder))
    assert found[0] == found[1]
    # Nothing is left of the processes that are gone.
    left = [path for pattern in ("lock", ".*.tmp") for path in (tmp_path / "killed").rglob(pattern)]
    assert left == []


def start(command: list[str], **options: Any) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "interp.cli", *command],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **options,
    )


@pytest.mark.slow
def test_two_processes_on_one_run(trained: Path, tmp_path: Path) -> None:
    both = [start([*TRAIN, "--to", str(tmp_path)]) for _ in range(2)]
    told = [process.communicate()[1] for process in both]
    assert sorted(process.returncode for process in both) in ([0, 0], [0, 1])
    for process, errors in zip(both, told, strict=True):
        if process.returncode:
            assert "is in use by process" in errors and errors.count("\n") == 1
    assert weights(tmp_path) == weights(trained)


@pytest.mark.slow
def test_a_full_disk(trained: Path, tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can make a small disk")
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(disk)]
    if subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("no file system can be mounted here")
    try:
        process = start([*TRAIN, "--to", str(disk)])
        errors = process.communicate()[1]
        assert process.returncode == 1 and errors.count("\n") == 1
        assert "no space left" in errors.lower() and "make room" in errors
        subprocess.run(["mount", "-o", "remount,size=8m", str(disk)], check=True)
        process = start([*TRAIN, "--to", str(disk)])
        process.communicate()
        assert process.returncode == 0
        assert weights(disk) == weights(trained)
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=True)


def test_no_network_is_needed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import socket

    from interp.cli import main

    def refuse(*_: Any) -> None:
        raise AssertionError("something asked the network")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    assert main([*TRAIN, "--steps", "10", "--to", str(tmp_path)]) == 0
    run = tmp_path / "run_seed0"
    assert main(["evaluate", str(run), "--quiet"]) == 0
    assert main(["llc", str(run), *CHAINS, "--draws", "4"]) == 0
    assert main(["report", str(run), "--to", str(tmp_path / "report.html")]) == 0
