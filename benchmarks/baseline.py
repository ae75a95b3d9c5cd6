"""What a plain collector does for the same work: the yardstick of every ratio in this folder.

Compact `json.dumps` and md5 per entry, `jmespath.search` per entry, a dict merge for the metadata, gzip level 9 and
a plain write. No durability, no recovery.
"""

import gzip
import hashlib
import json
from pathlib import Path
from typing import Any

import jmespath


def hash_entry(entry: dict[str, Any]) -> str:
    text = json.dumps(entry, separators=(",", ":"), default=str)
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()


def hash_entries(entries: list[dict[str, Any]], path: str) -> dict[str, set[str]]:
    hashes: dict[str, set[str]] = {}
    for entry in entries:
        pointer = str(jmespath.search(path, entry))
        hashes.setdefault(pointer, set()).add(hash_entry(entry))
    return hashes


def deduplicate(entries: list[dict[str, Any]], path: str, known: dict[str, set[str]]) -> list[dict[str, Any]]:
    fresh = []
    for entry in entries:
        pointer = str(jmespath.search(path, entry))
        if hash_entry(entry) not in known.get(pointer, ()):
            fresh.append(entry)
    return fresh


def encode(entries: list[dict[str, Any]], metadata: dict[str, Any]) -> bytes:
    lines = [
        json.dumps({**entry, "_grove": {**metadata, **entry.get("_grove", {})}}, separators=(",", ":"), default=str)
        for entry in entries
    ]
    return "\r\n".join(lines).encode()


class Collector:
    """Keeps what it has seen in memory and writes each page to a file of its own."""

    def __init__(self, folder: Path, path: str) -> None:
        self.folder = folder
        self.path = path
        self.known: dict[str, set[str]] = {}
        self.pointer = ""
        self.part = 0

    def save(self, entries: list[dict[str, Any]], metadata: dict[str, Any]) -> None:
        fresh = deduplicate(entries, self.path, self.known)
        data = gzip.compress(encode(fresh, {**metadata, "pointer": self.pointer}), 9)
        (self.folder / f"page-{self.part}.json.gz").write_bytes(data)
        self.part += 1
        self.pointer = str(jmespath.search(self.path, entries[-1]))
        self.known = hash_entries(entries[-1:], self.path)
