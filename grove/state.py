"""One stream's state: its keys, what it reads at the start of a run, and the single place that commits it.

Every fact lies under its own key (`<kind>.<connector>.<md5 of identity>`, operation), so that a cache filled by
an older deployment is picked up where it stood. All that one step of a run changes goes out as one conditional
batch: it is refused unless the epoch is still ours and the sequence the one that was read.
"""

from __future__ import annotations

import functools
import json
import uuid
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any, TypeVar

from grove.caches import BaseCache, Batch, Key
from grove.constants import (
    CACHE_KEY_LOCK,
    CACHE_KEY_POINTER,
    CACHE_KEY_POINTER_NEXT,
    CACHE_KEY_POINTER_PREV,
    CACHE_KEY_SEEN,
    CACHE_KEY_WINDOW_END,
    CACHE_KEY_WINDOW_START,
)
from grove.exceptions import (
    ConcurrencyException,
    ConflictError,
    CorruptStateError,
    GroveException,
    NotFoundException,
)
from grove.helpers import clock
from grove.lookback import Lookback
from grove.manifest import Chain, decode_chains
from grove.window import Boundary, Interval, decode_intervals, encode_intervals

__all__ = ["KINDS", "REFRESH_TOKEN", "StreamState", "store_id"]

T = TypeVar("T")

BOUNDARY = "boundary"
COVERAGE = "coverage"
CURSOR = "cursor"
EPOCH = "epoch"
HISTORY = "history"
INTERVALS = "intervals"
LEASE = "lease"
LOOKBACK = "lookback"
LOOSE = "loose"
MANIFEST = "manifest"
PENDING = "pending"
SEQUENCE = "sequence"

POSITION = (
    CACHE_KEY_POINTER,
    CACHE_KEY_POINTER_PREV,
    CACHE_KEY_POINTER_NEXT,
    CACHE_KEY_WINDOW_START,
    CACHE_KEY_WINDOW_END,
    CACHE_KEY_SEEN,
    BOUNDARY,
    CURSOR,
    INTERVALS,
    LOOKBACK,
    LOOSE,
)
"""The kinds that say where a stream stands."""

KINDS = (CACHE_KEY_LOCK, LEASE, EPOCH, SEQUENCE, *POSITION, PENDING, MANIFEST, COVERAGE, HISTORY)
"""Every kind of fact a run reads, in one snapshot, when it takes the lease."""

INHERITED = (
    CACHE_KEY_POINTER,
    CACHE_KEY_POINTER_PREV,
    CACHE_KEY_POINTER_NEXT,
    CACHE_KEY_WINDOW_START,
    CACHE_KEY_WINDOW_END,
    CACHE_KEY_SEEN,
)
"""The kinds that an older deployment stored."""

REFRESH_TOKEN = "refresh_token"
"""The kind of fact that a refresh token is which a vendor has replaced: no stream's own, and a secret as it is."""

STORE = Key("store", "id")

# What decoding something raises that is none.
_UNREADABLE = (ValueError, KeyError, TypeError, AttributeError)


