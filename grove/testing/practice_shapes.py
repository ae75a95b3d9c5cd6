"""What the practice API's entries look like: how they are made, where their pointer is and how it is written."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from grove.testing.entries import EPOCH_MS, github_entry, okta_entry

__all__ = ["BEGINNING", "SHAPES", "Entry", "Shape"]

Entry = dict[str, Any]

BEGINNING = EPOCH_MS * 1000
"""When the first generated entry happened. Moments are whole microseconds since 1970."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_ACTS = ("login", "logout", "file.read", "file.write", "member.add", "token.create")


@dataclass(frozen=True, slots=True)
class Shape:
    """One kind of entry.

    `make(number)` gives a fresh entry, `pointer` is the key of its time and `path` the JMESPath to it. `write` turns
    a moment into what an entry carries, `read` does the opposite, for text in a query as well; ValueError or
    TypeError where there is no moment in it. `time_format` is what the REST connectors call this way of writing.
    """

    make: Callable[[int], Entry]
    pointer: str
    path: str
    write: Callable[[int], Any]
    read: Callable[[Any], int]
    time_format: str = "iso_ms"


def _plain_entry(number: int) -> Entry:
    return {"at": None, "action": _ACTS[number % len(_ACTS)], "actor": f"user-{number % 17}"}


def _write_iso(timespec: str) -> Callable[[int], str]:
    def write(moment: int) -> str:
        return (_EPOCH + moment * _MICROSECOND).isoformat(timespec=timespec).replace("+00:00", "Z")

    return write


def _read_iso(value: Any) -> int:
    moment = datetime.fromisoformat(value)
    return ((moment if moment.tzinfo else moment.replace(tzinfo=UTC)) - _EPOCH) // _MICROSECOND


def _integer(unit: int) -> tuple[Callable[[int], int], Callable[[Any], int]]:
    return lambda moment: moment // unit, lambda value: int(value) * unit


_TEXT = (_write_iso("milliseconds"), _read_iso)

SHAPES = {
    "plain": Shape(_plain_entry, "at", "at", *_TEXT),
    "second": Shape(_plain_entry, "at", "at", _write_iso("seconds"), _read_iso, "iso"),
    "unix": Shape(_plain_entry, "at", "at", *_integer(10**6), "epoch"),
    "date": Shape(_plain_entry, "at", "at", lambda moment: _write_iso("seconds")(moment)[:10], _read_iso, "date"),
    "github": Shape(github_entry, "@timestamp", '"@timestamp"', *_integer(10**3), "epoch_ms"),
    "okta": Shape(okta_entry, "published", "published", *_TEXT),
}
"""`plain` entries are small, with a time in milliseconds; `second`, `unix` and `date` write that time more coarsely, so
that many are tied. `github` and `okta` are as large and as varied as real ones."""
