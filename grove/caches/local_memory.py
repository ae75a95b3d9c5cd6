"""State in this process's memory: shared by all its connectors, gone with it."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from typing import ClassVar

from grove.caches import Batch, Key
from grove.caches._native import NativeCache
from grove.exceptions import ConflictError

__all__ = ["Handler"]

_lock = threading.RLock()
_shared: dict[str, dict[str, str]] = {}


class Handler(NativeCache):
    """One store per process. `_data` is that store; setting it gives one handler a store of its own."""

    SCOPE: ClassVar[str] = "process"

    def __init__(self) -> None:
        self._data = _shared

    def reset(self) -> None:
        """Forget everything."""
        with _lock:
            self._data.clear()

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
