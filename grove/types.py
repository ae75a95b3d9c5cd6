"""The small types that connectors hand from their API client to their collection loop."""

from typing import Any, NamedTuple, TypeAlias

# One log record.
Entry: TypeAlias = dict[str, Any]


class HTTPResponse(NamedTuple):
    """What a connector needs of an HTTP response."""

    headers: dict[str, Any]
    body: dict[str, Any]


class AuditLogEntries(NamedTuple):
    """One page of entries, and where the next one begins (None where there is none)."""

    cursor: str | None
    entries: list[Any]
