"""What every cache offers: keyed text values, conditions on them, and several changes as one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import ClassVar

from grove.caches import _journal
from grove.caches._batch import Batch, Key
from grove.exceptions import NotImplementedException

__all__ = ["BaseCache", "Batch", "Key"]


class BaseCache:
    """A store of text by (pk, sk). A handler needs `get`, `set` and `delete`; the rest builds on them.

    Handlers that can do better override `read`, `apply`, `scan` and `reopen` as well.
    """

    SCOPE: ClassVar[str] = "shared"
    """From where the stored state can be reached: "process", "host" or "shared"."""

    EXTRA: ClassVar[str | None] = None
    """The extra of this package, as in `grove[aws]`, that brings what the handler imports."""

    directory: Path | None = None
    """A directory of this host that belongs to the cache, where lock files may lie."""

    @property
    def fenced(self) -> bool:
        """Whether a batch's conditions hold against other processes; False where `set` takes no `constraint`."""
        return _journal.takes_constraint(type(self))

    def setup(self) -> None:
        """Called once, before anything is read."""

    def get(self, pk: str, sk: str) -> str:
        """The value. NotFoundException where there is none; AccessException where the store does not answer."""
        raise NotImplementedException(f"{type(self).__module__} cannot read.")

    def set(self, pk: str, sk: str, value: str, not_set: bool | None = False, constraint: str | None = None) -> None:
        """Store a value: with `not_set` only where there is none, with `constraint` only in the place of that value.

        ValueError for both at once; DataFormatException where the condition is not met; AccessException: unknown.
        """
        raise NotImplementedException(f"{type(self).__module__} cannot write.")

    def delete(self, pk: str, sk: str, constraint: str | None = None) -> None:
        """Remove a value, with `constraint` only that one. DataFormatException where the condition is not met."""
        raise NotImplementedException(f"{type(self).__module__} cannot delete.")

    def read(self, keys: Sequence[Key]) -> list[str | None]:
        """The values of `keys`, None for those that are absent: one snapshot where the store can give one."""
        return _journal.read(self, keys)

    def apply(self, batch: Batch) -> None:
        """All of `batch`, durable on return, or nothing.

        ConflictError: a condition is not met, nothing was changed. AccessException: the outcome is unknown.
        """
        _journal.apply(self, batch)

    def scan(self, prefix: str) -> Iterator[tuple[Key, str]]:
        """Every key whose pk starts with `prefix`, and its value. NotImplementedException where that cannot be had."""
        raise NotImplementedException(f"{type(self).__module__} cannot list its keys.")

    def reopen(self) -> None:
        """Forget whatever is open: called after an outcome that is unknown, before reading back."""
