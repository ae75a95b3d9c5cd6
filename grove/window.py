"""How far a stream has got: pure decisions about pointers, boundaries and intervals, one class per order.

Nothing here reads or writes anything: pages' pointers go in, the values to commit come out.
"""

from __future__ import annotations

import json
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from grove._core import Order, Seen, order, rank

__all__ = [
    "BOUNDARY_LIMIT",
    "Boundary",
    "Change",
    "Interval",
    "NewestFirst",
    "OldestFirst",
    "Progress",
    "decode_intervals",
    "encode_intervals",
    "later",
]

BOUNDARY_LIMIT = 100_000
"""Hashes kept for one pointer value. Beyond it duplicates are preferred to an unbounded record."""


@dataclass(slots=True)
class Boundary:
    """The entries that carry exactly `pointer`, by their hashes."""

    pointer: str | None = None
    hashes: set[str] = field(default_factory=set)

    def encode(self) -> str:
        """The stored form: compact JSON with sorted hashes, so that equal boundaries have equal bytes."""
        record = {"pointer": self.pointer, "hashes": sorted(self.hashes)}
        return json.dumps(record, separators=(",", ":"))

    @classmethod
    def decode(cls, text: str) -> Boundary:
        """The boundary that `encode` wrote; ValueError, KeyError or TypeError where it is none."""
        record = json.loads(text)
        return cls(record["pointer"], set(record["hashes"]))


@dataclass(slots=True)
class Interval:
    """A span of pointers, both ends included, that an unfinished newest-first collection has delivered."""

    high: str
    low: str
    high_hashes: set[str] = field(default_factory=set)
    low_hashes: set[str] = field(default_factory=set)

    def ranks(self) -> tuple[int, int, int] | None:
        """(kind, low, high) as comparable numbers, or None where the ends cannot be compared."""
        low, high = rank(self.low), rank(self.high)
        if low is None or high is None or low[0] != high[0]:
            return None
        return low[0], low[1], high[1]


def encode_intervals(intervals: Sequence[Interval]) -> str | None:
    """The stored form of `intervals`, newest first; None where there are none."""
    if not intervals:
        return None
    return json.dumps(
        [
            {
                "high": span.high,
                "low": span.low,
                "high_hashes": sorted(span.high_hashes),
                "low_hashes": sorted(span.low_hashes),
            }
            for span in intervals
        ],
        separators=(",", ":"),
    )


def decode_intervals(text: str) -> list[Interval]:
    """The intervals that `encode_intervals` wrote; ValueError, KeyError or TypeError where they are none."""
    return [
        Interval(span["high"], span["low"], set(span["high_hashes"]), set(span["low_hashes"]))
        for span in json.loads(text)
    ]


def later(first: str | None, second: str | None) -> str | None:
    """The newer of two pointers; `second` where they cannot be compared, the other where one is absent."""
    if first is None or second is None:
        return first if second is None else second
    a, b = rank(first), rank(second)
    if a is not None and b is not None and a[0] == b[0]:
        return first if a[1] >= b[1] else second
    return second


@dataclass(slots=True)
class Change:
    """What a page, or the end of a run, asks to commit. None means "as it was"."""

    pointer: str | None = None
    boundary: Boundary | None = None
    intervals: list[Interval] | None = None
    mismatch: bool = False


class Progress(Protocol):
    """One run's view of its stream's position, whichever the order."""

    shown: str | None
    newest: str | None

    def covered(self, pointers: list[str | None], indexes: list[int], lookback: int) -> list[int]: ...
    def advance(self, pointers: list[str | None], served: list[str | None]) -> Change: ...
    def moved(self, pointer: str | None) -> None: ...
    def finish(self) -> Change | None: ...


def _known(pointers: Iterable[str | None]) -> list[str]:
    return [pointer for pointer in pointers if pointer is not None]


