"""One run of one stream: the lease it holds, the pages it takes in, and the commits that move the stream.

`BaseConnector` is the face of this; a page goes through `select`, is written, and is committed by `commit`.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from grove import _core
from grove.caches import BaseCache, Key
from grove.constants import (
    CACHE_KEY_POINTER,
    CACHE_KEY_POINTER_NEXT,
    CACHE_KEY_POINTER_PREV,
    CACHE_KEY_SEEN,
    CACHE_KEY_WINDOW_END,
    CACHE_KEY_WINDOW_START,
    CHRONOLOGICAL,
    REVERSE_CHRONOLOGICAL,
)
from grove.coverage import Asked, Brought
from grove.delivery import Delivery, Target
from grove.exceptions import ConfigurationException, DataFormatException, PoisonedRunError
from grove.helpers import clock
from grove.helpers.ahead import Ahead
from grove.lease import Lease
from grove.lookback import Lookback, span_of
from grove.outputs import BaseOutput
from grove.outputs._several import members
from grove.state import (
    BOUNDARY,
    CURSOR,
    INTERVALS,
    LOOKBACK,
    LOOSE,
    MANIFEST,
    PENDING,
    StreamState,
    encode_intervals,
    encode_loose,
    encode_pending,
    store_id,
)
from grove.window import BOUNDARY_LIMIT, Boundary, Change, NewestFirst, OldestFirst, Progress

__all__ = ["Collection", "Page", "Stream"]

logger = logging.getLogger(__name__)

LOOSE_LIMIT = 10_000
"""Hashes kept of entries that had no pointer."""

Hasher = Callable[[Any], str]


@dataclass(frozen=True, slots=True)
class Stream:
    """What a collection needs to know of its stream, all of it fixed for the run. Times are seconds."""

    connector: str
    identity: str
    operation: str
    name: str
    key_of: Callable[[str], str]
    descriptors: tuple[str, ...]
    lock_duration: float
    run_timeout: float
    lookback: float = 0.0
    earlier_key_of: Callable[[str], str] | None = None


@dataclass(slots=True)
class Page:
    """One page after deduplication: what is new of it, and the pointers of everything it held.

    `served` are the pointers of what came for the first time in this run, also where an earlier run delivered it.
    """

    kept: list[Any] | _core.RawPage
    kept_pointers: list[str | None]
    pointers: list[str | None]
    served: list[str | None]
    rejected: list[tuple[Any, str]] = field(default_factory=list)
    hashes: list[str] | None = None
    encoded: _core.EncodedPage | None = None


@dataclass(frozen=True, slots=True)
class _Object:
    """What one descriptor gets of a page."""

    descriptor: str
    data: bytes
    part: int
    entries: int
    moment: datetime


@dataclass(frozen=True, slots=True)
class _Step:
    """All that one commit needs: what it changes, what it delivers, and the pointers of the page it belongs to."""

    changes: dict[str, str | None]
    extra: dict[Key, str | None]
    objects: list[_Object]
    pointers: Sequence[str | None]


class Collection:
    """The state of one run. Not for several threads at once; a new one for every run."""

    def __init__(self, cache: BaseCache, output: BaseOutput, stream: Stream, log_context: Mapping[str, str]) -> None:
        self.stream = stream
        self.state = StreamState(cache, stream.key_of, stream.operation, stream.earlier_key_of)
        self.lease: Lease | None = None
        self.poison: BaseException | None = None
        self.nonempty = False
        self._may_be_committed = False
        self._moving = False
        self._swept = True
        self._cache = cache
        self._output = output
        self._log_context = log_context
        self._delivery: Delivery | None = None
        self._progress: Progress | None = None
        self._seen = _core.Seen()
        self._lookback: Lookback | None = None
        self._loose: dict[str, None] = {}
        self.asked = Asked()
        self.brought = Brought()
        self._objects: list[_Object] = []
        self._beside: Ahead[_Step, None] | None = None
        self._under_way = False

    # --- the lease ---

    def peek(self) -> None:
        """Read the state without taking the stream."""
        self.state.load()

    def take(self) -> None:
        """Take the stream, finish what an earlier run committed, and remove what it left behind.

        ConcurrencyException where another holder is at work.
        """
        lease = Lease(self.state, self.stream.lock_duration, self.stream.run_timeout)
        lease.take()
        self.lease = lease
        self.brought = Brought(self.state.get(CACHE_KEY_POINTER))
        try:
            self._recover(lease)
            self._loose = self.state.loose()
            if self.stream.lookback:
                self._lookback = self.state.lookback(self.stream.lookback)
        except BaseException:
            self.lease = None
            lease.give_back({}, clean=False)
            raise

    def _recover(self, lease: Lease) -> None:
        stream = self.stream
        target = Target(
            store=store_id(self._cache),
            stream=self.state.stream,
            connector=stream.connector,
            identity=stream.identity,
            operation=stream.operation,
            name=stream.name,
        )
        # State may wait for a publish only where the payload can be reached from wherever the lease can move.
        reachable = self._cache.SCOPE != "shared" or all(
            getattr(output, "SCOPE", None) != "host" for output in members(self._output)
        )
        self._delivery = Delivery(
            self._output, target, commit_first=reachable, chains=self.state.chains(), new=self.state.is_new
        )
        pending = self.state.pending()
        if pending:
            logger.info(
                "An earlier run ended between its commit and its delivery; finishing it.",
                extra={**self._log_context, "objects": len(pending)},
            )
        self._delivery.recover(pending)
        if lease.unclean is not None:
            following = self.state.sequence + 1
            self._swept = self._delivery.sweep(stream.descriptors, lease.unclean.began(), following, clock.now())

    def touch(self) -> None:
        """The run has made progress, if it is one; the state may be looked at without the lease."""
        if self.lease is not None:
            self.lease.touch()

    @property
    def delivery(self) -> Delivery:
        """Where this run's objects go; only while the lease is held."""
        assert self._delivery is not None, "a page is written only while the lease is held"
        return self._delivery

    def check(self) -> None:
        """Raise PoisonedRunError once a page of this run has failed: nothing may pass what was not committed."""
        if self.poison is not None:
            raise PoisonedRunError(
                f"Stream {self.state.stream}: an earlier page of this run failed "
                f"({type(self.poison).__name__}: {self.poison}), so nothing after it can be saved. The next run starts "
                "from the last page that was."
            ) from self.poison

    # --- where the stream stands ---

    def progress(self, log_order: str) -> Progress:
        """The run's view of the position, made when the order is first needed."""
        if self._progress is None:
            pointer, boundary = self.state.get(CACHE_KEY_POINTER), self.state.boundary()
            if pointer is not None:
                self._seen.add(pointer, boundary.hashes)
                legacy = self.state.legacy_hashes()
                if legacy:
                    self._seen.add(pointer, legacy, legacy=True)
            if log_order == CHRONOLOGICAL:
                self._progress = OldestFirst(pointer, boundary, self._seen)
            elif log_order == REVERSE_CHRONOLOGICAL:
                intervals = self.state.intervals()
                for span in intervals:
                    self._seen.add(span.high, span.high_hashes)
                    self._seen.add(span.low, span.low_hashes)
                self._progress = NewestFirst(pointer, boundary, intervals, self._seen)
            else:
                raise ConfigurationException(
                    f"LOG_ORDER is {log_order!r}; it has to be {CHRONOLOGICAL} or {REVERSE_CHRONOLOGICAL}."
                )
        return self._progress

    def known_hashes(self, pointer: str, log_order: str) -> set[str]:
        """Hashes of the delivered entries that carry exactly `pointer`, as far as they are kept."""
        self.progress(log_order)
        return self._seen.hashes(pointer)

    def remember(self, pointer: str, hashes: Iterable[str]) -> None:
        """Count entries with `pointer` and one of `hashes` as delivered, for this run."""
        self._seen.add(pointer, hashes)

    def unseen(
        self, entries: list[Any] | _core.RawPage, pointers: list[str | None], hasher: Hasher | None
    ) -> list[int]:
        """The indexes of the entries that are not known by pointer and hash."""
        return self._seen.unseen(entries, pointers, hasher)

    # --- one page ---

    def select(
        self,
        entries: list[Any] | _core.RawPage,
        path: _core.PointerPath,
        log_order: str,
        hasher: Hasher | None,
        deduplicate: Callable[[list[Any]], list[Any]] | None,
    ) -> Page:
        """What is new in a page. `hasher` and `deduplicate` stand in for ours where a subclass has its own.

        They take lists of entries.
        DataFormatException where no entry at all has a pointer: that is a wrong POINTER_PATH.
        """
        progress = self.progress(log_order)
        if isinstance(entries, list) and None in entries:
            entries = [entry for entry in entries if entry is not None]
        pointers = path.pointers(entries)
        rejected: list[tuple[Any, str]] = []
        if None in pointers:
            entries, pointers, rejected = self._set_aside(entries, pointers, path, hasher)
        kept: list[Any] | _core.RawPage
        kept_pointers: list[str | None]
        if deduplicate is not None:
            assert isinstance(entries, list), "who looks at entries is given a list of them"
            kept = list(deduplicate(entries))
            kept_pointers = path.pointers(kept)
        else:
            indexes = self._seen.unseen(entries, pointers, hasher)
            indexes = progress.covered(pointers, indexes, self._lookback_span(pointers))
            if len(indexes) == len(entries):
                kept, kept_pointers = entries, pointers
            else:
                kept = _taken(entries, indexes)
                kept_pointers = [pointers[index] for index in indexes]
        page = Page(kept, kept_pointers, pointers, kept_pointers, rejected)
        if hasher is not None:
            page.hashes = [hasher(entry) for entry in kept]
        if self._lookback is not None and kept:
            self._drop_recent(page, self._lookback)
        return page

    def _set_aside(
        self,
        entries: list[Any] | _core.RawPage,
        pointers: list[str | None],
        path: _core.PointerPath,
        hasher: Hasher | None,
    ) -> tuple[list[Any] | _core.RawPage, list[str | None], list[tuple[Any, str]]]:
        """Split off the entries without a pointer; those not seen before are rejected, with the reason."""
        if not any(pointer is not None for pointer in pointers):
            raise DataFormatException(
                f"None of the {len(entries)} entries of a page has a value at POINTER_PATH "
                f"{path.expression!r}; nothing was saved. Correct the path, or what the connector saves."
            )
        rejected = []
        for index, pointer in enumerate(pointers):
            if pointer is None:
                entry = entries[index]
                digest = hasher(entry) if hasher is not None else _core.hash_entry(entry)
                if digest not in self._loose:
                    self._loose[digest] = None
                    what = "no value at the pointer path" if isinstance(entry, dict) else "not a JSON object"
                    rejected.append((entry, what))
        while len(self._loose) > LOOSE_LIMIT:
            del self._loose[next(iter(self._loose))]
        kept = [index for index, pointer in enumerate(pointers) if pointer is not None]
        return _taken(entries, kept), [pointers[index] for index in kept], rejected

    def _lookback_span(self, pointers: list[str | None]) -> int:
        if not self.stream.lookback or not pointers or pointers[0] is None:
            return 0
        return span_of(pointers[0], self.stream.lookback) or 0

    def _drop_recent(self, page: Page, lookback: Lookback) -> None:
        entries = page.kept if isinstance(page.kept, list) else page.kept.copies()
        hashes = page.hashes or [_core.hash_entry(entry) for entry in entries]
        kept = []
        for index, digest in enumerate(hashes):
            pointer = page.kept_pointers[index]
            if pointer is not None and lookback.known(pointer, digest):
                self._seen.add(pointer, (digest,))
            else:
                kept.append(index)
        page.kept = _taken(page.kept, kept)
        page.kept_pointers = [page.kept_pointers[index] for index in kept]
        page.hashes = [hashes[index] for index in kept]
        for pointer, digest in zip(page.kept_pointers, page.hashes, strict=True):
            lookback.note(pointer, digest)

    def write(self, descriptor: str, data: bytes, part: int, entries: int) -> None:
        """Deliver one object with `entries` with the next commit."""
        self._objects.append(_Object(descriptor, data, part, entries, clock.now()))

    def commit(self, page: Page | None, log_order: str, cursor: str | None, *, beside: bool = False) -> None:
        """Deliver what was written, and move the stream past `page` (None: only `cursor`).

        With `beside`, that goes on while the caller does; whatever is called next here waits for it, and raises
        what came of it.
        """
        change = Change()
        if page is not None and page.pointers:
            progress = self.progress(log_order)
            if page.kept:
                self._remember(page)
            change = progress.advance(page.pointers, page.served)
            self.nonempty = True
        if change.mismatch:
            logger.warning(
                "The source broke its declared order.",
                extra={**self._log_context, "event": "order_mismatch", "order": log_order},
            )
        changes = self._changes(change)
        if cursor is not None:
            changes[CURSOR] = cursor
        self._commit(changes, page.kept_pointers if page is not None else (), beside=beside)

    def _remember(self, page: Page) -> None:
        if page.hashes is not None:
            self._seen.remember_hashes(page.kept_pointers, page.hashes)
        else:
            assert page.encoded is not None, "what is new in a page is encoded before it is committed"
            self._seen.remember(page.kept_pointers, page.encoded)

    def move(self, pointer: str | None, log_order: str) -> None:
        """A commit of its own: the connector has set the pointer; None clears it."""
        progress = self.progress(log_order)
        if pointer == self.state.get(CACHE_KEY_POINTER):
            if pointer != progress.shown:
                progress.moved(pointer)
            return
        changes: dict[str, str | None] = {
            CACHE_KEY_POINTER: pointer,
            CACHE_KEY_POINTER_PREV: self.state.get(CACHE_KEY_POINTER),
            BOUNDARY: None,
            CACHE_KEY_SEEN: None,
        }
        self._moving = True
        try:
            self._commit(changes)
        finally:
            self._moving = False
        progress.moved(pointer)

    def finish(self, log_order: str) -> None:
        """The collection has ended, without an error and completely: close what was open."""
        change = self.progress(log_order).finish()
        if change is not None:
            self._commit(self._changes(change))

    def _changes(self, change: Change) -> dict[str, str | None]:
        changes: dict[str, str | None] = {}
        if change.pointer is not None:
            changes[CACHE_KEY_POINTER] = change.pointer
            changes[CACHE_KEY_POINTER_PREV] = self.state.get(CACHE_KEY_POINTER)
            changes[CACHE_KEY_SEEN] = None
        if change.boundary is not None:
            self._warn_overflow(change.boundary)
            changes[BOUNDARY] = change.boundary.encode()
        if change.intervals is not None:
            changes[INTERVALS] = encode_intervals(change.intervals)
            # A window of an older deployment is an interval now.
            changes[CACHE_KEY_WINDOW_START] = changes[CACHE_KEY_WINDOW_END] = None
            changes[CACHE_KEY_POINTER_NEXT] = None
        return changes

    def _warn_overflow(self, boundary: Boundary) -> None:
        if len(boundary.hashes) >= BOUNDARY_LIMIT:
            logger.warning(
                "Too many entries share one pointer; some of them may be delivered again.",
                extra={**self._log_context, "event": "boundary_overflow", "limit": BOUNDARY_LIMIT},
            )

    def _commit(
        self, changes: dict[str, str | None], pointers: Sequence[str | None] = (), *, beside: bool = False
    ) -> None:
        # The run may have been revoked since its page was begun.
        self.check()
        try:
            step = self._step(changes, pointers)
            if step is None:
                return
            self.drain()
            if beside:
                self._begin(step)
            else:
                self._perform(step)
        except BaseException as err:
            self.fail(err)
            raise

    def _step(self, changes: dict[str, str | None], pointers: Sequence[str | None]) -> _Step | None:
        """What has to be committed; None where nothing moves, and nothing is to be delivered."""
        changes[LOOSE] = encode_loose(self._loose)
        extra: dict[Key, str | None] = {}
        if self._lookback is not None:
            # By what was delivered, not by a pointer that the connector has set: its pages may follow.
            changes[LOOKBACK], extra = self._lookback.changes(self._delivered_pointer(changes))
        objects, self._objects = self._objects, []
        moved = any(value != self.state.get(kind) for kind, value in changes.items())
        return _Step(changes, extra, objects, pointers) if moved or extra or objects else None

    def _begin(self, step: _Step) -> None:
        if self._beside is None:
            self._beside = Ahead(self._perform, name=f"grove-commit-{self.stream.name}")
        self.state.stage(step.changes)
        self._under_way = True
        self._beside.start(step)

    def drain(self) -> None:
        """Wait for the commit that is under way, if there is one; errors are what became of it."""
        if not self._under_way:
            return
        self._under_way = False
        assert self._beside is not None, "what is under way was begun"
        try:
            self._beside.result()
        finally:
            self.state.stage({})

    def _perform(self, step: _Step) -> None:
        """Deliver and commit: the one place where a stream moves."""
        try:
            self._deliver_and_commit(step)
        except BaseException as err:
            self._failed(err)
            raise

    def _deliver_and_commit(self, step: _Step) -> None:
        delivery, changes, state = self.delivery, step.changes, self.state
        for item in step.objects:
            delivery.write(
                item.descriptor,
                item.data,
                part=item.part,
                sequence=state.sequence + 1,
                epoch=state.epoch,
                moment=item.moment,
                entries=item.entries,
            )
        changes[PENDING] = encode_pending(delivery.pending())
        first, last = (step.pointers[0], step.pointers[-1]) if step.pointers else (None, None)
        changes[MANIFEST] = delivery.manifest(state.sequence + 1, first, last)
        self.check()
        # From here on what is staged may be committed, and then it is not ours to remove.
        self._may_be_committed = True
        try:
            state.commit(changes, step.extra)
        except Exception:
            self._may_be_committed = state.unknown
            raise
        self.brought.page(step.pointers)
        delivery.publish()
        self._may_be_committed = False

    def _delivered_pointer(self, changes: dict[str, str | None]) -> str | None:
        if self._moving:
            return None
        return changes.get(CACHE_KEY_POINTER) or self.state.get(CACHE_KEY_POINTER)

    def fail(self, err: BaseException) -> None:
        """A page has failed: poison the run, and remove what was staged where it was certainly not committed.

        The page before it, if that is still under way, is none the worse for it.
        """
        with contextlib.suppress(Exception):
            self.drain()
        self._failed(err)

    def _failed(self, err: BaseException) -> None:
        if self.poison is None:
            self.poison = err
        self._objects = []
        if isinstance(err, Exception) and not self._may_be_committed:
            self.delivery.abandon()

    # --- the end ---

    def revoke(self, reason: BaseException) -> None:
        """From another thread: this run does not come back, and commits nothing from here on. Errors are the cache's.

        The lease is taken away from it, so that the next run need not wait.
        """
        lease = self.lease
        if self.poison is None:
            self.poison = reason
        if lease is not None:
            lease.revoke()

    def end(self, changes: dict[str, str | None]) -> None:
        """Give the lease back, with `changes`. What is published by then need not be remembered any longer."""
        lease = self.lease
        assert lease is not None, "only a run that holds its lease has an end"
        self._close()
        self.lease = None
        clean = False
        try:
            if self.poison is None and not self.delivery.unfinished:
                self.delivery.settle()
                changes = {**changes, PENDING: None, MANIFEST: self.delivery.settled()}
                clean = self._swept
        finally:
            lease.give_back(changes, clean=clean)

    def _close(self) -> None:
        """Let nothing be under way; an error of it is in `poison`."""
        try:
            with contextlib.suppress(Exception):
                self.drain()
        finally:
            if self._beside is not None:
                self._beside.close()
                self._beside = None


def _taken(entries: list[Any] | _core.RawPage, indexes: list[int]) -> list[Any] | _core.RawPage:
    """Some of the entries, as they are kept."""
    return entries.take(indexes) if isinstance(entries, _core.RawPage) else [entries[index] for index in indexes]
