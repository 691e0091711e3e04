"""The cache on disk: what it holds, and that no damage to it reaches a result."""

import errno
import os
import subprocess
import sys
import warnings
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from tasks.groups import (
    CacheWarning,
    cache_entries,
    cache_folder,
    clear_cache,
    finite_group,
    fourier_basis,
    irreps,
    tensors,
    verify_cache,
)

ROOT = Path(__file__).parents[3]


@pytest.fixture
def entry(cache_dir: Path, forget) -> Path:
    """The file of A4, just written."""
    irreps(finite_group("A4"))
    forget()
    return cache_entries()[0].path


def test_holds_table_irreps_characters_and_basis(entry):
    held = load_file(entry)
    group = finite_group("A4")
    assert torch.equal(held["table"].long(), group.table)
    assert set(held) == {"table", "basis", "characters"} | {
        f"matrices/{name}" for name in ("trivial", "standard", "2d_a")
    }
    (listed,) = cache_entries()
    assert (listed.group, listed.definition, listed.bytes) == ("A4", "A4", entry.stat().st_size)


@pytest.mark.parametrize("name", ["C5", "D4", "S4@published", "A4", "Q8", "(0 1 2),(3 4)"])
def test_read_back_bitwise(name, cache_dir, forget, monkeypatch):
    group = finite_group(name)
    first, basis = irreps(group), fourier_basis(group)
    forget()
    monkeypatch.setattr(tensors, "computed_irreps", None)  # to compute again would be an error
    again = irreps(group)
    assert again is not first and torch.equal(fourier_basis(group).matrix, basis.matrix)
    for a, b in zip(first, again, strict=True):
        assert (a.name, a.kind, a.dimension) == (b.name, b.kind, b.dimension)
        assert a.published_name == b.published_name
        assert torch.equal(a.matrices, b.matrices) and torch.equal(a.character, b.character)
    assert fourier_basis(group).blocks == basis.blocks


def test_element_orders_have_files_of_their_own(cache_dir):
    irreps(finite_group("S4"))
    irreps(finite_group("S4@published"))
    assert [entry.definition for entry in cache_entries()] == ["S4", "S4@published"]


def _flip(position: float):
    def damage(blob: bytes) -> bytes:
        at = int(position * (len(blob) - 1))
        return blob[:at] + bytes([blob[at] ^ 1]) + blob[at + 1 :]

    return damage


DAMAGES = {f"flip at {place:.0%}": _flip(place) for place in (0, 0.02, 0.05, 0.1, 0.5, 1)}
DAMAGES |= {
    "truncated": lambda blob: blob[: len(blob) // 2],
    "empty": lambda blob: b"",
    "longer": lambda blob: blob + b"\0",
    "another name": lambda blob: blob.replace(b"standard", b"stundard"),
    "checksum removed": lambda blob: blob.replace(b"sha256", b"sha255"),
    "garbage": lambda blob: b"\xff" * len(blob),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_file_is_computed_again(damage, entry):
    blob = entry.read_bytes()
    entry.write_bytes(DAMAGES[damage](blob))
    assert [state for _, state in verify_cache()] == ["damaged"]
    with pytest.warns(CacheWarning, match="is damaged; computing A4 again"):
        found = irreps(finite_group("A4"))
    assert [irrep.name for irrep in found] == ["trivial", "standard", "2d_a"]
    assert entry.read_bytes()[-1000:] == blob[-1000:]  # replaced
    assert [state for _, state in verify_cache()] == ["ok"]


def test_file_of_another_group_is_not_believed(entry, forget):
    irreps(finite_group("A5"))
    other = next(e.path for e in cache_entries() if e.group == "A5")
    other.write_bytes(entry.read_bytes())
    forget()
    with pytest.warns(CacheWarning, match="damaged; computing A5 again"):
        assert len(irreps(finite_group("A5"))) == 5


def test_unwritable_folder_warns_once(tmp_path, forget, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("INTERP_CACHE_DIR", str(tmp_path / "file"))
    forget()
    with pytest.warns(CacheWarning, match="nothing is stored in .*Set INTERP_CACHE_DIR"):
        assert len(irreps(finite_group("A4"))) == 3
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        tensors.irreps.cache_clear()
        tensors._stored.cache_clear()
        assert len(irreps(finite_group("A4"))) == 3
    assert cache_entries() == [] and clear_cache() == 0


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write to a read-only folder")
def test_read_only_folder(cache_dir):
    cache_dir.mkdir(mode=0o555)
    with pytest.warns(CacheWarning, match="Permission denied"):
        assert len(irreps(finite_group("A4"))) == 3


def test_full_disk(cache_dir, monkeypatch):
    def full(path, data):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.warns(CacheWarning, match="No space left on device"):
        assert len(irreps(finite_group("A4"))) == 3
    assert list((cache_dir / "groups").iterdir()) == []  # no half file stays


def test_clear_removes_only_our_files(entry):
    killed = entry.with_name(f".{entry.name}.a-host.17.k1ll_ed.tmp")
    killed.write_bytes(b"half")
    theirs = [entry.with_name("notes.txt"), entry.parent.parent / "README.md"]
    theirs += [entry.with_name("model.safetensors")]
    for path in theirs:
        path.write_text("not ours")
    assert clear_cache() == 2
    assert not entry.exists() and not killed.exists()
    assert all(path.exists() for path in theirs) and cache_entries() == []


def test_large_closed_forms_are_not_stored(cache_dir, monkeypatch):
    monkeypatch.setattr(tensors, "_LARGEST_STORED_CLOSED_FORM", 23)
    assert len(irreps(finite_group("S4"))) == 5
    assert fourier_basis(finite_group("S4")).matrix.shape == (24, 24)
    assert cache_entries() == []


def test_where_it_is(monkeypatch, tmp_path):
    monkeypatch.delenv("INTERP_CACHE_DIR")
    assert cache_folder() == ROOT / "cache"
    monkeypatch.setattr("tasks.groups.cache.__file__", str(tmp_path / "site/tasks/groups/cache.py"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "user"))
    assert cache_folder() == tmp_path / "user" / "interp"


FILL = """
from tasks.groups import finite_group, irreps
for name in ("A4", "Q8", "C2xS3", "S4"):
    assert sum(irrep.rank for irrep in irreps(finite_group(name))) == finite_group(name).order
"""


@pytest.mark.slow
def test_several_processes_fill_it_at_once(cache_dir):
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-W", "error", "-c", FILL]
    processes = [subprocess.Popen(command, env=environment) for _ in range(3)]
    assert [process.wait(timeout=120) for process in processes] == [0, 0, 0]
    assert sorted(entry.group for entry in cache_entries()) == ["A4", "C2xS3", "Q8", "S4"]
    assert {state for _, state in verify_cache()} == {"ok"}
    assert len(list((cache_dir / "groups").iterdir())) == 4  # no temporary file stays


def test_importing_the_package_imports_no_torch():
    code = "import sys, tasks.groups; assert not {'torch', 'numpy', 'jaxtyping'} & set(sys.modules)"
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    subprocess.run([sys.executable, "-c", code], env=environment, check=True)


def test_every_public_name_is_there():
    import tasks.groups

    for name in dir(tasks.groups):
        assert getattr(tasks.groups, name).__name__ == name
    with pytest.raises(AttributeError, match="nothing"):
        _ = tasks.groups.nothing
