"""Workday: a tenant's own token endpoint, a frozen span, a hundred a page by offset."""

from typing import Any

from grove.connectors.rest import times
from grove.connectors.workday.activity_logging import Connector

from ..vendor import TOKEN, WRONG, Answered, Asked, RefusedError, Vendor, moment, only


class ActivityLoggingVendor(Vendor):
    connector = Connector
    document = {
        "key": "r3fresh-token",
        "client_id": "app",
        "client_secret": "app-s3cret",
        "base_url": "https://wd2-impl.example.com/",
    }
    wrong = {"client_secret": WRONG}
    first = 250
    page_size = 100
    pages_by = "offset"
    granularity = times.SECOND // 1000

    def token(self, asked: Asked) -> Answered | None:
        if asked.path != "/ccx/oauth2/corp/token":
            return None
        if (asked.form["refresh_token"], asked.form["client_secret"]) != ("r3fresh-token", "app-s3cret"):
            raise RefusedError(401, {"error": "invalid_client"})
        return Answered({"access_token": TOKEN})

    def entry(self, moment: int, number: int) -> dict[str, Any]:
        return {"requestTime": times.written(moment, "iso_ms"), "taskId": str(number), "activityAction": "READ"}

    def number_of(self, entry: dict[str, Any]) -> int:
        return int(entry["taskId"])

    def answer(self, asked: Asked) -> Answered:
        only(asked.query, "from!", "to!", "instancesReturned!", "limit!", "offset!")
        assert asked.path == "/ccx/api/privacy/v1/corp/activityLogging"
        found = self.between(moment(asked.query["from"]), moment(asked.query["to"]), newest_first=False)
        start, limit = int(asked.query["offset"]), min(int(asked.query["limit"]), self.page_size)
        return Answered({"total": len(found), "data": found[start : start + limit]})