class OldestFirst:
    """A stream whose source serves the oldest entry first: the pointer follows the newest committed one.

    A page that breaks the order holds the committed pointer where it is until the run has ended, because
    what lies between the held pointer and the newest one may not have been served yet. Entries that an earlier run
    delivered count for that: after a crash they are all there is to see of an order that was broken before it.
    """

    def __init__(self, pointer: str | None, boundary: Boundary, seen: Seen) -> None:
        self.pointer = pointer
        self.shown = pointer
        self.newest: str | None = None
        self._boundary = boundary
        self._seen = seen
        self._held = False
        self._high: tuple[int, int] | None = None

    def covered(self, pointers: list[str | None], indexes: list[int], lookback: int) -> list[int]:
        """Nothing but a hash drops an entry of an oldest-first stream."""
        return indexes

    def advance(self, pointers: list[str | None], served: list[str | None]) -> Change:
        """What to commit with a page: `pointers` of all its entries (one at least), `served` of those that came now.

        What has come in this run already may come again anywhere, and is not among the latter.
        """
        span = order(pointers)
        change = Change()
        if span is None:
            self.shown = _known(pointers)[-1]
        else:
            change.mismatch = self._breaks_order(span, span if served is pointers else order(served))
            self.shown = later(self.shown, span.high)
        self.newest = self.shown
        if not self._held:
            self._settle(change)
        return change

    def moved(self, pointer: str | None) -> None:
        """The connector has set the pointer itself: it knows, and no boundary goes with it."""
        self.pointer = self.shown = pointer
        self._boundary = Boundary()

    def finish(self) -> Change | None:
        """The collection is complete: let a held pointer go."""
        if not self._held:
            return None
        self._held = False
        change = Change()
        self._settle(change)
        return change

    def _breaks_order(self, span: Order, served: Order | None) -> bool:
        broken = False
        if served is not None:
            below = self._high is not None and served.kind == self._high[0] and served.low_rank < self._high[1]
            broken = below or not served.ascending
        if self._high is None or span.kind != self._high[0] or span.high_rank > self._high[1]:
            self._high = (span.kind, span.high_rank)
        first = broken and not self._held
        self._held = self._held or broken
        return first

    def _settle(self, change: Change) -> None:
        assert self.shown is not None
        boundary = boundary_at(self.shown, self._seen, self._boundary)
        if self.shown != self.pointer:
            change.pointer = self.pointer = self.shown
        if boundary != self._boundary:
            change.boundary = self._boundary = boundary


class NewestFirst:
    """A stream whose source serves the newest entry first: the pointer stays until a collection has finished.

    What an unfinished collection delivered is kept as intervals, which later runs skip.
    """

    def __init__(self, pointer: str | None, boundary: Boundary, intervals: list[Interval], seen: Seen) -> None:
        self.pointer = pointer
        self.shown = pointer
        self.newest: str | None = None
        self._boundary = boundary
        self._seen = seen
        self._earlier = intervals
        self._spans = _searchable(intervals)
        self._active: Interval | None = None
        self._low: tuple[int, int] | None = None
        self._trusted = True
        self.intervals = list(intervals)

    def covered(self, pointers: list[str | None], indexes: list[int], lookback: int) -> list[int]:
        """The `indexes` whose entries no earlier run has delivered.

        Only what lies strictly inside an interval is known without its hash; `lookback` (in the unit of the
        pointers) keeps the newest part out of it, where late entries are still expected.
        """
        spans = self._spans
        if spans is None:
            return indexes
        horizon = None
        if lookback:
            span = order(pointers)
            if span is None:
                # How new they are cannot be told.
                return indexes
            newest = rank(self.newest) if self.newest is not None else None
            high = newest[1] if newest is not None and newest[0] == span.kind else span.high_rank
            horizon = max(high, span.high_rank) - lookback
        kept = []
        for index in indexes:
            pointer = pointers[index]
            place = rank(pointer) if pointer is not None else None
            if place is None or (horizon is not None and place[1] >= horizon) or not spans.inside(place):
                kept.append(index)
        return kept

    def advance(self, pointers: list[str | None], served: list[str | None]) -> Change:
        """What to commit with a page: `pointers` of all its entries (one at least), `served` of those that came now.

        What has come in this run already may come again anywhere, and is not among the latter.
        """
        span = order(pointers)
        if span is None:
            # Opaque pointers: the first entry is the newest, and there are no intervals to keep.
            if self.newest is None:
                self.newest = _known(pointers)[0]
            self._trusted = False
            return self._committed(Change())
        self.newest = later(self.newest, span.high)
        change = Change(mismatch=self._breaks_order(span, span if served is pointers else order(served)))
        if self._trusted:
            self._extend(span)
        return self._committed(change)

    def moved(self, pointer: str | None) -> None:
        """The connector has set the pointer itself: it knows, and no boundary goes with it."""
        self.pointer = self.shown = pointer
        self._boundary = Boundary()

    def finish(self) -> Change:
        """The collection is complete: the pointer becomes the newest entry, and no interval stays open."""
        newest = self.newest
        for span in self._earlier:
            newest = later(span.high, newest)
        if self.pointer is not None and newest is not None:
            newest = later(self.pointer, newest)
        change = Change(intervals=[] if self.intervals else None)
        if newest is not None:
            boundary = boundary_at(newest, self._seen, self._boundary)
            if newest != self.pointer:
                change.pointer = self.pointer = self.shown = newest
            if boundary != self._boundary:
                change.boundary = self._boundary = boundary
        self.intervals = []
        return change

    def _breaks_order(self, span: Order, served: Order | None) -> bool:
        low, place = self._low, (span.kind, span.low_rank)
        broken = not span.descending
        if low is None:
            self._low = place
        elif span.kind != low[0]:
            broken = True
        else:
            # What this run has met already may come again anywhere.
            broken = broken or (served is not None and served.high_rank > low[1])
            self._low = min(low, place)
        first = broken and self._trusted
        self._trusted = self._trusted and not broken
        return first

    def _extend(self, span: Order) -> None:
        active = self._active
        if active is None:
            active = self._active = Interval(span.high, span.low)
        elif self._low == (span.kind, span.low_rank):
            active.low = span.low
        active.high_hashes = self._hashes(active.high)
        active.low_hashes = self._hashes(active.low)

    def _hashes(self, pointer: str) -> set[str]:
        return capped(self._seen.hashes(pointer))

    def _committed(self, change: Change) -> Change:
        """The intervals after this page: the active one, merged with what it has passed strictly."""
        spans = list(self._earlier)
        if self._trusted and self._active is not None:
            spans = merge(self._active, spans)
        if spans != self.intervals:
            change.intervals = self.intervals = spans
        return change


