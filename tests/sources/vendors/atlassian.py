"""Atlassian: an organisation's events with a token and resets in minutes, a site's records by offset."""

import base64
from datetime import timedelta
from typing import Any

from grove.connectors.atlassian.audit_events import Connector as Organisation
from grove.connectors.atlassian_site.audit_events import Connector as Site
from grove.connectors.rest import times

from ..vendor import NOW, TOKEN, Answered, Asked, RefusedError, Vendor, moment, only


class OrganisationVendor(Vendor):
    connector = Organisation
    document = {"key": TOKEN}
    first = 250
    page_size = 100
    granularity = times.SECOND // 1000

    def entry(self, moment: int, number: int) -> dict[str, Any]:
        return {"id": str(number), "type": "events", "attributes": {"time": times.written(moment, "iso_ms")}}

    def answer(self, asked: Asked) -> Answered:
        only(asked.query, "from!", "cursor")
        assert asked.path == "/admin/v1/orgs/corp/events"
        found = self.between(int(asked.query["from"]) * (times.SECOND // 1000), newest_first=True)
        page = self.part(found, asked.query.get("cursor"))
        meta = {"next": page.next if page.more else None, "page_size": len(page.entries)}
        return Answered({"data": page.entries, "links": {}, "meta": meta})

    def limited(self, seconds: int) -> Answered:
        # Whole minutes: short of one, the moment has passed already.
        reset = (NOW + timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%MZ")
        return Answered({"code": 429}, 429, {"X-Ratelimit-Reset": reset})


class SiteVendor(Vendor):
    connector = Site
    pages_by = "offset"
    document = {"key": TOKEN, "username": "ada@example.org"}
    granularity = times.SECOND // 1000

    def authorize(self, asked: Asked) -> None:
        pair = base64.b64encode(f"ada@example.org:{TOKEN}".encode()).decode()
        if asked.headers.get("authorization") != f"Basic {pair}":
            raise RefusedError(401, {"errorMessages": ["Client must be authenticated"]})

    def entry(self, moment: int, number: int) -> dict[str, Any]:
        return {"id": number, "created": times.written(moment, "iso_ms")[:-1] + "+0000"}  # type: ignore[index]

    def answer(self, asked: Asked) -> Answered:
        only(asked.query, "from!", "to!", "limit!", "offset!")
        assert asked.path == "/rest/api/3/auditing/record"
        found = self.between(moment(asked.query["from"]), moment(asked.query["to"]), newest_first=True)
        start, limit = int(asked.query["offset"]), min(int(asked.query["limit"]), self.page_size)
        page = found[start : start + limit]
        return Answered({"offset": start, "limit": limit, "total": len(found), "records": page})
