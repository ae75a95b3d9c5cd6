"""The two clocks Grove reads, in one place, so that a test can move them."""

import time
from datetime import UTC, datetime, timedelta

from grove.constants import DATESTAMP_FORMAT, LOCK_DATE_FORMAT

__all__ = ["datestamp", "monotonic", "now", "parse_datestamp", "parse_lock_date", "seconds_until"]


def now() -> datetime:
    """The wall clock, as an aware datetime in UTC."""
    return datetime.now(UTC)


def monotonic() -> float:
    """Seconds on a clock that never jumps; only differences mean anything."""
    return time.monotonic()


def datestamp(moment: datetime) -> str:
    """`moment` in the format in which `last_run` and object names carry it (whole seconds, UTC)."""
    return moment.strftime(DATESTAMP_FORMAT)


def parse_datestamp(text: str) -> datetime:
    """The moment written by `datestamp`; ValueError where it is none."""
    return datetime.strptime(text, DATESTAMP_FORMAT).replace(tzinfo=UTC)


def parse_lock_date(text: str) -> datetime:
    """The moment an `execution_lock` expires; ValueError where it is none."""
    return datetime.strptime(text, LOCK_DATE_FORMAT).replace(tzinfo=UTC)


def seconds_until(moment: datetime) -> float:
    """Seconds from now to `moment`; negative where it has passed."""
    return (moment - now()) / timedelta(seconds=1)
