"""What is kept of a stream's runs as an answer to "do we have everything, and how do we know?".

A run that brought something, or failed, leaves a record: what it asked for, what came, and whether the source said
that there was no more. It is written with the lease's return, which happens anyway; a run that found nothing new
writes none, since `grove.history` has the last run of all. The newest runs are kept one by one, older ones are joined
day by day, as long as each went on where the one before had ended.

Pointers stay text here; what they mean as times is worked out when somebody asks.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any

from grove._core import rank
from grove.history import Counts
from grove.lookback import INSTANT, INTEGER, integer_unit

__all__ = ["RECENT", "Asked", "Brought", "Run", "after", "decode", "encode", "noted"]

RECENT = 24
"""Runs that are kept one by one."""

KEPT = 56
"""Records in all: about four weeks of older days. The oldest go first."""


@dataclass(frozen=True, slots=True)
class Asked:
    """The question of a run: pointers or moments from and to which it asked, and what else limited the answer."""

    since: str | None = None
    until: str | None = None
    limits: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Run:
    """One run, or `runs` of them. Moments are datestamps, `lateness` is in seconds.

    `ended_by` is "source" where every run went on until the source said that there was no more. `before` and `after`
    are the stream's pointers at both ends; `first` and `last` those of the first and the last entry that was new, in
    the order in which they came. `late` entries had older pointers than what had been delivered before their run.
    """

    began: str
    last_began: str
    ended_by: str
    since: str | None = None
    until: str | None = None
    limits: tuple[tuple[str, str], ...] = ()
    before: str | None = None
    after: str | None = None
    first: str | None = None
    last: str | None = None
    pages: int = 0
    entries: int = 0
    dropped: int = 0
    quarantined: int = 0
    late: int = 0
    lateness: float = 0.0
    runs: int = 1

    @property
    def complete(self) -> bool:
        """Whether the source said that there was no more."""
        return self.ended_by == "source"


@dataclass(slots=True)
class Brought:
    """What the pages of a run have brought, as they are committed. `known` is the pointer before the run."""

    known: str | None = None
    first: str | None = None
    last: str | None = None
    late: int = 0
    lateness: float = 0.0
    _place: tuple[int, int] | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        self._place = rank(self.known) if self.known is not None else None

    def page(self, pointers: Sequence[str | None]) -> None:
        """A page was committed; `pointers` are those of its new entries, in the order in which they came."""
        if not pointers:
            return
        first, last = pointers[0], pointers[-1]
        if self.first is None:
            self.first = first
        self.last = last
        # A page in order has its oldest entry at one of its ends.
        if self._is_late(first) or self._is_late(last):
            self._count(pointers)

    def _is_late(self, pointer: str | None) -> bool:
        place = rank(pointer) if pointer is not None else None
        known = self._place
        return place is not None and known is not None and place[0] == known[0] and place[1] < known[1]

    def _count(self, pointers: Iterable[str | None]) -> None:
        for pointer in pointers:
            if pointer is not None and self._is_late(pointer):
                self.late += 1
                self.lateness = max(self.lateness, self._seconds_late(pointer))

    def _seconds_late(self, pointer: str) -> float:
        place = rank(pointer)
        assert place is not None and self._place is not None, "both are times"
        kind, newest = self._place
        unit = {INTEGER: integer_unit(newest), INSTANT: 10**9}.get(kind, 1 / 86_400)
        return float((newest - place[1]) / unit)


def noted(
    known: str | None, *, began: str, outcome: str, counts: Counts, asked: Asked, brought: Brought, pointer: str | None
) -> str | None:
    """The stored records, `known` before, with a run that ends now and leaves the stream at `pointer`."""
    run = Run(
        began=began,
        last_began=began,
        ended_by="source" if outcome == "succeeded" else outcome,
        since=asked.since,
        until=asked.until,
        limits=asked.limits,
        before=brought.known,
        after=pointer,
        first=brought.first,
        last=brought.last,
        pages=counts.pages,
        entries=counts.entries,
        dropped=counts.dropped,
        quarantined=counts.quarantined,
        late=brought.late,
        lateness=brought.lateness,
    )
    return encode(after(decode(known), run))


def encode(runs: Sequence[Run]) -> str | None:
    """The stored form; None where there is nothing."""
    if not runs:
        return None
    usual = {each.name: each.default for each in fields(Run)}
    records = [{name: value for name, value in asdict(run).items() if value != usual[name]} for run in runs]
    return json.dumps(records, separators=(",", ":"))


def decode(text: str | None) -> list[Run]:
    """What `encode` wrote, oldest first; nothing where that cannot be read, as nothing is decided by it."""
    try:
        return [_run(record) for record in json.loads(text or "[]")]
    except (ValueError, KeyError, TypeError, AttributeError):
        return []


def _run(record: dict[str, Any]) -> Run:
    limits = record.pop("limits", ())
    return Run(**record, limits=tuple((str(name), str(value)) for name, value in limits))


def after(runs: Sequence[Run], run: Run) -> list[Run]:
    """The records once `run` has ended."""
    if run.complete and not run.entries and not run.quarantined:
        return list(runs)
    found = [*runs, run]
    older, recent = found[:-RECENT], found[-RECENT:]
    joined: list[Run] = []
    for one in older:
        if joined and _belong_together(joined[-1], one):
            joined[-1] = _joined(joined[-1], one)
        else:
            joined.append(one)
    return [*joined, *recent][-KEPT:]


def _belong_together(first: Run, second: Run) -> bool:
    return (
        first.complete
        and second.complete
        and first.after == second.before
        and first.limits == second.limits
        and first.began[:10] == second.began[:10]
    )


def _joined(first: Run, second: Run) -> Run:
    return replace(
        first,
        last_began=second.last_began,
        until=second.until,
        after=second.after,
        last=second.last,
        pages=first.pages + second.pages,
        entries=first.entries + second.entries,
        dropped=first.dropped + second.dropped,
        quarantined=first.quarantined + second.quarantined,
        late=first.late + second.late,
        lateness=max(first.lateness, second.lateness),
        runs=first.runs + second.runs,
    )
