"""PagerDuty: a token scheme of its own, 31 days at most, a cursor that is null at the end."""

from typing import Any

from grove.connectors.pagerduty.audit_records import Connector
from grove.connectors.rest import times

from ..vendor import SECOND, TOKEN, Answered, Asked, RefusedError, Vendor, moment, only


class AuditRecordsVendor(Vendor):
    connector = Connector
    document = {"key": TOKEN}
    first = 250
    page_size = 100
    granularity = times.SECOND // 1000

    def authorize(self, asked: Asked) -> None:
        if asked.headers.get("authorization") != f"Token token={TOKEN}":
            raise RefusedError(401, {"error": {"code": 2006}})
        assert asked.headers["accept"] == "application/vnd.pagerduty+json;version=2"

    def entry(self, moment: int, number: int) -> dict[str, Any]:
        return {"id": str(number), "execution_time": times.written(moment, "iso_ms"), "action": "update"}

    def answer(self, asked: Asked) -> Answered:
        only(asked.query, "since!", "until!", "cursor")
        assert asked.path == "/audit/records"
        since, until = moment(asked.query["since"]), moment(asked.query["until"])
        if until - since > 31 * 86_400 * SECOND:
            raise RefusedError(400, {"error": {"message": "The time range is too long."}})
        found = self.between(since, until, newest_first=True)
        page = self.part(found, asked.query.get("cursor"))
        return Answered({"limit": 100, "next_cursor": page.next if page.more else None, "records": page.entries})

    def limited(self, seconds: int) -> Answered:
        return Answered({"error": {"code": 2020}}, 429, {"ratelimit-reset": str(seconds)})
