"""The package as it is installed: outside of the checkout nothing is missing."""

import os
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest

from paper.front import front_figure

ROOT = Path(__file__).parents[1]
PACKAGES = "tasks, interp, training, analysis, paper"


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment with the built wheel in it, and what it needs from this one."""
    folder = tmp_path_factory.mktemp("installed")
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check"]
    build = [*pip, "wheel", "--quiet", "--no-deps", "--no-build-isolation", str(ROOT)]
    subprocess.run([*build, "--wheel-dir", str(folder)], check=True)
    environment = folder / "environment"
    venv.create(environment)
    python = environment / "bin" / "python"
    (wheel,) = folder.glob("interp-*.whl")
    install = [*pip, "--python", str(python), "install", "--quiet", "--no-deps", str(wheel)]
    subprocess.run(install, check=True)
    (site,) = environment.glob("lib/python*/site-packages")
    # What a path file names is searched, but its own path files, of the checkout's, are not read.
    (site / "needed.pth").write_text(sysconfig.get_path("purelib"))
    return environment


def run(environment: Path, folder: Path, *command: str) -> str:
    inside = ("INTERP_CACHE_DIR", "PYTHONPATH")
    outside = {key: value for key, value in os.environ.items() if key not in inside}
    outside |= {"XDG_CACHE_HOME": str(folder / "cache"), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [str(environment / "bin" / command[0]), *command[1:]],
        cwd=folder,
        env=outside,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
def test_the_wheel_works_outside_of_the_checkout(installed: Path, tmp_path: Path) -> None:
    where = f"import {PACKAGES}\nprint(*(p.__file__ for p in ({PACKAGES})), sep='\\n')"
    files = run(installed, tmp_path, "python", "-c", where).splitlines()
    assert len(files) == 5
    assert all(Path(file).is_relative_to(installed) for file in files), files
    assert "usage: interp COMMAND" in run(installed, tmp_path, "interp", "--help")
    told = run(installed, tmp_path, "interp", "demo", "--fast", "--quiet", "--to", "demo")
    assert told.split()[-1] == "demo/report.html"
    assert (tmp_path / "demo" / "report.html").stat().st_size > 100_000
    curves = [curve.name for curve in front_figure(tmp_path / "demo" / "runs").data]
    assert {"train", "test", "excluded", "L0H0:EoI", "L1H0:x_t"} <= set(curves)
    assert list((tmp_path / "cache" / "interp").rglob("*.safetensors"))
