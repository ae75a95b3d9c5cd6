"""Keys, and several conditional changes as one value."""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["Batch", "Key"]


class Key(NamedTuple):
    """Where a value lies: partition key (`<kind>.<connector>.<md5 of identity>`) and sort key (the operation)."""

    pk: str
    sk: str


class Batch:
    """Changes that apply together or not at all, and the values that have to be there for it.

    `requires` maps a key to the value it must have, None where it must be absent; `changes` maps a key to its new
    value, None to delete it.
    """

    __slots__ = ("changes", "requires")

    def __init__(self) -> None:
        self.requires: dict[Key, str | None] = {}
        self.changes: dict[Key, str | None] = {}

    def require(self, key: Key, value: str | None) -> Batch:
        """Nothing is changed unless `key` holds `value` (None: nothing)."""
        self.requires[key] = value
        return self

    def set(self, key: Key, value: str) -> Batch:
        """Write `value`."""
        self.changes[key] = value
        return self

    def delete(self, key: Key) -> Batch:
        """Remove what `key` holds, if anything."""
        self.changes[key] = None
        return self
