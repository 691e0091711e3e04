"""The tensors of groups that are kept on disk."""

from dataclasses import dataclass
from typing import Literal

from tyro.conf import Positional

from interp.arguments import FAILED, parse
from interp.plain_json import json_text


@dataclass(frozen=True)
class Cache:
    """See to the tensors of groups that are kept on disk."""

    action: Positional[Literal["list", "verify", "clear"]] = "list"
    """list what is kept, verify it against its checksums, or clear it."""
    json: bool = False
    """List as JSON."""


def cache(arguments: list[str]) -> int:
    """List, verify or clear the cached tensors of groups: `interp cache list`."""
    options = parse(Cache, "cache", arguments)
    from tasks.groups import cache_entries, cache_folder, clear_cache, verify_cache

    if options.action == "clear":
        print(f"removed {clear_cache()} entries from {cache_folder()}")
        return 0
    states = verify_cache() if options.action == "verify" else [(e, "") for e in cache_entries()]
    damaged = [entry for entry, state in states if state == "damaged"]
    if options.json:
        print(json_text([{**vars(entry), "state": state or None} for entry, state in states]))
    else:
        for entry, state in states:
            size = f"{entry.bytes / 2**20:8.2f} MiB"
            print(f"{entry.group:<12} {size}  {entry.path}  {state}".rstrip())
    return FAILED if damaged else 0
