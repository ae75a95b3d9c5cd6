"""The execution lock: who holds a stream, when another may take it, and what keeps it alive meanwhile.

The lease avoids double work; the epoch that goes with it (see `grove.state`) is what makes a holder that was paused
and comes back harmless.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import logging
import os
import threading
import uuid
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import ClassVar

from grove.caches import BaseCache, Batch
from grove.constants import CACHE_KEY_LOCK, LOCK_DATE_FORMAT
from grove.exceptions import ConcurrencyException, ConflictError
from grove.helpers import clock, files
from grove.state import EPOCH, LEASE, StreamState

__all__ = ["CLOCK_MARGIN", "Lease", "Owner", "Record", "owner"]

logger = logging.getLogger(__name__)

CLOCK_MARGIN = 30.0
"""Seconds by which the clocks of two hosts may differ before one takes an expired lock too early."""

OWNERS = "owners"


# --- who we are ---


class Owner:
    """This process, as its leases name it. A lock file that only this process can hold proves that it lives."""

    def __init__(self) -> None:
        self.name = f"{os.getpid()}-{uuid.uuid4().hex[:12]}"
        self._lock = threading.Lock()
        self._files: dict[Path, int] = {}
        self.nonces: set[str] = set()

    def prove(self, directory: Path) -> None:
        """Hold this process's lock file in `directory` from now on, until the process ends.

        AccessException where the file cannot be made.
        """
        with self._lock:
            if directory in self._files:
                return
            try:
                self._files[directory] = self._hold(directory)
            except OSError as err:
                raise files.disk_error(err, directory / OWNERS) from err

    def _hold(self, directory: Path) -> int:
        folder = directory / OWNERS
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._clean(directory)
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        handle = os.open(folder / f"{self.name}.lock", flags, 0o600)
        try:
            # POSIX locks belong to the process: a forked child does not inherit them, a dead process loses them.
            fcntl.lockf(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(handle)
            raise
        return handle

    def _clean(self, directory: Path) -> None:
        """Remove lock files of processes that ended long ago; their leases have expired since."""
        oldest = clock.now().timestamp() - timedelta(days=7).total_seconds()
        for entry in os.scandir(directory / OWNERS):
            # Another process may remove it at the same time.
            with contextlib.suppress(OSError):
                old = entry.stat(follow_symlinks=False).st_mtime < oldest
                if old and self.is_dead(entry.name.removesuffix(".lock"), directory):
                    os.unlink(entry.path)

    def has_ended(self, record: Record, directory: Path | None) -> bool:
        """Whether the run in `record` has certainly ended: this process forgot it, or its own process is dead."""
        if record.owner == self.name:
            return record.nonce not in self.nonces
        return self.is_dead(record.owner, directory)

    def is_dead(self, name: str, directory: Path | None) -> bool:
        """Whether the process called `name` has certainly ended: its lock file is there, and free."""
        if directory is None or name == self.name:
            # To open one's own file and close it again would give up the lock on it.
            return False
        try:
            handle = os.open(directory / OWNERS / f"{name}.lock", os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
        except OSError:
            return False
        try:
            fcntl.lockf(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return False
        finally:
            os.close(handle)
        return True


_owner: Owner | None = None
_owner_guard = threading.Lock()


def owner() -> Owner:
    """This process's owner record, made on first use and anew after a fork."""
    global _owner
    with _owner_guard:
        if _owner is None:
            _owner = Owner()
        return _owner


def _forget_owner() -> None:
    global _owner, _owner_guard, _renewer
    _owner = None
    _owner_guard = threading.Lock()
    _renewer = Renewer()


# --- what is stored ---


@dataclass(frozen=True, slots=True)
class Record:
    """The stored lease: the process, the run (nonce), and the day on which the run began."""

    owner: str
    nonce: str
    since: str

    def encode(self) -> str:
        """The stored form."""
        return json.dumps({"owner": self.owner, "nonce": self.nonce, "since": self.since})

    @classmethod
    def decode(cls, text: str | None) -> Record | None:
        """The stored record; None where there is none, or none that can be read (it then proves nothing)."""
        if text is None:
            return None
        try:
            found = json.loads(text)
            return cls(str(found["owner"]), str(found["nonce"]), str(found["since"]))
        except (ValueError, KeyError, TypeError):
            return None

    def began(self) -> date:
        """The day the run began; today where the record does not say."""
        try:
            return date.fromisoformat(self.since)
        except ValueError:
            return clock.now().date()


