"""Marketing Cloud: a token for JSON, Central Standard Time without saying so, a list of one object."""

from typing import Any

from grove.connectors.rest import times
from grove.connectors.sfmc.audit_events import Connector as AuditEvents
from grove.connectors.sfmc.security_events import Connector as SecurityEvents

from ..vendor import NOW, SECOND, TOKEN, WRONG, Answered, Asked, RefusedError, Vendor, moment, only

BEHIND = 6 * 3600 * SECOND


class AuditEventsVendor(Vendor):
    connector = AuditEvents
    document = {"client_id": "package", "client_secret": "p4ckage-s3cret"}
    wrong = {"client_secret": WRONG}
    first = 1_200
    page_size = 500
    pages_by = "offset"
    granularity = SECOND // 1000
    path = "/data/v1/audit/auditEvents"
    wrapped = True
    account: str | None = None

    def token(self, asked: Asked) -> Answered | None:
        if asked.path != "/v2/token":
            return None
        expected = {
            "grant_type": "client_credentials",
            "client_id": "package",
            "client_secret": "p4ckage-s3cret",
            **({"account_id": self.account} if self.account else {}),
        }
        if asked.body != expected:
            raise RefusedError(401, {"error": "invalid_client"})
        return Answered({"access_token": TOKEN, "expires_in": 1079, "rest_instance_url": f"{self.url}/"})

    def entry(self, moment: int, number: int) -> dict[str, Any]:
        # Zeros at the end are left out.
        at = str(times.written(moment - BEHIND, "iso_ms")).removesuffix("Z").rstrip("0")
        return {"id": number, "createdDate": f"{at}00" if at.endswith(".") else at, "operation": {"name": "Start"}}

    def answer(self, asked: Asked) -> Answered:
        only(asked.query, "startdate!", "enddate!", "$page!", "$pagesize!", "$orderBy!")
        assert asked.path == self.path
        assert asked.query["$orderBy"] == "createdDate asc"
        since, until = (moment(asked.query[name]) + BEHIND for name in ("startdate", "enddate"))
        assert until == times.nanoseconds(NOW), "now, by the vendor's clock"
        found = self.between(since, until, newest_first=False)
        page, size = int(asked.query["$page"]), min(int(asked.query["$pagesize"]), self.page_size)
        items = found[(page - 1) * size : page * size]
        body = {"page": page, "pageSize": size, "count": len(items), "items": items}
        return Answered([body] if self.wrapped else body)


class SecurityEventsVendor(AuditEventsVendor):
    connector = SecurityEvents
    path = "/data/v1/audit/securityEvents"
    wrapped = False
