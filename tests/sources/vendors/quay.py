"""Quay: whole days, twenty a page, times as in e-mails, and a search that may be out of order."""

from datetime import UTC, datetime, timedelta
from typing import Any

from grove.connectors.quay.organization_logs import Connector
from grove.connectors.rest import times

from ..vendor import TOKEN, Answered, Asked, RefusedError, Vendor, only


class OrganizationLogsVendor(Vendor):
    connector = Connector
    document = {"key": TOKEN}
    first = 60
    page_size = 20

    def authorize(self, asked: Asked) -> None:
        if asked.headers.get("authorization") != f"Bearer {TOKEN}":
            raise RefusedError(403, {"error_message": "Unauthorized"})

    def entry(self, moment: int, number: int) -> dict[str, Any]:
        at = times.written(moment, "%a, %d %b %Y %H:%M:%S -0000")
        return {"kind": "push_repo", "metadata": {"tag": f"v{number}"}, "datetime": at}

    def number_of(self, entry: dict[str, Any]) -> int:
        return int(entry["metadata"]["tag"].removeprefix("v"))

    def answer(self, asked: Asked) -> Answered:
        only(asked.query, "starttime!", "endtime!", "next_page")
        assert asked.path == "/api/v1/organization/corp/logs"
        first, last = (
            datetime.strptime(asked.query[name], "%m/%d/%Y").replace(tzinfo=UTC) for name in ("starttime", "endtime")
        )
        end = times.nanoseconds(last + timedelta(days=1)) - 1
        found = self.between(times.nanoseconds(first), end, newest_first=True)
        page = self.part(found, asked.query.get("next_page"))
        return Answered({"logs": page.entries, **({"next_page": page.next} if page.more else {})})
