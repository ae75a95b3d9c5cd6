"""1Password: a POST with a start time or a cursor, and a cursor that lasts."""

from typing import Any

from grove.connectors.onepassword.events_audit import Connector as Audit
from grove.connectors.onepassword.events_itemusages import Connector as ItemUsages
from grove.connectors.onepassword.events_signinattempts import Connector as SigninAttempts
from grove.connectors.rest import times

from ..vendor import TOKEN, Answered, Asked, Vendor, moment, only


class SigninAttemptsVendor(Vendor):
    connector = SigninAttempts
    document = {"key": TOKEN}
    path = "/api/v2/signinattempts"

    def entry(self, moment: int, number: int) -> dict[str, Any]:
        return {"uuid": str(number), "timestamp": times.written(moment, "iso"), "category": "success"}

    def number_of(self, entry: dict[str, Any]) -> int:
        return int(entry["uuid"])

    def answer(self, asked: Asked) -> Answered:
        assert (asked.method, asked.path) == ("POST", self.path)
        start, place = 0, None
        if "cursor" in asked.body:
            only(asked.body, "cursor!")
            place = asked.body["cursor"]
        else:
            only(asked.body, "limit!", "start_time!")
            start = self.arrived_since(moment(asked.body["start_time"]))
        page = self.part(self.feed(), place, first=start)
        return Answered({"items": page.entries, "cursor": page.next, "has_more": page.more})


class ItemUsagesVendor(SigninAttemptsVendor):
    connector = ItemUsages
    path = "/api/v2/itemusages"


class AuditVendor(SigninAttemptsVendor):
    connector = Audit
    path = "/api/v2/auditevents"
