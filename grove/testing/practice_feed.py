"""What the practice API's source has: its entries in the order of their time, and everything it ever offered."""

from __future__ import annotations

import zlib
from bisect import bisect_left
from collections.abc import Iterable
from typing import Any

from grove.testing.practice_shapes import Entry, Shape

__all__ = ["SECOND", "Feed", "Place"]

SECOND = 1_000_000
"""Moments are whole microseconds since 1970."""

Place = tuple[int, int, int]
"""Where an entry lies: its moment, its place among ties, and the number of its arrival."""


class Feed:
    """Entries, generated or given, as the source keeps them.

    `beginning` is the moment of the first generated entry, `spacing` the seconds between two of them. Ties lie as they
    arrived, or `shuffled`. Generated entries have an `id` where `ids` says so, and `by_id` finds each again by it, for
    which it has to be unique. Not safe for threads: `PracticeAPI` is.
    """

    def __init__(
        self, shape: Shape, beginning: int, spacing: float, *, ids: bool = True, shuffled: bool = False, by_id: bool
    ) -> None:
        self.shape = shape
        self.spacing = spacing
        self.retention: float | None = None
        self.offered: list[Entry] = []
        self.places: list[Place] = []
        self.entries: list[Entry] = []
        """What is at each of `places`."""
        self._beginning = beginning
        self._ids = ids
        self._shuffled = shuffled
        self._by_id: dict[str, Place] | None = {} if by_id else None
        self._generated = 0
        # The newest moment, before it was rounded to what the pointers can say.
        self._latest = beginning - round(spacing * SECOND)

    def offer(
        self, entries: int | Iterable[Entry], *, tied: bool = False, late: float | None = None, at: Any = None
    ) -> list[Entry]:
        """More entries: see `PracticeAPI.offer`."""
        new = self._generate(entries, tied, late, at) if isinstance(entries, int) else list(entries)
        for entry in new:
            self._add(entry)
        return new

    def expire(self, count: int) -> None:
        """Drop the `count` oldest entries."""
        del self.places[:count], self.entries[:count]

    def withdraw(self, entries: Iterable[Entry]) -> None:
        """Drop these very entries; ValueError where one is not there."""
        for entry in entries:
            index = next((index for index, one in enumerate(self.entries) if one is entry), None)
            if index is None:
                raise ValueError(f"there is no such entry to withdraw: {entry}")
            del self.places[index], self.entries[index]

    def retained(self) -> int:
        """The index of the oldest entry that is still served."""
        if self.retention is None:
            return 0
        oldest = self._newest() - round(self.retention * SECOND)
        return bisect_left(self.places, (oldest, -1, -1))

    def place_of(self, identifier: str) -> Place | None:
        """Where the entry with this `id` lies, or lay; None where there never was one."""
        return (self._by_id or {}).get(identifier)

    def _newest(self) -> int:
        return self.places[-1][0] if self.places else self._beginning

    def _generate(self, count: int, tied: bool, late: float | None, at: Any) -> list[Entry]:
        step, newest = round(self.spacing * SECOND), self._latest
        entries = []
        for index in range(count):
            if at is not None:
                moment = self.shape.read(at)
            elif late is not None:
                moment = newest - round(late * SECOND * (count - index) / count)
            else:
                moment = newest if tied else newest + step * (index + 1)
            self._latest = max(self._latest, moment)
            number, self._generated = self._generated, self._generated + 1
            entry = {**self.shape.make(number), self.shape.pointer: self.shape.write(moment)}
            entries.append({"id": f"e-{number:07d}", **entry} if self._ids else entry)
        return entries

    def _add(self, entry: Entry) -> None:
        number = len(self.offered)
        pointer = entry.get(self.shape.pointer)
        moment = self._newest() if pointer is None else self.shape.read(pointer)
        self._latest = max(self._latest, moment)
        place = (moment, zlib.crc32(b"%d" % number) if self._shuffled else 0, number)
        if self._by_id is not None:
            key = str(entry.get("id"))
            if "id" not in entry or key in self._by_id:
                raise ValueError(f"paging by id needs a unique `id` in every entry, and this has {key}")
            self._by_id[key] = place
        index = bisect_left(self.places, place)
        self.places.insert(index, place)
        self.entries.insert(index, entry)
        self.offered.append(entry)
