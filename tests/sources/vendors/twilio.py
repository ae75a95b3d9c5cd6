"""Twilio: user name and password, newest first, links to the next page, numbers on another host."""

import base64
from typing import Any
from urllib.parse import urlencode

from grove.connectors.rest import times
from grove.connectors.twilio.messages import Connector as Messages
from grove.connectors.twilio.monitor_events import Connector as MonitorEvents

from ..vendor import TOKEN, Answered, Asked, RefusedError, Vendor, moment, only


class _Twilio(Vendor):
    document = {"identity": "AC1", "key": TOKEN}
    accounts = {("AC1", TOKEN), ("SK1", "s3cret-of-the-key")}

    def authorize(self, asked: Asked) -> None:
        allowed = {f"Basic {base64.b64encode(':'.join(pair).encode()).decode()}" for pair in self.accounts}
        if asked.headers.get("authorization") not in allowed:
            raise RefusedError(401, {"code": 20003, "message": "Authenticate"})

    def linked(self, asked: Asked, found: list[Any]) -> tuple[list[Any], str | None]:
        """A page of what was found, and the address of the next one without its host."""
        page = self.part(found, asked.query.get("PageToken"), int(asked.query["PageSize"]))
        link = f"{asked.path}?{urlencode({**asked.query, 'PageToken': page.next})}"
        return page.entries, link if page.more else None


class MonitorEventsVendor(_Twilio):
    connector = MonitorEvents

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
        events, link = self.linked(asked, [entry for entry in found if wanted in (None, entry["event_type"])])
        return Answered({"events": events, "meta": {"next_page_url": link and f"{self.url}{link}"}})


class MessagesVendor(_Twilio):
    connector = Messages
    document = {**_Twilio.document, "lookup": False}
    queued = 3
    """Messages that wait to be sent, before all others."""

    def entry(self, moment: int, number: int) -> dict[str, Any]:
        at = times.written(moment, "%a, %d %b %Y %H:%M:%S +0000")
        ours, theirs = "+15005550006", f"+6421555{number % 40:04}"
        received = number % 2 == 0
        return {
            "sid": f"SM{number}",
            "account_sid": "AC1",
            "status": "received" if received else "delivered",
            "from": theirs if received else ours,
            "to": ours if received else theirs,
            "date_sent": at,
            "body": "Your code is 123456",
            "price": "-0.00750",
        }

    def number_of(self, entry: dict[str, Any]) -> int:
        return int(entry["sid"].removeprefix("SM"))

    def answer(self, asked: Asked) -> Answered:
        if asked.path.startswith("/v2/PhoneNumbers/"):
            return self.looked_up(asked)
        only(asked.query, "DateSent>!", "PageSize!", "PageToken")
        assert asked.path == "/2010-04-01/Accounts/AC1/Messages.json"
        waiting = [{**self.entry(0, -1), "status": "queued", "date_sent": None}] * self.queued
        messages, link = self.linked(asked, waiting + self.between(moment(asked.query["DateSent>"]), newest_first=True))
        return Answered({"messages": messages, "next_page_uri": link})

    def looked_up(self, asked: Asked) -> Answered:
        """A carrier for each number but those that end with 7, which are none."""
        only(asked.query, "Fields!")
        number = asked.path.removeprefix("/v2/PhoneNumbers/")
        if number.endswith("7"):
            raise RefusedError(404, {"code": 20404})
        line = {
            "carrier_name": "One NZ",
            "mobile_country_code": "530",
            "mobile_network_code": "01",
            "type": "mobile",
            "error_code": None,
        }
        return Answered({"phone_number": number, "country_code": "NZ", "line_type_intelligence": line})
