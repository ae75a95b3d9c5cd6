"""State in this process's memory: shared by all its connectors, gone with it."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from typing import ClassVar

from grove.caches import BaseCache, Batch, Key
from grove.exceptions import ConflictError, NotFoundException

__all__ = ["Handler"]

_lock = threading.RLock()
_shared: dict[str, dict[str, str]] = {}


class Handler(BaseCache):
    """One store per process. `_data` is that store; setting it gives one handler a store of its own."""

    SCOPE: ClassVar[str] = "process"

    def __init__(self) -> None:
        self._data = _shared

    def reset(self) -> None:
        """Forget everything."""
        with _lock:
            self._data.clear()

    def get(self, pk: str, sk: str) -> str:
        """The value. NotFoundException where there is none."""
        try:
            return self._data[pk][sk]
        except KeyError as err:
            raise NotFoundException(f"Nothing is stored for {pk} ({sk}).") from err

    def set(self, pk: str, sk: str, value: str, not_set: bool | None = False, constraint: str | None = None) -> None:
        """Store a value, under a condition. ConflictError where it is not met."""
        if not_set and constraint is not None:
            raise ValueError("not_set and constraint exclude each other")
        batch = Batch().set(Key(pk, sk), value)
        if not_set:
            batch.require(Key(pk, sk), None)
        elif constraint is not None:
            batch.require(Key(pk, sk), constraint)
        self.apply(batch)

    def delete(self, pk: str, sk: str, constraint: str | None = None) -> None:
        """Remove a value, under a condition. ConflictError where it is not met."""
        batch = Batch().delete(Key(pk, sk))
        if constraint is not None:
            batch.require(Key(pk, sk), constraint)
        self.apply(batch)

    def read(self, keys: Sequence[Key]) -> list[str | None]:
        """The values of `keys`, in one snapshot."""
        with _lock:
            return [self._data.get(key.pk, {}).get(key.sk) for key in keys]

    def apply(self, batch: Batch) -> None:
        """All of `batch`, or ConflictError."""
        with _lock:
            for key, value in batch.requires.items():
                if self._data.get(key.pk, {}).get(key.sk) != value:
                    raise ConflictError(f"{key.pk} ({key.sk}) is not what it was; nothing was changed.")
            for value in batch.changes.values():
                if value is not None and not isinstance(value, str):
                    raise TypeError(f"a cache holds text, not {type(value).__name__}")
            for key, value in batch.changes.items():
                if value is None:
                    self._data.get(key.pk, {}).pop(key.sk, None)
                else:
                    self._data.setdefault(key.pk, {})[key.sk] = value

    def scan(self, prefix: str) -> Iterator[tuple[Key, str]]:
        """Every key whose pk starts with `prefix`, and its value."""
        with _lock:
            found = [
                (Key(pk, sk), value)
                for pk, values in self._data.items()
                if pk.startswith(prefix)
                for sk, value in values.items()
            ]
        return iter(found)
