"""How one stream stands: what is known of it, and whether that is well. Values in, values out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from grove._core import rank
from grove.health.facts import Facts
from grove.history import DAY, hour_of
from grove.logging import redact
from grove.lookback import integer_unit
from grove.models import ConnectorConfig
from grove.schedule import MOST_BACKOFF

__all__ = ["BAD", "STATES", "Standing", "instant", "judge"]

STATES = {
    "failing": "the last run failed, or the state cannot be read",
    "stale": "it falls short of what its document expects",
    "overdue": "it has not run for much longer than its frequency",
    "running": "it is being collected",
    "new": "it has not been collected yet",
    "ok": "all is well",
}
"""What a stream's state can be, the worst first."""

BAD = frozenset(("failing", "stale", "overdue"))
"""The states that somebody has to look at."""

OVERDUE = 86_400.0
"""Seconds without a run that are never too long: a source may have asked to be left alone for a day."""

EARLIEST = datetime(2001, 9, 9, tzinfo=UTC)
"""An integer pointer that would be a time before that is taken for a number: seconds have ten digits since then."""

_DAY = timedelta(days=1)
_INTEGER, _INSTANT = 1, 2


@dataclass(frozen=True, slots=True)
class Standing:
    """One stream at one moment; `problems` say what is wrong with it, in words. Moments are in UTC.

    `newest` is the time of its newest entry, as far as its pointer is one. `shortfalls` has the expectations that
    it falls short of, by field, in words. `next_run` is None where nobody has planned it.
    """

    config: ConnectorConfig
    facts: Facts
    now: datetime
    state: str
    problems: tuple[str, ...]
    shortfalls: Mapping[str, str]
    newest: datetime | None
    next_run: datetime | None

    @property
    def freshness(self) -> float | None:
        """Seconds since the newest entry; None where the pointer is no time."""
        return None if self.newest is None else max(0.0, (self.now - self.newest).total_seconds())

    @property
    def entries_last_day(self) -> int:
        """New entries within the last 24 hours, and what has passed of this one."""
        history = self.facts.history
        return 0 if history is None else history.entries_since(self.now)

    def as_json(self) -> dict[str, Any]:
        """What `status --json` and `/status.json` say of a stream. Times are ISO 8601 in UTC, durations seconds."""
        config, facts, history = self.config, self.facts, self.facts.history
        expect = config.expect
        return {
            "name": config.name,
            "connector": config.connector,
            "identity": config.identity,
            "operation": config.operation,
            "frequency": config.frequency,
            "state": self.state,
            "problems": list(self.problems),
            "shortfalls": list(self.shortfalls),
            "last_run": self._last_run(),
            "failures": 0 if history is None else history.failures,
            "last_success": _text(history.succeeded if history is not None else None),
            "last_delivery": _text(history.delivered if history is not None else None),
            "entries_last_day": self.entries_last_day,
            "hours": self._hours(),
            "pointer": None if facts.pointer is None else redact(facts.pointer),
            "newest": _text(self.newest),
            "freshness": None if self.freshness is None else round(self.freshness, 3),
            "holder": facts.holder or None,
            "held_until": _text(facts.expires),
            "next_run": _text(self.next_run),
            "expect": {"newest_within": expect.newest_within, "entries_per_day": expect.entries_per_day},
        }

    def _last_run(self) -> dict[str, Any] | None:
        history = self.facts.history
        if history is None:
            if self.facts.last is None:
                return None
            # An older version has run it, which kept no more.
            return {"began": _text(self.facts.last)}
        counts = history.counts
        return {
            "began": _text(history.began),
            "ended": _text(history.ended),
            "seconds": round((history.ended - history.began).total_seconds(), 3),
            "outcome": history.outcome,
            "error": history.error or None,
            "pages": counts.pages,
            "entries": counts.entries,
            "dropped": counts.dropped,
            "quarantined": counts.quarantined,
        }

    def _hours(self) -> list[list[int]]:
        """New entries and failed runs of the last 24 hours, the one that has begun last; empty where nothing was."""
        history = self.facts.history
        if history is None or not history.hours:
            return []
        last = hour_of(self.now)
        found = [history.hours.get(number) for number in range(last - DAY + 1, last + 1)]
        return [[0, 0] if hour is None else [hour.entries, hour.failures] for hour in found] if any(found) else []


