"""A cache folder of its own for every test, with nothing kept in memory from the test before."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tasks.groups import cache, tensors


@pytest.fixture
def forget() -> Callable[[], None]:
    """Drops what this process remembers of irreps and warnings, as a new process would."""
    return _forget


def _forget() -> None:
    for remembered in (tensors.irreps, tensors.fourier_basis, tensors._stored):
        remembered.cache_clear()
    cache._warn_unwritable.cache_clear()


@pytest.fixture
def cache_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache folder, used by this test only."""
    monkeypatch.setenv("INTERP_CACHE_DIR", str(tmp_path / "cache"))
    _forget()
    return tmp_path / "cache"


@pytest.fixture(autouse=True, scope="session")
def session_cache(tmp_path_factory: pytest.TempPathFactory):
    """Tests that say nothing of the cache share one outside the checkout."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setenv("INTERP_CACHE_DIR", str(tmp_path_factory.mktemp("cache")))
        yield
