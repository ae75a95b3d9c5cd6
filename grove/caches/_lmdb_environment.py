"""One open LMDB environment per directory and process, shared by all threads and closed across forks."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import lmdb

from grove.caches import Batch
from grove.caches._lmdb_errors import damaged, trouble
from grove.caches._lmdb_opening import RESIZES, open_environment
from grove.caches._lmdb_pages import MAP_LIMIT
from grove.caches._lmdb_records import decode, encode, store_key
from grove.exceptions import AccessException, ConflictError, CorruptStateError
from grove.helpers import files

__all__ = ["Closed", "Environment", "close", "environment"]

# How many of the slots for readers, which all processes share, this one uses at a time.
READERS = 64

# What a killed process was reading keeps its pages from being used again until somebody looks; seconds between that.
LOOK_FOR_DEAD_READERS = 300.0


class Closed(Exception):
    """The environment was closed after it was looked up, and nothing was done: ask for it anew."""


class _Request:
    """One caller's batch, and how the transaction that carried it has ended."""

    __slots__ = ("batch", "done", "error")

    def __init__(self, batch: Batch) -> None:
        self.batch = batch
        self.done = False
        self.error: BaseException | None = None


class Environment:
    """An open environment: any number of readers, and one writer, who commits for all that wait.

    One lock guards who does what. Whoever resizes the map or closes has to be the writer, and waits for the readers.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.closed = False
        self._env = open_environment(path)
        try:
            # As long as it is held no other directory, not even one that takes this one's place, gets its number.
            self._directory = os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as err:
            self._env.close()
            raise files.disk_error(err, path) from err
        self._queue: list[_Request] = []
        guard = threading.Lock()
        self._writer_left = threading.Condition(guard)
        self._readers_changed = threading.Condition(guard)
        self._guard = guard
        self._slots = threading.Semaphore(READERS)
        self._looked_at = time.monotonic()
        self._writing = False
        self._claims = 0
        self._reading = 0
        self._barred = False

    def close(self) -> None:
        """Let the environment go, once its writer and its readers have."""
        with self._as_writer():
            self._close()

    # --- reading ---

    @contextlib.contextmanager
    def snapshot(self) -> Iterator[Any]:
        """A read transaction. Closed before it begins; errors of LMDB as what they mean."""
        with self._slots:
            txn = self._begin()
            try:
                with txn:
                    try:
                        yield txn
                    except lmdb.Error as err:
                        raise trouble(err, self.path) from err
            finally:
                self._end_reading()

    def _begin(self) -> Any:
        """A read transaction, counted until `_end_reading`."""
        for _ in range(RESIZES):
            with self._guard:
                self._readers_changed.wait_for(lambda: not self._barred)
                if self.closed:
                    raise Closed
                self._reading += 1
            try:
                return self._env.begin()
            except lmdb.MapResizedError:
                self._end_reading()
            except BaseException as err:
                self._end_reading()
                if isinstance(err, lmdb.Error):
                    raise trouble(err, self.path) from err
                raise
            # Another process has enlarged the map.
            with self._as_writer():
                self._resize(0)
        raise damaged(self.path, "it says that it is larger than it can be")

    def _end_reading(self) -> None:
        with self._guard:
            self._reading -= 1
            if not self._reading:
                self._readers_changed.notify_all()

    # --- writing ---

    def apply(self, batch: Batch) -> None:
        """Commit `batch`, together with those that other threads bring while another commit is under way.

        Closed before anything is done; ConflictError, CorruptStateError, TypeError and ValueError where nothing of
        this batch was changed; AccessException where that is unknown.
        """
        request = _Request(batch)
        leads = False
        try:
            with self._guard:
                self._queue.append(request)
                self._writer_left.wait_for(lambda: request.done or not (self._writing or self._claims))
                if not request.done:
                    leads = self._writing = True
            if leads:
                self._commit_all()
        finally:
            # An interrupt may come at any moment; the others must neither wait for ever nor take it for theirs.
            with self._guard:
                if request in self._queue:
                    self._queue.remove(request)
            if leads:
                self._leave()
        if request.error is not None:
            raise request.error

    def _commit_all(self) -> None:
        """Commit what is queued in one transaction, as the writer."""
        with self._guard:
            requests, self._queue = self._queue, []
        error: BaseException | None = AccessException(f"A commit to the cache in {self.path} was interrupted.")
        try:
            self._commit(requests)
            error = None
        except Exception as err:
            error = err
        finally:
            with self._guard:
                for request in requests:
                    request.error = error or request.error
                    request.done = True

    def _commit(self, requests: list[_Request]) -> None:
        if self.closed:
            raise Closed
        if time.monotonic() - self._looked_at > LOOK_FOR_DEAD_READERS:
            self._env.reader_check()
            self._looked_at = time.monotonic()
        for _ in range(RESIZES):
            try:
                with self._env.begin(write=True) as txn:
                    for request in requests:
                        request.error = None
                        try:
                            self._change(txn, request.batch)
                        except (ConflictError, CorruptStateError, TypeError, ValueError) as err:
                            request.error = err
                return
            except lmdb.MapFullError as err:
                size = self._env.info()["map_size"] * 2
                if size > MAP_LIMIT:
                    raise trouble(err, self.path) from err
                self._resize(size)
            except lmdb.MapResizedError:
                self._resize(0)
            except lmdb.Error as err:
                # It may refuse everything from here on, and nobody knows what has become of the changes.
                self._close()
                raise trouble(err, self.path) from err
        raise damaged(self.path, "it says that it is larger than it can be")

    def _change(self, txn: Any, batch: Batch) -> None:
        """Check the conditions, then change: nothing is written where a condition or a value is wrong."""
        for key, value in batch.requires.items():
            stored = store_key(key)
            record = txn.get(stored)
            found = decode(stored, record, self.path)[1] if record is not None else None
            if found != value:
                raise ConflictError(f"{key.pk} ({key.sk}) is not what it was; nothing was changed.")
        records = [
            (store_key(key), None if value is None else encode(key, value)) for key, value in batch.changes.items()
        ]
        for stored, record in records:
            if record is None:
                txn.delete(stored)
            else:
                txn.put(stored, record)

    # --- alone ---

    @contextlib.contextmanager
    def _as_writer(self) -> Iterator[None]:
        """Be the writer, before anybody who has something to commit."""
        writes = False
        try:
            with self._guard:
                self._claims += 1
                try:
                    self._writer_left.wait_for(lambda: not self._writing)
                    writes = self._writing = True
                finally:
                    self._claims -= 1
            yield
        finally:
            if writes:
                self._leave()

    def _leave(self) -> None:
        with self._guard:
            self._writing = False
            self._writer_left.notify_all()

    @contextlib.contextmanager
    def _without_readers(self) -> Iterator[None]:
        """Let the readers end, and no other begin."""
        with self._guard:
            self._barred = True
            try:
                self._readers_changed.wait_for(lambda: not self._reading)
                yield
            finally:
                self._barred = False
                self._readers_changed.notify_all()

    def _resize(self, size: int) -> None:
        """Set the size of the map in bytes, as the writer; 0 takes over what another process has set."""
        try:
            with self._without_readers():
                if not self.closed:
                    self._env.set_mapsize(size)
        except lmdb.Error as err:
            # There is no map now.
            self._close()
            raise trouble(err, self.path) from err

    def _close(self) -> None:
        with self._without_readers():
            if not self.closed:
                self.closed = True
                self._env.close()
                os.close(self._directory)


# --- one per directory and process ---


_open: dict[tuple[int, int], Environment] = {}

# Reentrant, because only such a lock refuses to be released by a thread that has not got it: an interrupted fork.
_open_guard = threading.RLock()


def environment(path: Path) -> Environment:
    """This process's environment for the directory `path`, opened on first use; errors as of `open_environment`."""
    with _open_guard:
        found = _open.get(_identity(path))
        if found is None or found.closed:
            found = Environment(path)
            _open[_identity(path)] = found
        return found


