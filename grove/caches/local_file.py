"""State in text files on this host, one per value: readable with `cat`, and by older deployments."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import ClassVar

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from grove.caches import Batch, Key
from grove.caches._directory import make_private
from grove.caches._file_values import Values, hash_of, replace
from grove.caches._native import NativeCache
from grove.exceptions import ConflictError, CorruptStateError
from grove.helpers import files, settings

__all__ = ["Handler"]

ENV_PREFIX = "GROVE_CACHE_LOCAL_FILE_"
JOURNAL = ".journal"
LOCK = ".lock"


class Configuration(BaseSettings):
    """GROVE_CACHE_LOCAL_FILE_PATH: the directory."""

    model_config = SettingsConfigDict(env_prefix=ENV_PREFIX, extra="ignore")

    path: str = Field(min_length=1, description="The directory of the files.")


class Handler(NativeCache):
    """Files `{path}/{pk}/{sk}.cache` below GROVE_CACHE_LOCAL_FILE_PATH.

    One lock file makes conditions and batches safe between processes; several changes go through a journal, which
    whoever comes next carries out. ConfigurationException without a path; AccessException and CorruptStateError
    name the file.
    """

    SCOPE: ClassVar[str] = "host"

    def __init__(self, path: str | os.PathLike[str] | None = None) -> None:
        self.directory: Path = Path(path if path is not None else settings.read(Configuration).path).absolute()
        self._values = Values(self.directory)
        self._journal = self.directory / JOURNAL

    def setup(self) -> None:
        """Make the directory. AccessException where that cannot be done."""
        try:
            make_private(self.directory)
        except OSError as err:
            raise files.disk_error(err, self.directory) from err

    def read(self, keys: Sequence[Key]) -> list[str | None]:
        """The values of `keys`, in one snapshot."""
        with self._locked(exclusive=False):
            return [self._values.read(key) for key in keys]

    def apply(self, batch: Batch) -> None:
        """All of `batch`, durable on return, or nothing. ValueError for an empty text, which no file can stand for."""
        for value in batch.changes.values():
            if value is not None and not isinstance(value, str):
                raise TypeError(f"a cache holds text, not {type(value).__name__}")
            if value == "":
                raise ValueError("an empty text cannot be told from a file that a crash has emptied")
        with self._locked(exclusive=True):
            for key, value in batch.requires.items():
                if self._values.read(key) != value:
                    raise ConflictError(f"{key.pk} ({key.sk}) is not what it was; nothing was changed.")
            if len(batch.changes) > 1:
                replace(self._journal, _journal(batch.changes), self.directory)
                self._finish(batch.changes)
            else:
                self._carry_out(batch.changes)

    def scan(self, prefix: str) -> Iterator[tuple[Key, str]]:
        """Every key whose pk starts with `prefix`, and its value. Keys too long for a file name are left out."""
        with self._locked(exclusive=False):
            return iter(list(self._values.scan(prefix)))

    def unlisted(self) -> list[Path]:
        """The files of keys too long for a file name, which `scan` leaves out."""
        with self._locked(exclusive=False):
            return list(self._values.unlisted())

    @contextlib.contextmanager
    def _locked(self, *, exclusive: bool) -> Iterator[None]:
        """Hold the lock file, and finish a batch whose writer has died."""
        with _threads:
            try:
                flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
                handle = os.open(self.directory / LOCK, flags, 0o600)
            except OSError as err:
                raise files.disk_error(err, self.directory) from err
            try:
                fcntl.flock(handle, fcntl.LOCK_EX if exclusive else fcntl.LOCK_SH)
                if self._journal.exists():
                    fcntl.flock(handle, fcntl.LOCK_EX)
                    self._replay()
                yield
            finally:
                os.close(handle)

    def _replay(self) -> None:
        try:
            data = self._journal.read_bytes()
        except FileNotFoundError:
            return
        except OSError as err:
            raise files.disk_error(err, self._journal) from err
        self._finish(_changes(data, self._journal))

    def _finish(self, changes: dict[Key, str | None]) -> None:
        """Carry out what the journal says, and forget it."""
        self._carry_out(changes)
        try:
            files.remove(self._journal)
            files.sync_directory(self.directory)
        except OSError as err:
            raise files.disk_error(err, self._journal) from err

    def _carry_out(self, changes: dict[Key, str | None]) -> None:
        for key, value in changes.items():
            self._values.write(key, value)


# --- the journal ---

# The format's number, the hash of the rest, and the rest: a JSON list of [pk, sk, value or null].
_FORMAT = b"grove-journal-1"


def _journal(changes: dict[Key, str | None]) -> bytes:
    rest = json.dumps([[key.pk, key.sk, value] for key, value in changes.items()]).encode("ascii")
    return b"%s %s\n%s" % (_FORMAT, hash_of(rest).encode("ascii"), rest)


def _changes(data: bytes, path: Path) -> dict[Key, str | None]:
    """What a journal says; CorruptStateError names its file, `path`."""
    head, _, rest = data.partition(b"\n")
    name, _, signature = head.partition(b" ")
    if name.startswith(b"grove-journal-") and name != _FORMAT:
        raise CorruptStateError(f"A newer Grove wrote the cache's journal {path}. Start that version once.")
    if name != _FORMAT or signature != hash_of(rest).encode("ascii"):
        raise CorruptStateError(
            f"The cache's journal {path} is damaged. Restore the cache from a backup; without the journal, the last "
            "change to it may be half done."
        )
    return {Key(pk, sk): value for pk, sk, value in json.loads(rest)}


# --- threads and forks ---

# One for all handlers: a child must not inherit the lock file while somebody holds it, nor a thread's lock without
# the thread.
_threads = threading.RLock()


def _after_fork_in_child() -> None:
    global _threads
    _threads = threading.RLock()


os.register_at_fork(
    before=lambda: _threads.acquire(),
    after_in_parent=lambda: _threads.release(),
    after_in_child=_after_fork_in_child,
)
