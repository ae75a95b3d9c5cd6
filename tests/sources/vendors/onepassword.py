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
        if "cursor" in asked.body:
            only(asked.body, "cursor!")
            start = int(asked.body["cursor"].removeprefix("CUR"))
            limit = 1000
        else:
            only(asked.body, "limit!", "start_time!")
            found = self.between(moment(asked.body["start_time"]), newest_first=False)
            start, limit = len(self.entries) - len(found), asked.body["limit"]
        entries = self.between(None, newest_first=False)
        end = min(start + limit, len(entries))
        return Answered({"items": entries[start:end], "cursor": f"CUR{end}", "has_more": end < len(entries)})


class ItemUsagesVendor(SigninAttemptsVendor):
    connector = ItemUsages
    path = "/api/v2/itemusages"


class AuditVendor(SigninAttemptsVendor):
    connector = Audit
    path = "/api/v2/auditevents"