class StreamState:
    """The committed state of one stream, as last read, and the one function that changes it.

    `key_of` gives the partition key of a kind (a connector's `cache_key`); `operation` is the sort key. State that
    an older deployment kept under the keys of `earlier_key_of` is moved when this stream is first taken.
    """

    def __init__(
        self,
        cache: BaseCache,
        key_of: Callable[[str], str],
        operation: str,
        earlier_key_of: Callable[[str], str] | None = None,
    ) -> None:
        self.cache = cache
        self.operation = operation
        self.epoch = 0
        self.sequence = 0
        self.unknown = False
        self.values: dict[str, str | None] = {}
        self._staged: dict[str, str | None] = {}
        self._key_of = key_of
        self._earlier_key_of = earlier_key_of
        self._inherited: dict[str, str] = {}

    # --- keys ---

    def key(self, kind: str) -> Key:
        """Where this stream keeps its fact of that kind."""
        return Key(self._key_of(kind), self.operation)

    @property
    def stream(self) -> str:
        """The stream's own name, unique in its cache; also what errors call it."""
        return f"{self._key_of('stream')}/{self.operation}"

    # --- reading ---

    def load(self) -> None:
        """Read every fact in one snapshot. CorruptStateError names the stream and the fact that is unusable."""
        self._read()
        self.epoch = self._decoded(EPOCH, int, 0)
        self.sequence = self._decoded(SEQUENCE, int, 0)
        if self.values[CACHE_KEY_POINTER] == "":
            raise self._corrupt(CACHE_KEY_POINTER, "it is empty")

    def _read(self) -> None:
        found = self.cache.read([self.key(kind) for kind in KINDS])
        self.values = dict(zip(KINDS, found, strict=True))
        self._inherited = {}
        if self._earlier_key_of is not None and not any(found):
            self._inherit()

    def _inherit(self) -> None:
        keys = [self._earlier_key(kind) for kind in INHERITED]
        for kind, value in zip(INHERITED, self.cache.read(keys), strict=True):
            if value is not None:
                self._inherited[kind] = self.values[kind] = value

    def _earlier_key(self, kind: str) -> Key:
        assert self._earlier_key_of is not None
        return Key(self._earlier_key_of(kind), self.operation)

    def get(self, kind: str) -> str | None:
        """The value of a fact, as last read, written or staged by this run."""
        return self._staged[kind] if kind in self._staged else self.values.get(kind)

    def stage(self, changes: Mapping[str, str | None]) -> None:
        """Show `changes` as if they were committed, until the next call; that is under way."""
        self._staged = dict(changes)

    def boundary(self) -> Boundary:
        """The hashes at the pointer; none where they were kept for another pointer."""
        found = self._decoded(BOUNDARY, Boundary.decode, Boundary())
        return found if found.pointer == self.get(CACHE_KEY_POINTER) else Boundary()

    def intervals(self) -> list[Interval]:
        """What unfinished collections have delivered, with the window of an older deployment as one more."""
        start, end = self.get(CACHE_KEY_WINDOW_START), self.get(CACHE_KEY_WINDOW_END)
        return self._decoded(INTERVALS, decode_intervals, [Interval(start, end)] if start and end else [])

    def legacy_hashes(self) -> set[str]:
        """md5 digests which an older deployment kept for the pointer; honoured until the first boundary."""
        if self.values.get(BOUNDARY) is not None:
            return set()
        return self._decoded(CACHE_KEY_SEEN, _strings, set())

    def loose(self) -> dict[str, None]:
        """Hashes of entries that had no pointer, oldest first."""
        return self._decoded(LOOSE, _ordered, {})

    def lookback(self, seconds: float) -> Lookback:
        """What was delivered within that many seconds before the pointer."""
        made = functools.partial(Lookback, self.cache, self.key, seconds)
        return self._decoded(LOOKBACK, made, made(None))

    def pending(self) -> list[dict[str, Any]]:
        """Objects that are committed and may not be visible yet."""
        return self._decoded(PENDING, _records, [])

    def chains(self) -> dict[str, Chain]:
        """Where the manifests of this stream stand, by output."""
        return self._decoded(MANIFEST, decode_chains, {})

    @property
    def is_new(self) -> bool:
        """Whether this stream has never committed anything, here or in an older deployment."""
        return self.sequence == 0 and self.values.get(CACHE_KEY_POINTER) is None

    # --- writing ---

    def take(self, changes: Mapping[str, str], *, expected_lock: str | None) -> None:
        """Raise the epoch and write the lease, if nothing has moved since `load`; ConcurrencyException if it has.

        Reading the state and taking over are one step: the batch fails if a holder has committed in between.
        """
        batch = self._conditions().require(self.key(CACHE_KEY_LOCK), expected_lock)
        batch.set(self.key(EPOCH), str(self.epoch + 1))
        for kind, value in self._inherited.items():
            batch.require(self._earlier_key(kind), value)
            batch.delete(self._earlier_key(kind))
            batch.set(self.key(kind), value)
        for kind, value in changes.items():
            batch.set(self.key(kind), value)
        self._apply(batch, epoch=self.epoch + 1, sequence=self.sequence)
        self._inherited = {}
        self.epoch += 1
        self.values.update(changes)
        self.values[EPOCH] = str(self.epoch)

    def commit(self, changes: Mapping[str, str | None], extra: Mapping[Key, str | None] | None = None) -> None:
        """Apply `changes` (kind to value, None deletes) and `extra` keys at once, with the next sequence.

        ConcurrencyException: another holder has the stream, nothing was changed. Any other GroveException: the
        cache failed; `unknown` says whether it is certain that nothing was changed.
        """
        batch = self._conditions().set(self.key(SEQUENCE), str(self.sequence + 1))
        self._fill(batch, changes)
        for key, value in (extra or {}).items():
            _put(batch, key, value)
        self._apply(batch, epoch=self.epoch, sequence=self.sequence + 1)
        self.sequence += 1
        self.values.update(changes)
        self.values[SEQUENCE] = str(self.sequence)

    def refresh(self, changes: Mapping[str, str | None]) -> None:
        """Apply `changes` that move nothing (a returned lease, the last run) while the epoch is ours."""
        batch = Batch().require(self.key(EPOCH), str(self.epoch))
        self._fill(batch, changes)
        try:
            self.cache.apply(batch)
        except ConflictError as err:
            raise self._lost() from err
        self.values.update(changes)

    def _conditions(self) -> Batch:
        batch = Batch().require(self.key(EPOCH), self.values.get(EPOCH))
        return batch.require(self.key(SEQUENCE), self.values.get(SEQUENCE))

    def _fill(self, batch: Batch, changes: Mapping[str, str | None]) -> None:
        for kind, value in changes.items():
            if value != self.values.get(kind):
                _put(batch, self.key(kind), value)

    def _apply(self, batch: Batch, epoch: int, sequence: int) -> None:
        """Apply `batch`; where the cache cannot say whether it did, open it again and look."""
        try:
            self.cache.apply(batch)
        except ConflictError as err:
            raise self._lost() from err
        except Exception as err:
            if not self._was_applied(batch, epoch, sequence):
                raise _as_grove(err, self.stream) from err

    def _was_applied(self, batch: Batch, epoch: int, sequence: int) -> bool:
        self.unknown = True
        lease = self.key(LEASE)
        try:
            self.cache.reopen()
            found = self.cache.read([self.key(EPOCH), self.key(SEQUENCE), lease])
        except Exception:
            return False
        # Two takers of one epoch are told apart by the nonce in their lease.
        same_lease = lease not in batch.changes or batch.changes[lease] == found[2]
        applied = found[0] == str(epoch) and (found[1] or "0") == str(sequence) and same_lease
        self.unknown = False
        return applied

    # --- where it cannot be trusted ---

    def unreadable(self) -> list[str]:
        """Read every fact, and say which kinds no run can go on from. Errors are the cache's."""
        self._read()
        lookback = functools.partial(Lookback, self.cache, self.key, 1.0)
        readers: dict[str, Callable[[str], object]] = {**_READERS, LOOKBACK: lookback}
        return [kind for kind, decode in readers.items() if not _reads(decode, self.values[kind])]

    def start_over(self, unreadable: Collection[str], extra: Iterable[Key]) -> None:
        """Forget the position, the facts of the kinds `unreadable`, and the keys `extra`, without holding the stream.

        Whatever a holder still commits is refused. ConcurrencyException where the stream has moved since it was read.
        """
        epoch, sequence = ((0 if kind in unreadable else int(self.values[kind] or 0)) for kind in (EPOCH, SEQUENCE))
        # No count of runs or commits gets as far as the seconds since 1970.
        beyond = int(clock.now().timestamp())
        epoch, sequence = epoch + 1 if epoch else beyond, sequence + 1 if sequence else beyond
        batch = self._conditions().require(self.key(CACHE_KEY_LOCK), self.values[CACHE_KEY_LOCK])
        forgotten = [self.key(kind) for kind in (*POSITION, *unreadable)]
        for key in (*forgotten, *extra, *(self._earlier_key(kind) for kind in self._inherited)):
            batch.delete(key)
        batch.set(self.key(EPOCH), str(epoch)).set(self.key(SEQUENCE), str(sequence))
        self._apply(batch, epoch=epoch, sequence=sequence)

    # --- errors ---

    def _lost(self) -> ConcurrencyException:
        return ConcurrencyException(
            f"Stream {self.stream} is held by another process, which has moved it on; nothing was changed."
        )

    def _decoded(self, kind: str, decode: Callable[[str], T], absent: T) -> T:
        text = self.get(kind)
        if text is None:
            return absent
        try:
            return decode(text)
        except _UNREADABLE as err:
            raise self._corrupt(kind, "it cannot be read") from err

    def _corrupt(self, kind: str, why: str) -> CorruptStateError:
        return CorruptStateError(
            f"The cached {kind} of stream {self.stream} cannot be trusted: {why}. Restore the cache from a "
            "backup, or start the stream again with `grove state reset --force`."
        )


