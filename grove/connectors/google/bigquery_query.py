"""Tables of Google BigQuery: https://cloud.google.com/bigquery/docs/reference/rest/v2/jobs/query"""

from __future__ import annotations

import re
import uuid
from typing import Any, Literal
from urllib.parse import quote

from pydantic import Field, ValidationInfo, field_validator

from grove.connectors._query_jobs import Part, QueryJobConnector
from grove.connectors.google._rows import entries
from grove.connectors.rest import CHRONOLOGICAL, DAY, MINUTE, GoogleAuth, RateLimited, RestConnector, Source, times
from grove.connectors.rest.paging import Request
from grove.exceptions import ConfigurationException, NotFoundException, RequestFailedException
from grove.helpers import clock
from grove.http import Response, next_link

_COLUMN = re.compile(r"(\*|[A-Za-z_]\w*(\.[A-Za-z_]\w*)*(\.\*)?)")
_FORMATS = {"microseconds": ("INT64", "epoch_us"), "timestamp": ("TIMESTAMP", "%Y-%m-%d %H:%M:%S.%f+00")}


class Connector(QueryJobConnector):
    """The rows of a table in BigQuery, such as exported logs of Google Workspace, by a column that has their time.

    `identity` is any name for the table, `key` the JSON key file of a service account with the roles BigQuery Job User
    and, for the table, BigQuery Data Viewer (Cloud Console, IAM & Admin, Service Accounts). Oldest first, `page_size`
    times `max_batches` rows a run, by one query, which costs what it reads. What is younger than three minutes is left
    to the next run.
    """

    CONNECTOR = "google_bigquery_query"
    EXTRA = "google"
    LOG_ORDER = CHRONOLOGICAL
    STREAM_FIELDS = ("project_id", "dataset_name", "table_name", "pointer_path")

    class Configuration(RestConnector.Configuration):
        """The fields of a configuration document."""

        project_id: str = Field(
            pattern=r"^[A-Za-z0-9.:_-]+$", description="The project, which pays for the query, too."
        )
        dataset_name: str = Field(pattern=r"^[A-Za-z0-9_-]+$", description="The dataset.")
        table_name: str = Field(pattern=r"^[A-Za-z0-9_*$-]+$", description="The table, or several, as in `events_*`.")
        columns: list[str] = Field(
            min_length=1, description="Which columns, such as `gmail` or `gmail.event_info`; `*` for all of them."
        )
        pointer_path: str = Field(
            pattern=r"^[A-Za-z_]\w*(\.[A-Za-z_]\w*)*$",
            description="The column that orders the rows, such as `gmail.event_info.timestamp_usec`.",
        )
        time_format: Literal["microseconds", "timestamp"] = Field(
            "microseconds", description="What that column is: an INT64 of microseconds since 1970, or a TIMESTAMP."
        )
        page_size: int = Field(5000, strict=True, ge=1, description="Rows that are fetched at once.")
        max_batches: int = Field(3, strict=True, ge=1, description="How many times that many rows one run reads.")
        bootstrap_days: int = Field(7, strict=True, ge=1, description="How far back the first run goes.")
        partition_column: str = Field(
            "_PARTITIONDATE",
            pattern=r"^([A-Za-z_]\w*)?$",
            description="The date by which the table is partitioned, for cheaper queries; empty where it is not.",
        )
        late_buffer_days: int = Field(
            2, strict=True, ge=1, description="By how much a row's partition may be older than the row."
        )
        min_lookback_days: int = Field(3, strict=True, ge=1, description="Days of partitions that are read at least.")
        max_lookback_days: int = Field(
            30, strict=True, ge=1, description="Days of partitions beyond which reading more of them is warned about."
        )
        location: str = Field("", description="Where the dataset is, such as EU, if Google does not find it.")

        @field_validator("columns")
        @classmethod
        def _are_columns(cls, value: list[str]) -> list[str]:
            for column in value:
                if not _COLUMN.fullmatch(column):
                    raise ValueError(f"{column!r} is no name of a column")
            return value

        @field_validator("pointer_path")
        @classmethod
        def _is_in_the_columns(cls, value: str, info: ValidationInfo) -> str:
            if "columns" in info.data and _path_in_entries(value, info.data["columns"]) is None:
                raise ValueError(f"none of the columns has {value!r}; add it to them")
            return value

    SOURCE = Source(
        url="https://bigquery.googleapis.com/bigquery/v2/projects/{project_id}/queries",
        method="POST",
        body={
            "query": "{statement}",
            "useLegacySql": False,
            "useQueryCache": False,
            "parameterMode": "NAMED",
            "queryParameters": [
                {"name": "low", "parameterType": {"type": "{kind}"}, "parameterValue": {"value": "{since}"}},
                {"name": "high", "parameterType": {"type": "{kind}"}, "parameterValue": {"value": "{until}"}},
            ],
            "maxResults": "{page_size}",
            "timeoutMs": 20_000,
            "requestId": "{request_id}",
            "location": "{location}",
            "formatOptions": {"useInt64Timestamp": True},
        },
        auth=GoogleAuth(scopes=("https://www.googleapis.com/auth/bigquery",), subject=""),
        # https://cloud.google.com/bigquery/docs/error-messages
        rate_limit=RateLimited(
            when="error.errors[?reason == 'rateLimitExceeded' || reason == 'quotaExceeded' "
            "|| reason == 'jobRateLimitExceeded']"
        ),
        delay=3 * MINUTE,
    )

    _most = 0
    """How many rows are asked for."""

    _received = 0

    @property
    def POINTER_PATH(self) -> str:  # type: ignore[override]
        """Where an entry has the column that orders the rows."""
        fields = self.fields
        return str(_path_in_entries(fields.pointer_path, fields.columns))

    def source(self) -> Source:
        """With the document's `time_format` and `bootstrap_days`."""
        _, form = _FORMATS[self.fields.time_format]
        first_run = float(self.fields.bootstrap_days * DAY)
        return self.SOURCE.model_copy(
            update={"time_format": form, "pointer_format": form.replace(".%f", ""), "first_run": first_run}
        )

    def collect(self) -> None:
        """Ask for so many rows; for more of them, where these bring the pointer no further.

        A span of the past is collected to its end.
        """
        self._most = self.fields.page_size * self.fields.max_batches
        while True:
            before, self._received = self._known_pointer(), 0
            super().collect()
            if self._received < self._most:
                return
            self.logger.info("There is more than this run reads.", extra={"event": "backlog", "rows": self._received})
            if self._known_pointer() == before:
                self._most *= 2
            elif self.past is None:
                return

    def unfinished(self, request: Request, response: Response) -> Request | None:
        """Where to ask for the result of a query that takes longer than its `timeoutMs`."""
        return None if _found(response).get("jobComplete") else self._result(request, response)

    def part(self, request: Request, response: Response) -> Part:
        """One page of the result."""
        found = _found(response)
        rows = found.get("rows") or []
        self._received += len(rows)
        token = found.get("pageToken")
        following = self._result(request, response, token) if token else None
        fields = (found.get("schema") or {}).get("fields") or []
        return Part(entries(rows, fields), following)

    def _result(self, request: Request, response: Response, token: str | None = None) -> Request:
        """The request for a page of a job's result, the first one where there is no token."""
        job = _found(response).get("jobReference") or {}
        names = [quote(str(job.get(name, "")), safe="") for name in ("projectId", "jobId")]
        params = {
            "pageToken": token,
            "maxResults": self.fields.page_size,
            "location": job.get("location"),
            "formatOptions.useInt64Timestamp": True,
        }
        return Request("GET", next_link(response.url, "/bigquery/v2/projects/{}/queries/{}".format(*names)), params)

    def _since(self, source: Source, now: int) -> int | None:
        try:
            return super()._since(source, now)
        except ConfigurationException as err:
            self.logger.warning(
                "The pointer is no time; asking as on the first run.",
                extra={"event": "pointer_ignored", "exception": str(err)},
            )
            return now - int(source.first_run * times.SECOND)

    def _note_question(self, source: Source, since: int | None, until: int) -> None:
        start = None if since is None else str(times.written(since, "iso_us"))
        self.asked(start, str(times.written(until, "iso_us")), {"rows": str(self._most)})

    def _values(self, source: Source, span: times.Span) -> dict[str, Any]:
        values = super()._values(source, span)
        kind, _ = _FORMATS[self.fields.time_format]
        bounds = {name: str(values[name]) for name in ("since", "until")}
        return {
            **values,
            **bounds,
            "kind": kind,
            "location": self.fields.location or None,
            "statement": self._statement(span),
            # A query that is sent again is not run again.
            "request_id": str(uuid.uuid4()),
        }

    def _statement(self, span: times.Span) -> str:
        fields = self.fields
        column = _quoted(fields.pointer_path)
        conditions = [f"{column} >= @low", f"{column} <= @high"]
        if fields.partition_column:
            conditions.insert(0, f"{fields.partition_column} >= DATE '{self._oldest_partition(span)}'")
        return (
            f"SELECT {', '.join(map(_quoted, fields.columns))} "
            f"FROM `{fields.project_id}.{fields.dataset_name}.{fields.table_name}` "
            f"WHERE {' AND '.join(conditions)} ORDER BY {column} ASC LIMIT {self._most}"
        )

    def _oldest_partition(self, span: times.Span) -> str:
        """The first day of partitions in which there may be rows of a span."""
        fields, day = self.fields, DAY * times.SECOND
        now = times.nanoseconds(clock.now())
        behind = (now - (span[0] or now)) // day
        days = max(behind + fields.late_buffer_days, fields.min_lookback_days)
        if days > fields.max_lookback_days:
            self.logger.warning(
                "This stream is far behind, and its query reads more partitions than usual.",
                extra={"event": "backlog", "days": days, "max_lookback_days": fields.max_lookback_days},
            )
        return str(times.written(now - days * day, "date"))

    def _known_pointer(self) -> str | None:
        try:
            return self.pointer
        except NotFoundException:
            return None


def _path_in_entries(path: str, columns: list[str]) -> str | None:
    """Where an entry has what is at `path` in the table: a column of a record comes without the record's name."""
    for column in columns:
        if column == "*":
            return path
        inner = column.removesuffix(".*")
        if f"{path}.".startswith(f"{inner}."):
            rest = path.removeprefix(inner)
            return rest.removeprefix(".") or None if inner != column else inner.rpartition(".")[2] + rest
    return None


def _quoted(column: str) -> str:
    return ".".join(name if name == "*" else f"`{name}`" for name in column.split("."))


def _found(response: Response) -> dict[str, Any]:
    answer = response.json()
    if not isinstance(answer, dict) or "jobComplete" not in answer:
        raise RequestFailedException(
            f"BigQuery answered without saying whether the query is done: {response.excerpt()}"
        )
    return answer
