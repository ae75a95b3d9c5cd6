"""What every cache offers: keyed text values, conditions on them, and several changes as one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import ClassVar, NamedTuple

from grove.exceptions import NotImplementedException

__all__ = ["BaseCache", "Batch", "Key"]


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


class BaseCache:
    """A store of text by (pk, sk). A handler needs `get`, `set` and `delete`; the rest builds on them.

    Handlers that can do better override `read`, `apply`, `scan` and `reopen` as well.
    """

    SCOPE: ClassVar[str] = "shared"
    """From where the stored state can be reached: "process", "host" or "shared"."""

    directory: Path | None = None
    """A directory of this host that belongs to the cache, where lock files may lie."""

    @property
    def fenced(self) -> bool:
        """Whether a batch's conditions hold against other processes; False where `set` takes no `constraint`."""
        from grove.caches._journal import takes_constraint

        return takes_constraint(type(self))

    def setup(self) -> None:
        """Called once, before anything is read."""

    def get(self, pk: str, sk: str) -> str:
        """The value. NotFoundException where there is none; AccessException where the store does not answer."""
        raise NotImplementedException(f"{type(self).__module__} cannot read.")

    def set(
        self, pk: str, sk: str, value: str, not_set: bool | None = False, constraint: str | None = None
    ) -> None:
        """Store a value: with `not_set` only where there is none, with `constraint` only in the place of that value.

        ValueError for both at once; DataFormatException where the condition is not met; AccessException: unknown.
        """
        raise NotImplementedException(f"{type(self).__module__} cannot write.")

    def delete(self, pk: str, sk: str, constraint: str | None = None) -> None:
        """Remove a value, with `constraint` only that one. DataFormatException where the condition is not met."""
        raise NotImplementedException(f"{type(self).__module__} cannot delete.")

    def read(self, keys: Sequence[Key]) -> list[str | None]:
        """The values of `keys`, None for those that are absent: one snapshot where the store can give one."""
        from grove.caches._journal import read

        return read(self, keys)

    def apply(self, batch: Batch) -> None:
        """All of `batch`, durable on return, or nothing.

        ConflictError: a condition is not met, nothing was changed. AccessException: the outcome is unknown.
        """
        from grove.caches._journal import apply

        apply(self, batch)

    def scan(self, prefix: str) -> Iterator[tuple[Key, str]]:
        """Every key whose pk starts with `prefix`, and its value. NotImplementedException where that cannot be had."""
        raise NotImplementedException(f"{type(self).__module__} cannot list its keys.")

    def reopen(self) -> None:
        """Forget whatever is open: called after an outcome that is unknown, before reading back."""