def boundary_at(pointer: str, seen: Seen, old: Boundary) -> Boundary:
    """The complete boundary at `pointer`: every hash known for it, whichever page or run it came with."""
    hashes = capped(seen.hashes(pointer))
    if old.pointer == pointer and not old.hashes <= hashes:
        hashes = capped(hashes | old.hashes)
    return Boundary(pointer, hashes)


def capped(hashes: set[str]) -> set[str]:
    """At most BOUNDARY_LIMIT of `hashes`."""
    if len(hashes) <= BOUNDARY_LIMIT:
        return hashes
    return set(sorted(hashes)[:BOUNDARY_LIMIT])


def merge(active: Interval, earlier: list[Interval]) -> list[Interval]:
    """`active` and the `earlier` intervals, joined where `active` reaches strictly below an upper end.

    Touching is not enough: entries that share the end's pointer may still be missing.
    """
    joined = Interval(active.high, active.low, active.high_hashes, active.low_hashes)
    rest: list[Interval] = []
    mine = joined.ranks()
    assert mine is not None, "only pages whose pointers compare extend an interval"
    kind, low, high = mine
    for span in earlier:
        theirs = span.ranks()
        if theirs is None or theirs[0] != kind or theirs[2] <= low or theirs[1] >= high:
            rest.append(span)
            continue
        _, their_low, their_high = theirs
        if their_low < low:
            joined.low, joined.low_hashes, low = span.low, span.low_hashes, their_low
        if their_high > high:
            joined.high, joined.high_hashes, high = span.high, span.high_hashes, their_high
    return sorted([joined, *rest], key=lambda span: (span.ranks() or (0, 0, 0))[2], reverse=True)


@dataclass(frozen=True, slots=True)
class _Spans:
    """Disjoint intervals of one kind of pointer, as sorted ranks, for a binary search."""

    kind: int
    lows: list[int]
    highs: list[int]

    def inside(self, place: tuple[int, int]) -> bool:
        """Whether (kind, rank) lies strictly inside one of them."""
        kind, rank_ = place
        index = bisect_left(self.lows, rank_) - 1
        return kind == self.kind and index >= 0 and rank_ < self.highs[index]


def _searchable(intervals: list[Interval]) -> _Spans | None:
    """The `intervals` whose ends compare; None where there are none."""
    ranks = [found for span in intervals if (found := span.ranks()) is not None]
    if not ranks:
        return None
    kind = ranks[0][0]
    spans = sorted((low, high) for found, low, high in ranks if found == kind)
    return _Spans(kind, [low for low, _ in spans], [high for _, high in spans])
