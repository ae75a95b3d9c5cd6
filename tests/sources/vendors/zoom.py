"""Zoom: a token for an account, reports by days, newest first."""

import base64
from typing import Any

from grove.connectors.rest import times
from grove.connectors.zoom.activities import Connector as Activities
from grove.connectors.zoom.operationlogs import Connector as OperationLogs

from ..vendor import SECOND, TOKEN, Answered, Asked, RefusedError, Vendor, moment, only

SECRET = "s3cret-of-the-app"


class ActivitiesVendor(Vendor):
    connector = Activities
    document = {"key": SECRET, "client_id": "app"}
    first = 700
    page_size = 300
    report, list = "activities", "activity_logs"

    def token(self, asked: Asked) -> Answered | None:
        if asked.path != "/oauth/token":
            return None
        pair = base64.b64encode(f"app:{SECRET}".encode()).decode()
        if asked.headers.get("authorization") != f"Basic {pair}":
            raise RefusedError(400, {"reason": "Invalid client_id or client_secret"})
        only(asked.form, "grant_type!", "account_id!")
        assert (asked.form["grant_type"], asked.form["account_id"]) == ("account_credentials", "corp")
        return Answered({"access_token": TOKEN, "expires_in": 3599})

    def entry(self, moment: int, number: int) -> dict[str, Any]:
        return {"time": times.written(moment, "iso"), "type": "Sign in", "version": str(number)}

    def number_of(self, entry: dict[str, Any]) -> int:
        return int(entry["version"])

    def answer(self, asked: Asked) -> Answered:
        only(asked.query, "from!", "to!", "page_size!", "next_page_token")
        assert asked.path == f"/v2/report/{self.report}"
        since, until = moment(asked.query["from"]), moment(asked.query["to"]) + 86_400 * SECOND - 1
        if until - since > 32 * 86_400 * SECOND:
            raise RefusedError(400, {"message": "The next month is too far."})
        found = self.between(since, until, newest_first=True)
        page = self.part(found, asked.query.get("next_page_token"), int(asked.query["page_size"]))
        return Answered({self.list: page.entries, "next_page_token": page.next if page.more else ""})


class OperationLogsVendor(ActivitiesVendor):
    connector = OperationLogs
    report, list = "operationlogs", "operation_logs"
