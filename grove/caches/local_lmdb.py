"""State in LMDB on this host's disk: the default. Shared by all processes of the host, durable on return."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar, TypeVar

from grove.caches import Batch, Key
from grove.caches._lmdb_environment import Closed, Environment, close, environment
from grove.caches._lmdb_opening import ENV_PATH, Configuration
from grove.caches._lmdb_records import FORMAT_KEY, PREFIX_LIMIT, decode, store_key
from grove.caches._native import NativeCache
from grove.exceptions import ConfigurationException
from grove.helpers import settings

__all__ = ["Handler"]

_Found = TypeVar("_Found")


class Handler(NativeCache):
    """The cache in one directory: GROVE_CACHE_LOCAL_LMDB_PATH, else $STATE_DIRECTORY, else below the home directory.

    AccessException and CorruptStateError name that directory. Any number of handlers, threads and processes may use
    it at once.
    """

    SCOPE: ClassVar[str] = "host"

    def __init__(self, path: str | os.PathLike[str] | None = None) -> None:
        self.directory: Path = Path(path).absolute() if path is not None else _default_path().absolute()
        self._opened: Environment | None = None

    def setup(self) -> None:
        """Open the environment; errors are the class's."""
        self._environment()

    def reopen(self) -> None:
        """Close the environment and open it anew, for every handler of this process."""
        if self._opened is not None:
            close(self._opened)
        self._environment()

    def read(self, keys: Sequence[Key]) -> list[str | None]:
        """The values of `keys`, in one snapshot."""
        return self._in_snapshot(lambda txn: [self._value(txn, key) for key in keys])

    def apply(self, batch: Batch) -> None:
        """All of `batch`, durable on return, or nothing."""
        while True:
            try:
                self._environment().apply(batch)
                return
            except Closed:
                continue

    def scan(self, prefix: str) -> Iterator[tuple[Key, str]]:
        """Every key whose pk starts with `prefix`, and its value, as they were at one moment."""
        return iter(self._in_snapshot(lambda txn: self._found(txn, prefix)))

    def _environment(self) -> Environment:
        opened = self._opened
        if opened is None or opened.closed:
            self._opened = opened = environment(self.directory)
        return opened

    def _in_snapshot(self, work: Callable[[Any], _Found]) -> _Found:
        while True:
            try:
                with self._environment().snapshot() as txn:
                    return work(txn)
            except Closed:
                continue

    def _value(self, txn: Any, key: Key) -> str | None:
        stored = store_key(key)
        record = txn.get(stored)
        return None if record is None else decode(stored, record, self.directory)[1]

    def _found(self, txn: Any, prefix: str) -> list[tuple[Key, str]]:
        start = prefix.encode("utf-8", "surrogatepass")[:PREFIX_LIMIT]
        found = []
        with txn.cursor() as cursor:
            if cursor.set_range(start):
                for stored, record in cursor:
                    if not stored.startswith(start):
                        break
                    if stored == FORMAT_KEY:
                        continue
                    key, value = decode(stored, record, self.directory)
                    if key.pk.startswith(prefix):
                        found.append((key, value))
        return found


def _default_path() -> Path:
    # systemd may list several state directories; the first is ours.
    named = settings.read(Configuration).path or os.environ.get("STATE_DIRECTORY", "").split(":")[0]
    if named:
        return Path(named)
    if state := os.environ.get("XDG_STATE_HOME"):
        return Path(state) / "grove"
    try:
        return Path.home() / ".local" / "state" / "grove"
    except RuntimeError as err:
        raise ConfigurationException(
            f"There is no home directory to keep the cache in. Set {ENV_PATH} to a local directory."
        ) from err
