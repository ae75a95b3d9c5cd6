"""LaunchDarkly: a bare token, later than a moment, twenty a page, relative links, details of each entry."""

from typing import Any, ClassVar
from urllib.parse import urlencode

from grove.connectors.launchdarkly.audit_records import Connector
from grove.connectors.rest import times

from ..vendor import NOW, TOKEN, Answered, Asked, RefusedError, Vendor, only

MILLISECOND = times.SECOND // 1000


class AuditRecordsVendor(Vendor):
    connector = Connector
    page_size = 20
    pages_by = "keyset"
    reserves: ClassVar[dict[str, str]] = {
        "ties_over_a_page_edge": "its own links lead on by the millisecond, which no page's worth of entries may share"
    }
    document = {"key": TOKEN}
    first = 70
    granularity = MILLISECOND

    def authorize(self, asked: Asked) -> None:
        if asked.headers.get("authorization") != TOKEN:
            raise RefusedError(401, {"code": "unauthorized"})

    def entry(self, moment: int, number: int) -> dict[str, Any]:
        return {"_id": f"e{number}", "date": times.written(moment, "epoch_ms"), "kind": "flag"}

    def number_of(self, entry: dict[str, Any]) -> int:
        return int(entry["_id"].removeprefix("e"))

    def answer(self, asked: Asked) -> Answered:
        base = "/api/v2/auditlog"
        if asked.path != base:
            number = int(asked.path.removeprefix(f"{base}/e"))
            return Answered({**self.entry(*self.entries[number]), "currentVersion": {"on": True}})
        only(asked.query, "after!", "limit!", "before")
        until = int(asked.query["before"]) * MILLISECOND if "before" in asked.query else None
        found = self.between((int(asked.query["after"]) + 1) * MILLISECOND, until, newest_first=True)
        if (limit := int(asked.query["limit"])) > 20:
            raise RefusedError(400, {"code": "invalid_request", "message": "limit"})
        links = {}
        if len(found) > limit:
            # The last one of this page comes again.
            following = {**asked.query, "before": found[limit - 1]["date"]}
            links["next"] = {"href": f"{base}?{urlencode(following)}", "type": "application/json"}
        return Answered({"items": found[:limit], "_links": links})

    def limited(self, seconds: int) -> Answered:
        reset = (int(NOW.timestamp()) + seconds) * 1000
        return Answered({"code": "rate_limited"}, 429, {"X-Ratelimit-Reset": str(reset)})
