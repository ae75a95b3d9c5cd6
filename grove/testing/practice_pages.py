"""Which entries of the practice API answer a query, and where the next page is: filters, order, paging and cursors."""

from __future__ import annotations

import base64
import json
from bisect import bisect_left, bisect_right
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from grove.testing.practice_feed import SECOND, Feed, Place
from grove.testing.practice_shapes import Entry

__all__ = ["Filters", "Granularity", "Order", "Page", "Pages", "Paging", "RefusedError", "natural"]

Order = Literal["oldest_first", "newest_first"]
Paging = Literal["cursor", "next_link", "offset", "keyset"]
Granularity = Literal["day", "second", "millisecond"]
Filters = Literal["inclusive", "exclusive"]

_UNITS = {"day": 86_400 * SECOND, "second": SECOND, "millisecond": 1_000}
_QUERY = frozenset({"since", "until", "limit", "cursor", "offset", "after"})


@dataclass(frozen=True, slots=True)
class Page:
    """Some entries, in the API's order, and the query that asks for the following ones; None after the last."""

    entries: list[Entry]
    next: dict[str, str] | None


class RefusedError(Exception):
    """A request that the API answers with `status` in place of a page."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True, slots=True)
class _Cursor:
    """A place to go on after (None: from the start), how often the page before it was repeated, and its generation."""

    place: Place | None
    again: int = 0
    generation: int = 0

    def encode(self) -> str:
        return base64.urlsafe_b64encode(json.dumps([self.generation, self.again, self.place]).encode()).decode()


class Pages:
    """Answers queries on a `feed`.

    `since` and `until` are rounded down to the unit of `granularity`; what lies exactly there is within `inclusive`
    filters, and without `exclusive` ones.
    """

    def __init__(self, feed: Feed, paging: Paging, granularity: Granularity, filters: Filters) -> None:
        self._feed = feed
        self._paging = paging
        self._unit = _UNITS[granularity]
        self._exclusive = filters == "exclusive"
        self._generation = 0
        self._expired_status = 410

    def expire_cursors(self, status: int) -> None:
        """Refuse every cursor given so far with this status."""
        self._generation += 1
        self._expired_status = status

    def page(self, query: dict[str, str], order: Order, limit: int, overlap: int = 0) -> Page:
        """Up to `limit` entries that a query asks for; a later page begins with the last `overlap` of the one before.

        RefusedError where the query makes no sense.
        """
        if unknown := query.keys() - _QUERY:
            raise RefusedError(400, f"unknown parameter: {', '.join(sorted(unknown))}")
        newest_first = order == "newest_first"
        first, last = self._filtered(query)
        cursor = self._position(query)
        low, high = self._after(query, cursor, first, last, newest_first)
        if newest_first:
            start, end = max(low, high - limit), max(low, high)
            more, again = start > low, min(last, end + overlap)
            entries = self._feed.entries[start:again][::-1]
            reached = self._feed.places[start] if start < end else None
        else:
            start, end = low, max(low, min(high, low + limit))
            more, again = end < high, max(first, start - overlap)
            entries = self._feed.entries[again:end]
            reached = self._feed.places[end - 1] if start < end else None
        if not more:
            return Page(entries, None)
        return Page(entries, self._next(query, end - start, cursor, reached, entries))

    def _filtered(self, query: Mapping[str, str]) -> tuple[int, int]:
        """Between which indexes the filters leave entries."""
        low = self._feed.retained()
        high = len(self._feed.places)
        if "since" in query:
            low = max(low, self._index_of(query["since"], self._unit if self._exclusive else 0))
        if "until" in query:
            high = self._index_of(query["until"], 0 if self._exclusive else self._unit)
        return low, max(low, high)

    def _index_of(self, text: str, extra: int) -> int:
        try:
            moment = self._feed.shape.read(text)
        except (TypeError, ValueError) as err:
            raise RefusedError(400, f"{text!r} is no time: {err}") from err
        return bisect_left(self._feed.places, (moment - moment % self._unit + extra, -1, -1))

    def _after(
        self, query: Mapping[str, str], cursor: _Cursor, low: int, high: int, newest_first: bool
    ) -> tuple[int, int]:
        """What is left of a span of indexes after the pages before this one."""
        if "offset" in query:
            skipped = natural(query["offset"])
            return (low, high - skipped) if newest_first else (low + skipped, high)
        if cursor.place is None:
            return low, high
        if newest_first:
            return low, min(high, bisect_left(self._feed.places, cursor.place))
        return max(low, bisect_right(self._feed.places, cursor.place)), high

    def _position(self, query: Mapping[str, str]) -> _Cursor:
        if "after" in query:
            place = self._feed.place_of(query["after"])
            if place is None:
                raise RefusedError(400, f"there is no entry with the id {query['after']}")
            return _Cursor(place)
        if "cursor" not in query:
            return _Cursor(None)
        cursor = _open_cursor(query["cursor"])
        if cursor.generation != self._generation:
            raise RefusedError(self._expired_status, "the cursor has expired")
        return cursor

    def _next(
        self, query: dict[str, str], count: int, cursor: _Cursor, reached: Place | None, entries: list[Entry]
    ) -> dict[str, str]:
        if self._paging == "offset":
            return {**query, "offset": str(natural(query.get("offset", "0")) + count)}
        if self._paging == "keyset":
            return {**query, "after": str(entries[-1]["id"])} if entries else query
        if reached is not None:
            following = _Cursor(reached, 0, self._generation)
        else:
            # Nothing new in this page: the same place, but another cursor, as it would be in an API that goes on.
            following = _Cursor(cursor.place, cursor.again + 1, self._generation)
        return {**query, "cursor": following.encode()}


def natural(text: str) -> int:
    """A natural number in a query; RefusedError where it is none."""
    if not text.isdecimal():
        raise RefusedError(400, f"{text!r} is no number")
    return int(text)


def _open_cursor(text: str) -> _Cursor:
    try:
        generation, again, place = json.loads(base64.urlsafe_b64decode(text))
        opened = None if place is None else (int(place[0]), int(place[1]), int(place[2]))
        return _Cursor(opened, int(again), int(generation))
    except (LookupError, TypeError, ValueError) as err:
        raise RefusedError(400, "the cursor is not one of ours") from err
