"""Hashes of what was delivered lately, for streams whose entries may arrive late.

A stream with a `lookback` asks its source again for that many seconds before its pointer, and drops what it has
by hash. The hashes are kept as one record per page and bucket; a bucket is a fixed span of pointers, so that a
page reads only the buckets it touches, and whole buckets expire once they lie below the pointer minus `lookback`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from email.utils import format_datetime, parsedate_to_datetime

from grove._core import rank
from grove.caches import BaseCache, Key

__all__ = ["Lookback", "earlier_pointer", "integer_unit", "span_of"]

BUCKETS = 64
"""Into how many buckets one lookback is divided."""

EXPIRE_AT_ONCE = 64
"""Records that one commit may remove, so that its size stays bounded in every cache."""

DIGEST = 32
INTEGER, INSTANT, DAY = 1, 2, 3

_INTEGER_UNITS = ((10**11, 1), (10**14, 10**3), (10**17, 10**6))


def span_of(pointer: str, seconds: float) -> int | None:
    """`seconds` in the unit in which `pointer` counts (see `grove._core.rank`); None for an opaque pointer.

    An integer is taken as seconds, milliseconds, microseconds or nanoseconds since 1970 by its size.
    """
    place = rank(pointer)
    if place is None:
        return None
    kind, value = place
    if kind == INSTANT:
        return int(seconds * 10**9)
    if kind == DAY:
        return -int(-seconds // 86400)
    return int(seconds * integer_unit(value))


def integer_unit(value: int) -> int:
    """How many of what an integer pointer counts make a second, if it is a time."""
    return next((unit for limit, unit in _INTEGER_UNITS if abs(value) < limit), 10**9)


def earlier_pointer(pointer: str, seconds: float) -> str:
    """`pointer` moved back by `seconds`, in its own format; as it is where it is opaque."""
    place, span = rank(pointer), span_of(pointer, seconds)
    if place is None or not span:
        return pointer
    if place[0] == INTEGER:
        return str(place[1] - span)
    if pointer[:1].isdigit():
        return _earlier_iso(pointer, timedelta(seconds=seconds), date_only=place[0] == DAY)
    return format_datetime(parsedate_to_datetime(pointer) - timedelta(seconds=seconds))


def _earlier_iso(pointer: str, span: timedelta, date_only: bool) -> str:
    if date_only:
        whole_days = timedelta(days=-(-span // timedelta(days=1)))
        return (datetime.fromisoformat(pointer) - whole_days).date().isoformat()
    # Only date and time move; fraction and zone stay as the source wrote them.
    moment, rest = pointer[:19], pointer[19:]
    moved = datetime.fromisoformat(moment) - timedelta(seconds=int(span.total_seconds()))
    return moved.isoformat(sep=pointer[10]) + rest


class Lookback:
    """What one stream has delivered within its lookback, by hash.

    `head` is the stored index (None at first), `key_of` gives the key of a bucket's n-th record. One instance
    serves one run: `known` and `note` see the pages, `changes` is what the page's commit has to carry.
    """

    def __init__(self, cache: BaseCache, key_of: Callable[[str], Key], seconds: float, head: str | None) -> None:
        self.seconds = seconds
        self._cache = cache
        self._key_of = key_of
        self._kind = 0
        self._width = 0
        self._counts: dict[int, int] = {}
        self._loaded: dict[int, set[str]] = {}
        self._fresh: dict[int, list[str]] = {}
        self.head = head
        if head is not None:
            record = json.loads(head)
            self._kind, self._width = int(record["kind"]), int(record["width"])
            self._counts = {int(bucket): int(count) for bucket, count in record["buckets"].items()}

    def known(self, pointer: str | None, digest: str) -> bool:
        """Whether this very entry was delivered within the lookback."""
        bucket = self._bucket(pointer)
        return bucket is not None and digest in self._load(bucket)

    def note(self, pointer: str | None, digest: str) -> None:
        """An entry that this page delivers."""
        bucket = self._bucket(pointer)
        if bucket is not None and digest not in self._load(bucket):
            self._load(bucket).add(digest)
            self._fresh.setdefault(bucket, []).append(digest)

    def changes(self, pointer: str | None) -> tuple[str | None, dict[Key, str | None]]:
        """The new index and the records to write or remove with a commit that leaves the stream at `pointer`.

        None keeps everything: nothing was delivered that would let older hashes expire.
        """
        records: dict[Key, str | None] = {}
        for bucket, digests in self._fresh.items():
            count = self._counts.get(bucket, 0)
            records[self._record(bucket, count)] = "".join(digests)
            self._counts[bucket] = count + 1
        self._fresh = {}
        for bucket in self._expired(pointer):
            count = self._counts[bucket]
            room = EXPIRE_AT_ONCE - sum(value is None for value in records.values())
            for number in range(max(0, count - room), count):
                records[self._record(bucket, number)] = None
            self._counts[bucket] = max(0, count - room)
            if not self._counts[bucket]:
                del self._counts[bucket]
                self._loaded.pop(bucket, None)
            if room <= count:
                break
        self.head = self._encode()
        return self.head, records

    def records(self) -> list[Key]:
        """Where all that is kept lies, but for the index."""
        return [self._record(bucket, number) for bucket, count in self._counts.items() for number in range(count)]

    def _encode(self) -> str | None:
        if not self._counts:
            return None
        buckets = {str(bucket): count for bucket, count in sorted(self._counts.items())}
        record = {"kind": self._kind, "width": self._width, "buckets": buckets}
        return json.dumps(record, separators=(",", ":"))

    def _bucket(self, pointer: str | None) -> int | None:
        place = rank(pointer) if pointer is not None else None
        if place is None or pointer is None:
            return None
        if not self._counts and not self._fresh:
            span = span_of(pointer, self.seconds) or 1
            self._kind, self._width = place[0], max(1, span // BUCKETS)
        return place[1] // self._width if place[0] == self._kind else None

    def _expired(self, pointer: str | None) -> Iterable[int]:
        place = rank(pointer) if pointer is not None else None
        if place is None or pointer is None or place[0] != self._kind:
            return []
        limit = place[1] - (span_of(pointer, self.seconds) or 0)
        return [bucket for bucket in sorted(self._counts) if (bucket + 1) * self._width <= limit]

    def _load(self, bucket: int) -> set[str]:
        known = self._loaded.get(bucket)
        if known is None:
            count = self._counts.get(bucket, 0)
            texts = self._cache.read([self._record(bucket, number) for number in range(count)])
            known = self._loaded[bucket] = {
                text[start : start + DIGEST]
                for text in texts
                if text is not None
                for start in range(0, len(text), DIGEST)
            }
        return known

    def _record(self, bucket: int, number: int) -> Key:
        return self._key_of(f"lookback-{bucket}-{number}")