# --- may it be taken? ---


class Watch:
    """Locks that were found held, and for how long each has not changed, on this process's own clock."""

    _seen: ClassVar[dict[tuple[int, str], tuple[str, float]]] = {}

    @classmethod
    def unchanged_for(cls, cache: BaseCache, stream: str, mark: str) -> float:
        """Seconds since this process first saw this lock in exactly this state."""
        key = (id(cache), stream)
        now = clock.monotonic()
        mark_then, since = cls._seen.get(key, ("", now))
        if mark_then != mark:
            since = now
        cls._seen[key] = (mark, since)
        return now - since

    @classmethod
    def forget(cls, cache: BaseCache, stream: str) -> None:
        """The stream is ours now."""
        cls._seen.pop((id(cache), stream), None)


def may_take(state: StreamState, duration: float) -> bool:
    """Whether the lock in `state` is free, has expired, or was left behind by a process that has ended.

    An expiry written by another host is compared with our clock only beyond CLOCK_MARGIN; a lock that has not
    changed for its whole `duration` on our own clock is free whatever it says.
    """
    text = state.get(CACHE_KEY_LOCK)
    if text is None:
        return True
    record = Record.decode(state.get(LEASE))
    mine = owner()
    if record is not None and mine.has_ended(record, state.cache.directory):
        return True
    ours = record is not None and record.owner == mine.name
    margin = CLOCK_MARGIN if state.cache.SCOPE == "shared" and not ours else 0.0
    try:
        expired = clock.seconds_until(clock.parse_lock_date(text)) + margin <= 0
    except ValueError:
        # A lock that says nothing is one nobody can renew.
        return True
    if expired:
        return True
    mark = f"{text} {state.get(LEASE)}"
    return Watch.unchanged_for(state.cache, state.stream, mark) > duration + margin


# --- holding it ---


class Lease:
    """One stream's lock while this process holds it. `take` raises ConcurrencyException where another does."""

    def __init__(self, state: StreamState, duration: float, run_timeout: float) -> None:
        self.state = state
        self.duration = duration
        self.run_timeout = run_timeout
        self.nonce = uuid.uuid4().hex
        self.unclean: Record | None = None
        self.lost = False
        self.renewed = 0.0
        self.progress = 0.0
        self.epoch_text = ""
        # A renewal that is under way must not write the lock again after it was given back.
        self._mutex = threading.Lock()
        self._released = False
        self._lock_key = state.key(CACHE_KEY_LOCK)
        self._epoch_key = state.key(EPOCH)

    def take(self) -> None:
        """Read the state and take the stream over in one step; afterwards the lease is renewed by itself."""
        state = self.state
        mine = owner()
        if state.cache.directory is not None:
            mine.prove(state.cache.directory)
        state.load()
        if not may_take(state, self.duration):
            raise ConcurrencyException(
                f"Stream {state.stream} is being collected elsewhere; its lock runs until {state.get(CACHE_KEY_LOCK)}."
            )
        left_behind = Record.decode(state.get(LEASE))
        today = clock.now().date()
        # What an earlier attempt left stays to be swept until somebody has.
        since = min(left_behind.began(), today) if left_behind is not None else today
        record = Record(mine.name, self.nonce, since.isoformat())
        mine.nonces.add(self.nonce)
        try:
            state.take(
                {CACHE_KEY_LOCK: self._expiry(), LEASE: record.encode()},
                expected_lock=state.get(CACHE_KEY_LOCK),
            )
        except BaseException:
            mine.nonces.discard(self.nonce)
            raise
        self.unclean = left_behind
        self.epoch_text = str(state.epoch)
        self.renewed = self.progress = clock.monotonic()
        Watch.forget(state.cache, state.stream)
        _renewer.add(self)

    def touch(self) -> None:
        """The run has made progress."""
        self.progress = clock.monotonic()

    def renew(self) -> None:
        """Move the expiry on by the lease's duration; ConcurrencyException if the stream has changed hands."""
        with self._mutex:
            if self._released:
                return
            batch = Batch().require(self._epoch_key, self.epoch_text).set(self._lock_key, self._expiry())
            try:
                self.state.cache.apply(batch)
            except ConflictError as err:
                self.lost = True
                raise ConcurrencyException(f"Stream {self.state.stream} has been taken over.") from err
            self.renewed = clock.monotonic()

    def stop_renewing(self) -> None:
        """From here on the lease runs out by itself."""
        _renewer.remove(self)

    def give_back(self, changes: dict[str, str | None], *, clean: bool) -> None:
        """Free the stream and write `changes` with it; ConcurrencyException if it is no longer ours.

        Unless the run was `clean` its record stays: whoever comes next sweeps what it may have left.
        """
        self.stop_renewing()
        try:
            with self._mutex:
                self._released = True
                if self.lost:
                    raise ConcurrencyException(f"Stream {self.state.stream} has been taken over.")
                freed: dict[str, str | None] = {CACHE_KEY_LOCK: None}
                if clean:
                    freed[LEASE] = None
                self.state.refresh({**freed, **changes})
        finally:
            owner().nonces.discard(self.nonce)

    def revoke(self) -> None:
        """Take the stream from a run that does not come back: whatever it still tries to commit is refused.

        For another thread than the run's. The record stays, as after a run that was not clean. Errors are the cache's.
        """
        self.stop_renewing()
        try:
            with self._mutex:
                if self._released:
                    return
                self._released = self.lost = True
                batch = Batch().require(self._epoch_key, self.epoch_text)
                batch.set(self._epoch_key, str(int(self.epoch_text) + 1)).delete(self._lock_key)
                # Refused where somebody else has the stream already.
                with contextlib.suppress(ConflictError):
                    self.state.cache.apply(batch)
        finally:
            owner().nonces.discard(self.nonce)

    def _expiry(self) -> str:
        return (clock.now() + timedelta(seconds=self.duration)).strftime(LOCK_DATE_FORMAT)


