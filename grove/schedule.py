"""When each stream starts: decisions about time alone, values in and values out.

Moments are seconds on one clock that never jumps, durations are seconds, and what is now is always an argument.
"""

from __future__ import annotations

import heapq
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Generic, TypeVar

__all__ = ["MOST_BACKOFF", "Schedule", "Slot", "backoff", "come_back", "look_again", "remaining", "retry", "spread"]

MOST_BACKOFF = 8
"""How many times its frequency a failing stream waits at most."""

SHORTEST = 1.0
"""Between two starts of one stream, whatever a lock or a source says."""

LONGEST = 86_400.0
"""For which a source may ask a stream to stay away; beyond it, it is asked again."""

SPREAD_GAP = 0.1
"""Between two first starts, where there are few."""

K = TypeVar("K", bound=Hashable)


# --- single decisions ---


def backoff(failures: int, frequency: float, draw: float) -> float:
    """How long a stream waits after `failures` in a row, with full jitter: `draw` is a random number from 0 to 1.

    At least its frequency; at most twice, four and then MOST_BACKOFF times that.
    """
    # The exponent is bounded: a stream may fail for years.
    most = min(1 << min(failures, 16), MOST_BACKOFF)
    return frequency * (1 + draw * (most - 1))


def remaining(last: datetime | None, frequency: float, now: datetime) -> float:
    """How long until a stream is due that last ran at `last` (None: never). A last run in the future counts not."""
    if last is None or last > now:
        return 0.0
    return max(0.0, frequency - (now - last) / timedelta(seconds=1))


def look_again(expires_in: float, frequency: float) -> float:
    """How long to leave a stream alone that is locked elsewhere: until its lock may be over, or it may be due again."""
    return max(SHORTEST, min(expires_in, frequency))


def come_back(until: datetime, now: datetime) -> float:
    """How long to leave a stream alone whose source asked for that, within reason."""
    return min(max((until - now) / timedelta(seconds=1), SHORTEST), LONGEST)


def retry(failures: int, most: float, draw: float) -> float:
    """How long to wait after that many failures in a row of what all streams need: from about a second to `most`."""
    return min(most, SHORTEST * (1 << min(failures, 16))) * (0.5 + draw / 2)


def spread(frequencies: Sequence[float], window: float) -> list[float]:
    """When to start streams that are all due, from now: one after the other, each within its frequency and `window`.

    Few of them follow each other closely, so that nobody waits for a crowd that is not there.
    """
    count = len(frequencies)
    crowd = min(window, count * SPREAD_GAP)
    return [index / count * min(frequency, crowd) for index, frequency in enumerate(frequencies)]


# --- all streams ---


@dataclass(slots=True)
class Slot:
    """One stream's place: when it is due, whether it is running, and how often it has failed in a row.

    `wanted` is false once it has been removed while it runs; `hurry` makes it due as soon as its run has failed or
    been stopped.
    """

    frequency: float
    due: float
    began: float | None = None
    running: bool = False
    failures: int = 0
    wanted: bool = True
    hurry: bool = False
    ticket: int = 0


class Schedule(Generic[K]):
    """When every stream starts next. A stream that runs is not in the queue, so that it never starts twice at once."""

    def __init__(self) -> None:
        self._slots: dict[K, Slot] = {}
        self._queue: list[tuple[float, int, K]] = []
        self._tickets = 0

    def __len__(self) -> int:
        return len(self._slots)

    def __contains__(self, key: K) -> bool:
        return key in self._slots

    def __getitem__(self, key: K) -> Slot:
        return self._slots[key]

    # --- which streams there are ---

    def add(self, key: K, frequency: float, due: float) -> None:
        """A new stream. One that was removed and still runs is due again as soon as that run has ended."""
        slot = self._slots.get(key)
        if slot is None:
            slot = self._slots[key] = Slot(frequency, due)
            self._enqueue(key, slot)
        else:
            slot.frequency, slot.failures, slot.wanted, slot.hurry = frequency, 0, True, True

    def find(self, key: K) -> Slot | None:
        """Where a stream stands; None where it is not planned. For any thread."""
        return self._slots.get(key)

    def change(self, key: K, frequency: float, now: float) -> None:
        """The stream's document has changed. One that kept failing is tried at once: the change may be the cure."""
        slot = self._slots[key]
        if slot.running:
            slot.frequency, slot.hurry = frequency, True
            return
        due = slot.due + frequency - slot.frequency if not slot.failures else now
        slot.frequency, slot.failures = frequency, 0
        self._set(key, slot, max(now, due))

    def remove(self, key: K) -> None:
        """Forget a stream; where it is running, once that has ended."""
        if self._slots[key].running:
            self._slots[key].wanted = False
        else:
            del self._slots[key]

    # --- starting ---

    def next_due(self) -> float | None:
        """When the next stream is due; None where none waits."""
        while self._queue:
            due, ticket, key = self._queue[0]
            slot = self._slots.get(key)
            if slot is not None and slot.ticket == ticket:
                return due
            heapq.heappop(self._queue)
        return None

    def take(self, now: float) -> K | None:
        """The stream that has been due the longest, which counts as running from now; None where none is due."""
        due = self.next_due()
        if due is None or due > now:
            return None
        key = heapq.heappop(self._queue)[2]
        slot = self._slots[key]
        slot.running, slot.hurry, slot.began = True, False, now
        return key

    # --- ending ---

    def succeeded(self, key: K, now: float) -> None:
        """Its run went well: due again `frequency` after it began."""
        slot = self._slots[key]
        slot.failures = 0
        assert slot.began is not None, "only what was taken can end"
        self._end(key, max(now, slot.began + slot.frequency))

    def failed(self, key: K, now: float, draw: float) -> None:
        """Its run failed: due again after a back-off, or at once where its document has changed meanwhile."""
        slot = self._slots[key]
        if slot.hurry:
            slot.failures = 0
            self._end(key, now)
        else:
            slot.failures += 1
            self._end(key, now + backoff(slot.failures, slot.frequency, draw))

    def stopped(self, key: K, now: float) -> None:
        """Its run was stopped: due at once where the stream is wanted again, else after its frequency."""
        slot = self._slots[key]
        self._end(key, now if slot.hurry else now + slot.frequency)

    def postponed(self, key: K, now: float, seconds: float) -> None:
        """It is to be left alone for that long, which is neither a success nor a failure."""
        self._end(key, now + seconds)

    def _end(self, key: K, due: float) -> None:
        slot = self._slots[key]
        slot.running = slot.hurry = False
        if slot.wanted:
            self._set(key, slot, due)
        else:
            del self._slots[key]

    def _set(self, key: K, slot: Slot, due: float) -> None:
        slot.due = due
        self._enqueue(key, slot)

    def _enqueue(self, key: K, slot: Slot) -> None:
        self._tickets += 1
        slot.ticket = self._tickets
        heapq.heappush(self._queue, (slot.due, slot.ticket, key))
        # Places that were given up stay in the queue until their turn; after many reloads they would be most of it.
        if len(self._queue) > 2 * len(self._slots) + 64:
            self._queue = [entry for entry in self._queue if self._is_current(entry)]
            heapq.heapify(self._queue)

    def _is_current(self, entry: tuple[float, int, K]) -> bool:
        slot = self._slots.get(entry[2])
        return slot is not None and slot.ticket == entry[1]
