"""Values of Snowflake's SQL API, which sends every one as a text.

https://docs.snowflake.com/en/developer-guide/sql-api/handling-responses#getting-the-data-from-the-results
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any

from grove.exceptions import RequestFailedException

__all__ = ["entries"]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def entries(rows: Sequence[Sequence[str | None]], columns: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Rows as objects; `columns` is the `rowType` of the result.

    Times are in UTC, written as `2025-03-04 10:11:12.345000+00:00`. What is semi-structured stays the JSON text that
    Snowflake made of it. RequestFailedException where a value is not of its column's type.
    """
    readers = [(str(column["name"]), _reader(column)) for column in columns]
    try:
        return [
            {name: None if value is None else read(value) for (name, read), value in zip(readers, row, strict=True)}
            for row in rows
        ]
    except (ValueError, TypeError, OverflowError, AttributeError) as err:
        # Not chained: the error would show the value.
        reason = type(err).__name__
    raise RequestFailedException(f"Snowflake sent a row that does not fit its columns ({reason}).")


def _reader(column: dict[str, Any]) -> Callable[[str], Any]:
    kind = str(column.get("type", "")).lower()
    if kind == "fixed":
        return _text if column.get("scale") else int
    return _READERS.get(kind, _text)


def _text(value: str) -> str:
    return value


def _timestamp(value: str) -> str:
    # Seconds with nine digits behind the point. The offset that a TIMESTAMP_TZ has behind them changes nothing.
    seconds, _, fraction = value.partition(" ")[0].partition(".")
    sign = -1 if seconds.startswith("-") else 1
    micros = sign * int(fraction[:6].ljust(6, "0"))
    return str(_EPOCH + timedelta(seconds=int(seconds), microseconds=micros))


def _local_timestamp(value: str) -> str:
    return _timestamp(value).removesuffix("+00:00")


def _date(value: str) -> str:
    return str(date(1970, 1, 1) + timedelta(days=int(value)))


def _time(value: str) -> str:
    return _timestamp(value)[11:].removesuffix("+00:00")


_READERS: dict[str, Callable[[str], Any]] = {
    "real": float,
    "boolean": lambda value: value.lower() in ("true", "1"),
    "date": _date,
    "time": _time,
    "timestamp_ltz": _timestamp,
    "timestamp_tz": _timestamp,
    "timestamp_ntz": _local_timestamp,
}