def judge(
    config: ConnectorConfig,
    facts: Facts,
    now: datetime,
    *,
    since: datetime | None = None,
    next_run: datetime | None = None,
    running: bool = False,
) -> Standing:
    """How a stream stands at `now`.

    `since` is from when on it was looked after, as far as that is known: what has never run falls short from there.
    `next_run` is when it is planned, where somebody plans it, and `running` says that it runs in this process.
    """
    history = facts.history
    newest = None if facts.pointer is None else instant(facts.pointer, now)
    shortfalls = dict(_shortfalls(config, facts, newest, since, now))
    failing = bool(facts.damage) or (history is not None and history.failures > 0)
    last = facts.last if history is None else history.ended
    idle = 0.0 if last is None else (now - last).total_seconds()
    held = running or (bool(facts.holder) and (facts.expires is None or facts.expires > now))
    overdue = not held and idle > config.frequency + max(OVERDUE, MOST_BACKOFF * config.frequency)
    problems = [redact(facts.damage)] if facts.damage else []
    if failing and history is not None and not facts.damage:
        times = f"{history.failures} times in a row: " if history.failures > 1 else ""
        problems.append(f"failed {times}{history.error}" if times else f"failed: {history.error}")
    problems += shortfalls.values()
    if overdue:
        problems.append(f"has not run for {_span(idle)}")
    if failing:
        state = "failing"
    elif shortfalls:
        state = "stale"
    elif overdue:
        state = "overdue"
    elif held:
        state = "running"
    else:
        state = "new" if last is None else "ok"
    return Standing(config, facts, now, state, tuple(problems), shortfalls, newest, next_run)


def _shortfalls(
    config: ConnectorConfig, facts: Facts, newest: datetime | None, since: datetime | None, now: datetime
) -> list[tuple[str, str]]:
    """The expectations that are not met, by the name of their field, and how."""
    expect, history = config.expect, facts.history
    found = []
    if expect.newest_within is not None:
        # Where the pointer is no time, the last delivery stands in for it; before the first, the first attempt.
        known = newest or (history.delivered if history is not None else None)
        reference = known or (history.first if history is not None else since)
        if reference is None:
            found.append(("newest_within", "has never run"))
        elif (age := (now - reference).total_seconds()) > expect.newest_within:
            what = f"newest entry is {_span(age)} old" if known is not None else f"no entry for {_span(age)}"
            found.append(("newest_within", f"{what}, expected within {_span(expect.newest_within)}"))
    if expect.entries_per_day is not None and history is not None and now - history.first >= _DAY:
        entries = history.entries_since(now)
        if entries < expect.entries_per_day:
            found.append(("entries_per_day", f"{entries:,} entries in a day, expected {expect.entries_per_day:,}"))
    return found


def instant(pointer: str, now: datetime) -> datetime | None:
    """The time that a pointer stands for; None where it is none.

    An integer is seconds, milliseconds, microseconds or nanoseconds since 1970 by its size, as for `lookback`; one
    that would lie before EARLIEST, or more than a day ahead, is just a number.
    """
    place = rank(pointer)
    if place is None:
        return None
    kind, value = place
    try:
        if kind == _INTEGER:
            found = datetime.fromtimestamp(value / integer_unit(value), UTC)
            return found if EARLIEST <= found <= now + _DAY else None
        seconds = value / 10**9 if kind == _INSTANT else value * 86_400.0
        return datetime.fromtimestamp(seconds, UTC)
    except (ValueError, OverflowError, OSError):
        return None


def _text(moment: datetime | None) -> str | None:
    return None if moment is None else f"{moment.replace(tzinfo=None).isoformat(timespec='milliseconds')}Z"


def _span(seconds: float) -> str:
    """A duration for people: "45 s", "12 min", "5 h", "3 days"."""
    for unit, length, limit in (("s", 1, 120), ("min", 60, 7_200), ("h", 3_600, 172_800)):
        if seconds < limit:
            return f"{seconds / length:.3g} {unit}" if seconds < 10 * length else f"{seconds / length:.0f} {unit}"
    return f"{seconds / 86_400:.0f} days"
