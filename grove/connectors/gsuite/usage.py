"""Usage reports of Google Workspace, a day at a time.

https://developers.google.com/workspace/admin/reports/reference/rest/v1/userUsageReport/get
"""

from dataclasses import replace
from typing import Any, Literal

from pydantic import Field, model_validator

from grove.connectors.gsuite import _api
from grove.connectors.rest import CHRONOLOGICAL, DAY, HOUR, DelayedConfiguration, RestConnector, Source, Token, times
from grove.connectors.rest.paging import Page
from grove.helpers import clock
from grove.http import Client, Response

_PLACES = {
    "customerUsageReports": "dates",
    "userUsageReports": "users/all/dates",
    "entityUsageReports": "{entity_type}/all/dates",
}

_DAY = DAY * times.SECOND
_KEPT = 180 * _DAY


class _NotFinalError(Exception):
    """Google has not finished a day yet."""


class Connector(RestConnector):
    """What a Google Workspace account, its users or its entities used, one report for each and day.

    `identity` is the administrator to act as, `key` the JSON key file of a service account with domain-wide delegation
    for the scope admin.reports.usage.readonly (Admin console, Security, API controls). Day by day, up to 1,000 reports
    a page. Google finishes a day one to three days later: until it does, collection waits for that day.
    """

    CONNECTOR = "gsuite_usage"
    EXTRA = "google"
    POINTER_PATH = "date"
    LOG_ORDER = CHRONOLOGICAL
    STREAM_FIELDS = ("usage_report_type", "entity_type")

    class Configuration(DelayedConfiguration):
        """The fields of a configuration document."""

        usage_report_type: Literal["customerUsageReports", "userUsageReports", "entityUsageReports"] = Field(
            description="What to collect reports of."
        )
        entity_type: str | None = Field(
            None, pattern=r"^[a-z_]+$", description="The entities of entityUsageReports, such as gplus_communities."
        )
        patience: int = Field(
            5, ge=1, description="Days after which a day is taken as it is, although Google says that data is missing."
        )

        @model_validator(mode="after")
        def _has_entities(self) -> "Connector.Configuration":
            if self.usage_report_type == "entityUsageReports" and not self.entity_type:
                raise ValueError("entityUsageReports need an entity_type, such as gplus_communities")
            return self

    SOURCE = Source(
        url="https://admin.googleapis.com/admin/reports/v1/usage/{+reports}/{since}",
        params={"maxResults": "{page_size}"},
        auth=_api.auth("admin.reports.usage.readonly"),
        paging=Token(path="nextPageToken", param="pageToken"),
        entries="usageReports",
        entries_optional=True,
        # For a day that is too late. It may be something else where the day is long over.
        empty_statuses=(400,),
        rate_limit=_api.RATE_LIMIT,
        time_format="date",
        retention=_KEPT / times.SECOND,
    )

    def variables(self) -> dict[str, Any]:
        """Where the `reports` are, and `page_size`, which a report of the whole account does not have."""
        kind = self.fields.usage_report_type
        reports = _PLACES[kind].format(entity_type=self.fields.entity_type)
        return {"reports": reports, "page_size": None if kind == "customerUsageReports" else 1000}

    def collect(self) -> None:
        """Ask for one day after the other, up to the first one that is not final.

        The cursor is the day to go on with: the next one, once all pages of a day are saved.
        """
        source, client = self.source(), self._client(self.source())
        now = times.nanoseconds(clock.now())
        # Google's days are those of UTC-8 all year round.
        today = _midnight(now - int((self._delay(source) + 8 * HOUR) * times.SECOND))
        start = max(self._next_day(source, now), today - _KEPT)
        for day in range(start, today + 1, _DAY):
            self._waits = day > today - self.fields.patience * _DAY
            asked = source if self._waits else source.model_copy(update={"empty_statuses": ()})
            try:
                self._collect_day(asked, client, day)
            except _NotFinalError as err:
                self.logger.info("A day is not final yet.", extra={"event": "not_final", "exception": str(err)})
                return

    def _next_day(self, source: Source, now: int) -> int:
        since = self._since(source, now)
        cursor = times.moment_of(self.cursor) if self.cursor else None
        return _midnight(cursor or since or now)

    _waits = False

    def prepare(self, entries: list[Any], response: Response) -> list[Any]:
        """The reports of a final day."""
        found = response.json()
        told = [str(warning.get("message")) for warning in found.get("warnings") or ()]
        if self._waits and (told or not entries):
            raise _NotFinalError("; ".join(told) or response.excerpt())
        return entries

    def _collect_day(self, source: Source, client: Client, day: int) -> None:
        def save(page: Page) -> None:
            self._save_page(replace(page, cursor=_written(day)))

        self._each_page(source, client, self._walk(source, (day, day), None), save)
        self.save([], cursor=_written(day + _DAY))


def _midnight(moment: int) -> int:
    return moment - moment % _DAY


def _written(day: int) -> str:
    return str(times.written(day, "date"))