class Renewer:
    """One thread per process that keeps every lease of this process alive, at a third of its duration."""

    def __init__(self) -> None:
        self._leases: dict[int, Lease] = {}
        self._wake = threading.Condition()
        self._thread: threading.Thread | None = None
        self._next = 0.0

    def add(self, lease: Lease) -> None:
        """Keep `lease` alive until it is removed, is lost, or its run makes no progress for its `run_timeout`."""
        due = lease.renewed + lease.duration / 3
        with self._wake:
            self._leases[id(lease)] = lease
            if self._thread is None:
                self._next = due
                self._thread = threading.Thread(target=self._run, name="grove-leases", daemon=True)
                self._thread.start()
            elif due < self._next:
                self._next = due
                self._wake.notify()

    def remove(self, lease: Lease) -> None:
        """Let `lease` be."""
        with self._wake:
            self._leases.pop(id(lease), None)

    def _run(self) -> None:
        while True:
            with self._wake:
                now = clock.monotonic()
                due = [lease for lease in self._leases.values() if lease.renewed + lease.duration / 3 <= now]
                if not due:
                    moments = [lease.renewed + lease.duration / 3 for lease in self._leases.values()]
                    self._next = min(moments, default=now + 60.0)
                    self._wake.wait(max(0.05, self._next - now))
                    continue
            for lease in due:
                self._renew(lease)

    def _renew(self, lease: Lease) -> None:
        stream = lease.state.stream
        if clock.monotonic() - lease.progress > lease.run_timeout:
            logger.warning("The run makes no progress; its lease is no longer renewed.", extra={"stream": stream})
            self.remove(lease)
            return
        try:
            lease.renew()
        except ConcurrencyException:
            logger.warning("The stream has been taken over by another process.", extra={"stream": stream})
            self.remove(lease)
        except Exception as err:
            logger.warning(
                "The lease could not be renewed; trying again.", extra={"stream": stream, "error": repr(err)}
            )
            # Not a renewal, but the next attempt waits its turn.
            lease.renewed = clock.monotonic() - lease.duration / 6


_renewer = Renewer()
os.register_at_fork(after_in_child=_forget_owner)