def store_id(cache: BaseCache) -> str:
    """The id of the store behind `cache`: 16 hex digits, made once, part of every object's name."""
    known = getattr(cache, "_grove_store_id", None)
    if isinstance(known, str):
        return known
    try:
        found = cache.get(*STORE)
    except NotFoundException:
        fresh = uuid.uuid4().hex[:16]
        try:
            cache.set(*STORE, fresh, not_set=True)
            found = fresh
        except GroveException:
            # Another process may have named the store first, or the reply was lost: what is there counts.
            found = cache.get(*STORE)
    cache._grove_store_id = found  # type: ignore[attr-defined]
    return found


def encode_pending(records: list[dict[str, Any]]) -> str | None:
    """The stored form of pending publishes; None where there are none."""
    return json.dumps(records, separators=(",", ":"), sort_keys=True) if records else None


def encode_loose(hashes: Mapping[str, None]) -> str | None:
    """The stored form of the hashes of entries without a pointer; None where there are none."""
    return json.dumps(list(hashes), separators=(",", ":")) if hashes else None


def _put(batch: Batch, key: Key, value: str | None) -> None:
    if value is None:
        batch.delete(key)
    else:
        batch.set(key, value)


def _as_grove(err: Exception, stream: str) -> GroveException:
    if isinstance(err, GroveException):
        return err
    return GroveException(f"The cache failed while committing stream {stream}: {err!r}")


def _filled(text: str) -> str:
    if not text:
        raise ValueError("it is empty")
    return text


def _strings(text: str) -> set[str]:
    return {str(item) for item in json.loads(text)}


def _ordered(text: str) -> dict[str, None]:
    return dict.fromkeys(str(item) for item in json.loads(text))


def _records(text: str) -> list[dict[str, Any]]:
    return [dict(item) for item in json.loads(text)]


def _reads(decode: Callable[[str], object], text: str | None) -> bool:
    if text is None:
        return True
    try:
        decode(text)
    except _UNREADABLE:
        return False
    return True


_READERS: dict[str, Callable[[str], object]] = {
    EPOCH: int,
    SEQUENCE: int,
    CACHE_KEY_POINTER: _filled,
    CACHE_KEY_SEEN: _strings,
    BOUNDARY: Boundary.decode,
    INTERVALS: decode_intervals,
    LOOSE: _ordered,
    PENDING: _records,
    MANIFEST: decode_chains,
}
"""What has to be read of a stream before it is collected, but for its lookback."""


__all__ += ["encode_intervals", "encode_loose", "encode_pending"]
