"""State in text files on this host, one per value: readable with `cat`, and by older deployments."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import re
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import ClassVar
from urllib.parse import unquote_to_bytes

from grove.caches import BaseCache, Batch, Key
from grove.caches._directory import make_private
from grove.exceptions import ConfigurationException, ConflictError, CorruptStateError, NotFoundException
from grove.helpers import files

__all__ = ["Handler"]

ENV_PATH = "GROVE_CACHE_LOCAL_FILE_PATH"
SUFFIX = ".cache"
JOURNAL = ".journal"
LOCK = ".lock"
TEMP = ".new"


class Handler(BaseCache):
    """Files `{path}/{pk}/{sk}.cache` below GROVE_CACHE_LOCAL_FILE_PATH.

    One lock file makes conditions and batches safe between processes; several changes go through a journal, which
    whoever comes next carries out. ConfigurationException without a path; AccessException and CorruptStateError
    name the file.
    """

    SCOPE: ClassVar[str] = "host"

    def __init__(self, path: str | os.PathLike[str] | None = None) -> None:
        found = os.fspath(path) if path is not None else os.environ.get(ENV_PATH, "")
        if not found:
            raise ConfigurationException(f"{ENV_PATH} is not set. Set it to the directory to keep the cache in.")
        self.directory: Path = Path(found).absolute()
        self._threads = threading.RLock()

    def setup(self) -> None:
        """Make the directory. AccessException where that cannot be done."""
        try:
            make_private(self.directory)
        except OSError as err:
            raise files.disk_error(err, self.directory) from err

    # --- one value ---

    def get(self, pk: str, sk: str) -> str:
        """The value. NotFoundException where there is none."""
        (found,) = self.read([Key(pk, sk)])
        if found is None:
            raise NotFoundException(f"Nothing is stored for {pk} ({sk}).")
        return found

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

    # --- several ---

    def read(self, keys: Sequence[Key]) -> list[str | None]:
        """The values of `keys`, in one snapshot."""
        with self._locked(exclusive=False):
            return [self._read(key) for key in keys]

    def apply(self, batch: Batch) -> None:
        """All of `batch`, durable on return, or nothing. ValueError for an empty text, which no file can stand for."""
        for value in batch.changes.values():
            if value is not None and not isinstance(value, str):
                raise TypeError(f"a cache holds text, not {type(value).__name__}")
            if value == "":
                raise ValueError("an empty text cannot be told from a file that a crash has emptied")
        with self._locked(exclusive=True):
            for key, value in batch.requires.items():
                if self._read(key) != value:
                    raise ConflictError(f"{key.pk} ({key.sk}) is not what it was; nothing was changed.")
            changes = list(batch.changes.items())
            if len(changes) > 1:
                record = [[key.pk, key.sk, value] for key, value in changes]
                self._replace(self.directory / JOURNAL, json.dumps(record).encode("utf-8"))
            self._carry_out(changes)
            if len(changes) > 1:
                self._forget_journal()

    def scan(self, prefix: str) -> Iterator[tuple[Key, str]]:
        """Every key whose pk starts with `prefix`, and its value. Keys too long for a file name are left out."""
        found: list[tuple[Key, str]] = []
        with self._locked(exclusive=False):
            for folder in sorted(self.directory.iterdir()):
                pk = _original(folder.name)
                if not folder.is_dir() or pk is None or not pk.startswith(prefix):
                    continue
                for path in sorted(folder.glob(f"*{SUFFIX}")):
                    sk = _original(path.name.removesuffix(SUFFIX))
                    if sk is not None and not path.name.startswith("."):
                        found.append((Key(pk, sk), self._load(path)))
        return iter(found)

    # --- files ---

    def _path(self, key: Key) -> Path:
        return self.directory / files.safe_component(key.pk) / f"{files.safe_component(key.sk)}{SUFFIX}"

    def _older_path(self, key: Key) -> Path | None:
        """Where an older deployment, which used the operation as it was, has put this value."""
        name = f"{key.sk}{SUFFIX}"
        if "/" in name or "\0" in name or name.startswith("."):
            return None
        # A name that is ours belongs to the key it was made of, and to no other.
        if _OURS.fullmatch(key.sk) or len(name.encode("utf-8", "surrogatepass")) > _NAME_LIMIT:
            return None
        if any("\ud800" <= letter <= "\udfff" for letter in name):
            return None
        return self.directory / files.safe_component(key.pk) / name

    def _read(self, key: Key) -> str | None:
        for path in (self._path(key), self._older_path(key)):
            if path is not None:
                with contextlib.suppress(FileNotFoundError, NotADirectoryError):
                    return self._load(path)
        return None

    def _load(self, path: Path) -> str:
        try:
            text = path.read_bytes().decode("utf-8", "surrogatepass")
        except (FileNotFoundError, NotADirectoryError):
            raise
        except UnicodeDecodeError as err:
            raise CorruptStateError(f"The cache file {path} is not UTF-8. {_RESTORE}") from err
        except OSError as err:
            raise files.disk_error(err, path) from err
        if not text:
            raise CorruptStateError(f"The cache file {path} is empty. {_RESTORE}")
        return text

    def _carry_out(self, changes: list[tuple[Key, str | None]]) -> None:
        for key, value in changes:
            path, older = self._path(key), self._older_path(key)
            try:
                if value is not None:
                    self._replace(path, value.encode("utf-8", "surrogatepass"))
                elif path.exists():
                    files.remove(path)
                    files.sync_directory(path.parent)
                if older is not None and older.exists():
                    files.remove(older)
                    files.sync_directory(older.parent)
            except OSError as err:
                raise files.disk_error(err, path) from err

    def _replace(self, path: Path, data: bytes) -> None:
        """The new content, or the old one: never a part of either."""
        temp = path.with_name(f".{path.name}{TEMP}"[-255:])
        try:
            files.make_directories(path.parent, self.directory)
            files.remove(temp)
            files.write_new(temp, data)
            files.replace(temp, path)
            files.sync_directory(path.parent)
        except OSError as err:
            raise files.disk_error(err, path) from err

    # --- the lock and the journal ---

    @contextlib.contextmanager
    def _locked(self, *, exclusive: bool) -> Iterator[None]:
        """Hold the lock file, and finish a batch whose writer has died."""
        with self._threads:
            try:
                flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
                handle = os.open(self.directory / LOCK, flags, 0o600)
            except OSError as err:
                raise files.disk_error(err, self.directory) from err
            try:
                fcntl.flock(handle, fcntl.LOCK_EX if exclusive else fcntl.LOCK_SH)
                if (self.directory / JOURNAL).exists():
                    fcntl.flock(handle, fcntl.LOCK_EX)
                    self._replay()
                yield
            finally:
                os.close(handle)

    def _replay(self) -> None:
        path = self.directory / JOURNAL
        try:
            text = path.read_bytes().decode("utf-8")
        except FileNotFoundError:
            return
        try:
            changes = [(Key(pk, sk), value) for pk, sk, value in json.loads(text)]
        except (ValueError, TypeError) as err:
            raise CorruptStateError(f"The cache's journal {path} is damaged. {_RESTORE}") from err
        self._carry_out(changes)
        self._forget_journal()

    def _forget_journal(self) -> None:
        path = self.directory / JOURNAL
        try:
            files.remove(path)
            files.sync_directory(self.directory)
        except OSError as err:
            raise files.disk_error(err, path) from err


# What `safe_component` makes, and the longest name that a file can have.
_OURS = re.compile(r"(?:[A-Za-z0-9._-]|%[0-9A-F]{2})*(?:~[0-9a-f]{32})?|%")
_NAME_LIMIT = 255

_RESTORE = "Restore it from a backup, or delete it to start its stream again."


def _original(name: str) -> str | None:
    """The text of which `safe_component` made `name`; None where it had to cut it."""
    if "~" in name or name.startswith("."):
        return None
    if name == "%":
        return ""
    return unquote_to_bytes(name).decode("utf-8", "surrogatepass")
