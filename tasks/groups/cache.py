"""The tensors of groups on disk: one safetensors file a group, under a content-addressed name.

A file holds `table` (int16), `basis`, `characters` and `matrices/{irrep}` (float64), and in its
metadata the group, its definition, the list of irreps, and a SHA-256 of the whole file with the
digits of the checksum itself set to zero. Files are written under a temporary name and renamed,
so that a reader finds a whole file or none, however many processes fill the cache at once.
"""

import json
import os
import re
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Literal, NamedTuple

import torch
from platformdirs import user_cache_path
from safetensors.torch import load, save
from torch import Tensor

from tasks.atomic import atomic_path
from tasks.groups.group import FiniteGroup

ALGORITHM_VERSION = 1
"""Raise it whenever the tensors computed for the same definition change."""

_NO_CHECKSUM = b"0" * 64
_CHECKSUM = re.compile(rb'"sha256":"([0-9a-f]{64})"')
_OUR_FILES = re.compile(r"\.?[0-9a-f]{64}\.safetensors(\..+\.tmp)?")


class CacheWarning(UserWarning):
    """A file of the cache is damaged, or none can be written; results are right all the same."""


class Contents(NamedTuple):
    """What is kept of a group: named tensors, and text beside them."""

    tensors: dict[str, Tensor]
    notes: dict[str, str]


@dataclass(frozen=True)
class CacheEntry:
    """One file of the cache; group and definition are "?" if its header cannot be read."""

    group: str
    definition: str
    bytes: int
    path: Path
    modified: datetime


def cache_folder() -> Path:
    """INTERP_CACHE_DIR; else `cache/` of the checkout we run from; else the user's cache."""
    if configured := os.environ.get("INTERP_CACHE_DIR"):
        return Path(configured)
    checkout = Path(__file__).parents[2]
    project = checkout / "pyproject.toml"
    if project.is_file() and 'name = "interp"' in project.read_text():
        return checkout / "cache"
    return user_cache_path("interp")


def load_or_compute(group: FiniteGroup, compute: Callable[[], Contents]) -> Contents:
    """What the cache holds for the group, or else what `compute` returns, stored.

    Warns:
        CacheWarning: the file was damaged (it is replaced), or the folder cannot be written
            (once a process).
    """
    path = _path_of(group)
    blob = _read(path)
    if blob is not None:
        if (contents := _contents(blob, group)) is not None:
            return contents
        warnings.warn(
            f"{path} is damaged; computing {group.name} again", CacheWarning, stacklevel=2
        )
    contents = compute()
    _write(path, _blob(group, contents))
    return contents


def cache_entries() -> list[CacheEntry]:
    """The files of the cache, by group name."""
    entries = [_entry(path) for path in _our_files() if path.suffix == ".safetensors"]
    return sorted(entries, key=lambda entry: (entry.group, entry.definition))


def verify_cache() -> list[tuple[CacheEntry, Literal["ok", "damaged"]]]:
    """Every file of the cache, and whether its checksum holds."""
    return [
        (entry, "ok" if _is_intact(_read(entry.path) or b"") else "damaged")
        for entry in cache_entries()
    ]


def clear_cache() -> int:
    """Remove the files of the cache, and no others. Returns how many there were."""
    files = _our_files()
    for path in files:
        path.unlink(missing_ok=True)
    return len(files)


def _folder() -> Path:
    return cache_folder() / "groups"


def _path_of(group: FiniteGroup) -> Path:
    key = json.dumps([group.definition, "float64", ALGORITHM_VERSION])
    return _folder() / f"{sha256(key.encode()).hexdigest()}.safetensors"


def _our_files() -> list[Path]:
    try:
        return sorted(path for path in _folder().iterdir() if _OUR_FILES.fullmatch(path.name))
    except OSError:  # no folder, no files
        return []


def _read(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except OSError:
        return None


def _write(path: Path, blob: bytes) -> None:
    try:
        with atomic_path(path) as temporary:
            temporary.write_bytes(blob)
    except OSError as error:
        _warn_unwritable(path.parent, str(error))


@cache
def _warn_unwritable(folder: Path, reason: str) -> None:
    warnings.warn(
        f"nothing is stored in {folder}: {reason}. Set INTERP_CACHE_DIR to a folder that can be "
        "written, to compute each group once",
        CacheWarning,
        stacklevel=2,
    )


def _blob(group: FiniteGroup, contents: Contents) -> bytes:
    """The file, with its checksum in the place of the zeros."""
    metadata = {"group": group.name, "definition": group.definition, **contents.notes}
    metadata["sha256"] = _NO_CHECKSUM.decode()
    tensors = {"table": group.table.to(torch.int16), **contents.tensors}
    blob = save(tensors, metadata)
    start, stop = _checksum_place(blob)
    return blob[:start] + sha256(blob).hexdigest().encode() + blob[stop:]


def _is_intact(blob: bytes) -> bool:
    try:
        start, stop = _checksum_place(blob)
    except ValueError:
        return False
    digest = sha256(blob[:start] + _NO_CHECKSUM)
    digest.update(memoryview(blob)[stop:])
    return digest.hexdigest().encode() == blob[start:stop]


def _checksum_place(blob: bytes) -> tuple[int, int]:
    match = _CHECKSUM.search(blob, 0, _header_end(blob))
    if match is None:
        raise ValueError("no checksum in the header")
    return match.span(1)


def _header_end(blob: bytes) -> int:
    """safetensors begins with the length of its JSON header, 8 bytes little-endian."""
    return min(8 + int.from_bytes(blob[:8], "little"), len(blob))


def _metadata(blob: bytes) -> dict[str, str]:
    return json.loads(blob[8 : _header_end(blob)])["__metadata__"]


def _contents(blob: bytes, group: FiniteGroup) -> Contents | None:
    """What the file holds; None if it is damaged or another group's."""
    if not _is_intact(blob):
        return None
    tensors = load(blob)
    if not torch.equal(tensors.pop("table").long(), group.table):
        return None
    return Contents(tensors, _metadata(blob))


def _entry(path: Path) -> CacheEntry:
    stat = path.stat()
    try:
        metadata = _metadata(_read_header(path))
        group, definition = metadata["group"], metadata["definition"]
    except (OSError, ValueError, KeyError, TypeError):
        group = definition = "?"
    modified = datetime.fromtimestamp(stat.st_mtime, tz=UTC)
    return CacheEntry(group, definition, stat.st_size, path, modified)


def _read_header(path: Path) -> bytes:
    with path.open("rb") as file:
        start = file.read(8)
        return start + file.read(min(int.from_bytes(start, "little"), path.stat().st_size))
