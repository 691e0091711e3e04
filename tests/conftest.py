"""What every test gets: checked shapes, a cache of its own, and few threads."""

import os
import tempfile
from pathlib import Path

import pytest
from jaxtyping import install_import_hook

# The networks are tiny: a second thread waits more than it works. Before torch is imported.
os.environ.setdefault("OMP_NUM_THREADS", "1")
CACHE = tempfile.TemporaryDirectory(prefix="interp-test-cache-")
os.environ["INTERP_CACHE_DIR"] = CACHE.name
hook = install_import_hook(
    ["tasks", "interp", "training", "analysis", "paper"], "beartype.beartype"
)

REFERENCE = Path(__file__).parents[2] / "shared" / "reference"


def pytest_unconfigure() -> None:
    """Leave nothing behind."""
    CACHE.cleanup()


@pytest.fixture
def published() -> Path:
    """The published runs, or a skip where they are not at hand."""
    if not REFERENCE.is_dir():
        pytest.skip(f"the published runs are not in {REFERENCE}")
    return REFERENCE / "published"


@pytest.fixture(autouse=True)
def no_module_is_named_yet() -> None:
    """What one test lets be imported, the next has not named."""
    from interp.runs.registry import user_modules

    user_modules.clear()
