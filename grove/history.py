"""What is kept of a stream's runs: how the last one went, and what the last day has brought, hour by hour.

It is for people and monitors: nothing is decided by it, and a record that cannot be read counts as none.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from grove.caches import BaseCache, Key
from grove.helpers import clock
from grove.logging import redact

__all__ = ["DAY", "Counts", "History", "note"]

DAY = 24
"""Full hours that are looked back upon; the one that has begun comes on top."""

ERROR_LENGTH = 400
"""Characters kept of an error."""

_HOUR = 3600


@dataclass(slots=True)
class Counts:
    """What a run has committed: pages, entries that were new, those dropped as known, those set aside."""

    pages: int = 0
    entries: int = 0
    dropped: int = 0
    quarantined: int = 0


@dataclass(frozen=True, slots=True)
class Hour:
    """What the runs that ended within one hour have brought."""

    entries: int = 0
    failures: int = 0


@dataclass(frozen=True, slots=True)
class History:
    """The last run of a stream, and those before it in short. Moments are in UTC.

    `outcome` is succeeded, failed or stopped; `failures` counts the failed runs since the last that succeeded.
    `first` is when the first run of all began, `succeeded` when the last good one ended, and `delivered` when the
    last one ended that brought something new. `hours` are those of the last day in which something happened, by
    their number since 1970.
    """

    began: datetime
    ended: datetime
    outcome: str
    first: datetime
    error: str = ""
    counts: Counts = field(default_factory=Counts)
    failures: int = 0
    succeeded: datetime | None = None
    delivered: datetime | None = None
    hours: Mapping[int, Hour] = field(default_factory=dict)

    def entries_since(self, now: datetime) -> int:
        """The new entries of the last 24 full hours, and of the one that has begun."""
        oldest = hour_of(now) - DAY
        return sum(hour.entries for number, hour in self.hours.items() if number >= oldest)

    def encode(self) -> str:
        """The stored form: compact JSON, some hundred bytes."""
        counts = self.counts
        record: dict[str, Any] = {
            "began": _text(self.began),
            "ended": _text(self.ended),
            "outcome": self.outcome,
            "first": _text(self.first),
            "counts": [counts.pages, counts.entries, counts.dropped, counts.quarantined],
        }
        if self.error:
            record["error"] = self.error
        if self.failures:
            record["failures"] = self.failures
        if self.succeeded is not None:
            record["succeeded"] = _text(self.succeeded)
        if self.delivered is not None:
            record["delivered"] = _text(self.delivered)
        if self.hours:
            record["hours"] = {str(number): [hour.entries, hour.failures] for number, hour in self.hours.items()}
        return json.dumps(record, separators=(",", ":"))

    @classmethod
    def decode(cls, text: str | None) -> History | None:
        """What `encode` wrote; None where there is none, or none that can be read."""
        if text is None:
            return None
        try:
            record = json.loads(text)
            pages, entries, dropped, quarantined = map(int, record["counts"])
            return cls(
                began=_moment(record["began"]),
                ended=_moment(record["ended"]),
                outcome=str(record["outcome"]),
                first=_moment(record["first"]),
                error=str(record.get("error", "")),
                counts=Counts(pages, entries, dropped, quarantined),
                failures=int(record.get("failures", 0)),
                succeeded=_moment(record["succeeded"]) if "succeeded" in record else None,
                delivered=_moment(record["delivered"]) if "delivered" in record else None,
                hours={int(number): Hour(*map(int, hour)) for number, hour in record.get("hours", {}).items()},
            )
        except (ValueError, KeyError, TypeError, AttributeError):
            return None

    @classmethod
    def after(
        cls,
        previous: History | None,
        began: datetime,
        outcome: str,
        error: BaseException | str | None = None,
        counts: Counts | None = None,
    ) -> History:
        """The history with one more run, which ends now. Secrets are taken out of its `error`."""
        now, counts = clock.now(), counts or Counts()
        known = previous or cls(began, now, outcome, first=began)
        failed = outcome == "failed"
        return replace(
            known,
            began=began,
            ended=now,
            outcome=outcome,
            error=_one_line(error),
            counts=counts,
            failures=known.failures + 1 if failed else 0 if outcome == "succeeded" else known.failures,
            succeeded=now if outcome == "succeeded" else known.succeeded,
            delivered=now if counts.entries else known.delivered,
            hours=_with(known.hours, hour_of(now), counts.entries, int(failed)),
        )


def note(cache: BaseCache, key: Key, began: datetime, error: BaseException | str) -> History:
    """Keep that a run has failed which never held its stream, or was given up; nothing guards this write.

    Errors are the cache's.
    """
    (text,) = cache.read([key])
    history = History.after(History.decode(text), began, "failed", error)
    cache.set(*key, history.encode())
    return history


def hour_of(moment: datetime) -> int:
    """The number of an hour since 1970."""
    return int(moment.timestamp()) // _HOUR


def _with(hours: Mapping[int, Hour], number: int, entries: int, failures: int) -> dict[int, Hour]:
    # Also those of a clock that was ahead are left out.
    kept = {past: hour for past, hour in hours.items() if number - DAY <= past <= number}
    if entries or failures:
        hour = kept.get(number, Hour())
        kept[number] = Hour(hour.entries + entries, hour.failures + failures)
    return kept


def _one_line(error: BaseException | str | None) -> str:
    if error is None:
        return ""
    try:
        text = str(error)
    except Exception:
        # A plug-in's own: it must not keep a run from ending.
        text = ""
    return " ".join(redact(text or type(error).__name__).split())[:ERROR_LENGTH]


def _text(moment: datetime) -> str:
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _moment(text: str) -> datetime:
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError(f"{text!r} does not say in which zone it is.")
    return moment
