"""Salesforce's event log files: https://developer.salesforce.com/docs/atlas.en-us.object_reference.meta/object_reference/sforce_api_objects_eventlogfile.htm"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from typing import Any, Literal

from pydantic import Field

from grove.connectors.rest import DAY, HOUR, Source, times
from grove.connectors.sf import _api
from grove.connectors.sf._files import Place, batches, rows
from grove.exceptions import RequestFailedException
from grove.helpers import clock
from grove.http import Client, Response

# A file is read as it comes, so that its size costs nothing but time.
_LARGEST_FILE = 64 * 1024**3
_LONGEST_DOWNLOAD = 2.0 * HOUR
_TIMESTAMP = re.compile(r"(\d{4})(\d\d)(\d\d)(\d\d)(\d\d)(\d\d)\.(\d{3})")
_FIELDS = "Id, ApiVersion, EventType, Interval, Sequence, CreatedDate, LogDate, LogFileLength, LogFile"


class Connector(_api.SalesforceConnector):
    """The events of a Salesforce org, from its event log files; `operation` may be a type of event, such as Login.

    File by file, in the order in which Salesforce generates them: daily ones on the next day, hourly ones three to six
    hours later, either up to days late. Within and between files the events are in no strict order. A day's file that
    is generated once more brings its events once more: a `lookback` of three days drops those.
    """

    CONNECTOR = "sf_event_log"
    POINTER_PATH = "TIMESTAMP_DERIVED"
    STREAM_FIELDS = ("interval", "instance_url")
    NEEDS = "the permissions View Event Log Files and API Enabled, and for most types Event Monitoring (or Shield)"

    class Configuration(_api.SalesforceConnector.Configuration):
        """The fields of a configuration document."""

        operation: str = Field("all", pattern=r"^[A-Za-z0-9]+$", description="A type of event, such as Login.")
        interval: Literal["Daily", "Hourly"] = Field(
            "Daily", description="Which files: each event is in one of either kind. Hourly ones have to be enabled."
        )

    SOURCE = _api.source(
        f"SELECT {_FIELDS} FROM EventLogFile "
        "WHERE {dated} >= {since} AND Interval = '{interval}'{of_type} ORDER BY CreatedDate ASC",
        max_response_bytes=_LARGEST_FILE,
    )

    _dated = "LogDate"

    def variables(self) -> dict[str, Any]:
        """What the files are asked for by: the first ones by their day, later ones by when they were generated."""
        of_type = "" if self.operation == "all" else f" AND EventType = '{self.operation}'"
        return {"dated": self._dated, "of_type": of_type}

    def no_past(self) -> str:
        """Why there is no collecting a span of the past."""
        return "its files are told apart by when they were generated, not by the times of their events"

    def prepare(self, entries: list[Any], response: Response) -> list[Any]:
        """The files, each with what is needed to collect it."""
        for file in entries:
            if not file.get("Id") or not file.get("LogFile") or times.moment_of(str(file.get("CreatedDate"))) is None:
                raise RequestFailedException("Salesforce named an event log file without its id, address or date.")
        return entries

    def _collect(self) -> None:
        source = self.source()
        client = self._client(source)
        now = times.nanoseconds(clock.now())
        place = self._place(source, now)
        since, floor = place.since, None
        self._dated = "LogDate" if since is None else "CreatedDate"
        if since is None:
            since = place.begin - place.begin % (DAY * times.SECOND)
            # The pointer of an earlier deployment: one of all types is not the place in the files of each.
            floor = place.begin if self.operation != "all" else None
        limits = {"interval": self.fields.interval, "type": self.operation}
        self.asked(str(times.written(since, "iso")), str(times.written(now, "iso")), limits)
        for file in self._files(source, client, (since, now)):
            if file["Id"] not in place.done:
                self._save_file(client, file, place, floor)

    def _place(self, source: Source, now: int) -> Place:
        """Where the stream stands: after the files that are done, or at its pointer."""
        if self.cursor:
            return Place.decode(self.cursor)
        begin = self._since(source, now)
        assert begin is not None, "files are asked for from a moment on"
        return Place(begin)

    def _files(self, source: Source, client: Client, span: times.Span) -> list[dict[str, Any]]:
        """The files of a span, the first generated first."""
        found: list[dict[str, Any]] = []
        self._each_page(source, client, self._walk(source, span, None), lambda page: found.extend(page.entries))
        return sorted(found, key=lambda file: (_generated(file), file["Id"]))

    def _save_file(self, client: Client, file: dict[str, Any], place: Place, floor: int | None) -> None:
        """Save what is left of a file, and that it is done."""
        name = file["Id"]
        saved = place.rows_of(name)
        left = itertools.islice(rows(self._body(client, file)), saved, None)
        for batch in batches(_timed(row, file) for row in left):
            saved += len(batch)
            kept = [
                row for row in batch if floor is None or (times.moment_of(row[self.POINTER_PATH]) or floor) >= floor
            ]
            self.save(kept, cursor=place.at(name, saved))
        self.save([], cursor=place.after(name, _generated(file)))

    def _body(self, client: Client, file: dict[str, Any]) -> Iterator[bytes]:
        """The pieces of a file."""
        length, stated = 0, file.get("LogFileLength") or 0
        for piece in client.stream(file["LogFile"], headers={"Accept": "text/csv, */*"}, deadline=_LONGEST_DOWNLOAD):
            length += len(piece)
            yield piece
        if length < stated:
            self.logger.warning(
                "An event log file is shorter than Salesforce says.",
                extra={"event": "short_file", "file": file["Id"], "length": length, "stated": stated},
            )


def _generated(file: dict[str, Any]) -> int:
    moment = times.moment_of(file["CreatedDate"])
    assert moment is not None
    return moment


def _timed(row: dict[str, str], file: dict[str, Any]) -> dict[str, str]:
    """A row with a time. Not every type of event has the derived one: then it is derived here, or that of its file."""
    if not row.get("TIMESTAMP_DERIVED"):
        row["TIMESTAMP_DERIVED"] = _derived(row.get("TIMESTAMP", "")) or str(file.get("LogDate") or file["CreatedDate"])
    return row


def _derived(text: str) -> str:
    """`20250304101112.345` as `2025-03-04T10:11:12.345Z`; empty where it is none."""
    match = _TIMESTAMP.fullmatch(text)
    return "{}-{}-{}T{}:{}:{}.{}Z".format(*match.groups()) if match else ""
