"""Rows as BigQuery's REST API writes them: values without names, and most of them as texts.

https://cloud.google.com/bigquery/docs/reference/rest/v2/jobs/getQueryResults
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from grove.exceptions import RequestFailedException

__all__ = ["entries"]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def entries(rows: Sequence[Any], fields: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Rows as objects, nested like the `fields` of the result's schema.

    Timestamps, which have to come as microseconds, are written as `2025-03-04 10:11:12.345678+00:00`; numbers that
    JSON cannot say exactly stay texts. RequestFailedException where a value is not of its field's type.
    """
    try:
        return [_record(row, fields) for row in rows]
    except (ValueError, TypeError, KeyError, OverflowError) as err:
        # Not chained: the error would show the value.
        reason = type(err).__name__
    raise RequestFailedException(f"BigQuery sent a row that does not fit its schema ({reason}).")


def _record(row: dict[str, Any], fields: Sequence[dict[str, Any]]) -> dict[str, Any]:
    return {field["name"]: _value(cell["v"], field) for field, cell in zip(fields, row["f"], strict=True)}


def _value(value: Any, field: dict[str, Any]) -> Any:
    if field.get("mode") == "REPEATED":
        return [_single(item["v"], field) for item in value or ()]
    return _single(value, field)


def _single(value: Any, field: dict[str, Any]) -> Any:
    if value is None:
        return None
    kind = field["type"]
    if kind in ("RECORD", "STRUCT"):
        return _record(value, field["fields"])
    read = _READERS.get(kind)
    return value if read is None else read(value)


_READERS: dict[str, Callable[[str], Any]] = {
    "INTEGER": int,
    "INT64": int,
    "FLOAT": float,
    "FLOAT64": float,
    "BOOLEAN": lambda value: value == "true",
    "BOOL": lambda value: value == "true",
    "TIMESTAMP": lambda value: str(_EPOCH + timedelta(microseconds=int(value))),
    "JSON": json.loads,
}