def close(opened: Environment) -> None:
    """Close an environment before anybody can open it again: LMDB allows one per directory and process."""
    with _open_guard:
        opened.close()
        for identity, other in list(_open.items()):
            if other is opened:
                del _open[identity]


def _identity(path: Path) -> tuple[int, int]:
    try:
        found = path.stat()
    except OSError:
        # Not there yet, or opening it will tell what is wrong.
        return 0, 0
    return found.st_dev, found.st_ino


# --- forks ---


def _before_fork() -> None:
    """Close everything: a child can neither use what its parent has open nor close it without harm to the parent."""
    _open_guard.acquire()
    for opened in list(_open.values()):
        close(opened)


def _after_fork_in_parent() -> None:
    _open_guard.release()


def _after_fork_in_child() -> None:
    global _open, _open_guard
    # Left only where closing was interrupted: never used here, and never closed, which could harm the parent.
    for opened in _open.values():
        opened.closed = True
        _abandoned.append(opened)
    _open = {}
    _open_guard = threading.RLock()


_abandoned: list[Environment] = []

# The guard is held from before to after, so that nobody opens anything meanwhile. Both sides open anew on next use.
os.register_at_fork(before=_before_fork, after_in_parent=_after_fork_in_parent, after_in_child=_after_fork_in_child)
