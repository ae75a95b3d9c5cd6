"""Torq: a token for a client id and secret, page tokens, lists named after their logs."""

import base64
from typing import Any

from grove.connectors.rest import times
from grove.connectors.torq.activity_logs import Connector as ActivityLogs
from grove.connectors.torq.audit_logs import Connector as AuditLogs

from ..vendor import TOKEN, Answered, Asked, RefusedError, Vendor, moment, only

SECRET = "s3cret-of-the-client"


class AuditLogsVendor(Vendor):
    connector = AuditLogs
    document = {"key": SECRET}
    first = 250
    page_size = 100
    granularity = times.SECOND // 1_000_000
    log = "audit_logs"

    def token(self, asked: Asked) -> Answered | None:
        if asked.path != "/v1/auth/token":
            return None
        pair = base64.b64encode(f"corp:{SECRET}".encode()).decode()
        if asked.headers.get("authorization") != f"Basic {pair}":
            raise RefusedError(401, {"error": "invalid_client"})
        assert asked.form == {"grant_type": "client_credentials"}
        return Answered({"access_token": TOKEN, "token_type": "bearer", "expires_in": 3600})

    def entry(self, moment: int, number: int) -> dict[str, Any]:
        return {"id": str(number), "timestamp": times.written(moment, "iso_us"), "action": "Workflow published"}

    def answer(self, asked: Asked) -> Answered:
        only(asked.query, "start_time!", "page_size!", "page_token")
        assert asked.path == f"/public/v1alpha/{self.log}"
        found = self.between(moment(asked.query["start_time"]), newest_first=True)
        page = self.part(found, asked.query.get("page_token"), int(asked.query["page_size"]))
        return Answered({self.log: page.entries, "next_page_token": page.next if page.more else ""})


class ActivityLogsVendor(AuditLogsVendor):
    connector = ActivityLogs
    log = "activity_logs"

    def entry(self, moment: int, number: int) -> dict[str, Any]:
        return {"id": str(number), "event": {"timestamp": times.written(moment, "iso_us"), "body": "{}"}}
