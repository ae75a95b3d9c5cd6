"""Twilio: user name and password, newest first, absolute links to the next page."""

import base64
from typing import Any
from urllib.parse import urlencode

from grove.connectors.rest import times
from grove.connectors.twilio.monitor_events import Connector

from ..vendor import TOKEN, Answered, Asked, RefusedError, Vendor, moment, only


class MonitorEventsVendor(Vendor):
    connector = Connector
    document = {"identity": "AC1", "key": TOKEN}
    accounts = {("AC1", TOKEN), ("SK1", "s3cret-of-the-key")}

    def authorize(self, asked: Asked) -> None:
        allowed = {f"Basic {base64.b64encode(':'.join(pair).encode()).decode()}" for pair in self.accounts}
        if asked.headers.get("authorization") not in allowed:
            raise RefusedError(401, {"code": 20003, "message": "Authenticate"})

    def entry(self, moment: int, number: int) -> dict[str, Any]:
        kind = "user.login" if number % 2 else "account.updated"
        return {"sid": f"AE{number}", "event_date": times.written(moment, "iso"), "event_type": kind}

    def number_of(self, entry: dict[str, Any]) -> int:
        return int(entry["sid"].removeprefix("AE"))

    def answer(self, asked: Asked) -> Answered:
        only(asked.query, "StartDate!", "PageSize!", "EventType", "PageToken")
        assert asked.path == "/v1/Events"
        found = self.between(moment(asked.query["StartDate"]), newest_first=True)
        wanted = asked.query.get("EventType")
        found = [entry for entry in found if wanted in (None, entry["event_type"])]
        start = int(asked.query.get("PageToken", "0"))
        end = start + min(int(asked.query["PageSize"]), 1000)
        query = {name: value for name, value in asked.query.items() if name != "PageToken"}
        link = f"{self.url}/v1/Events?{urlencode({**query, 'PageToken': end})}"
        return Answered({"events": found[start:end], "meta": {"next_page_url": link if end < len(found) else None}})
