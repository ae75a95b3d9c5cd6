"""Slack: newest first, whole seconds, a cursor that is empty at the end."""

from typing import Any

from grove.connectors.rest import times
from grove.connectors.slack.audit_logs import Connector

from ..vendor import SECOND, TOKEN, Answered, Asked, Vendor, only


class AuditLogsVendor(Vendor):
    connector = Connector
    document = {"key": TOKEN}

    def entry(self, moment: int, number: int) -> dict[str, Any]:
        return {"id": str(number), "date_create": times.written(moment, "epoch"), "action": "user_login"}

    def answer(self, asked: Asked) -> Answered:
        only(asked.query, "oldest!", "limit!", "cursor")
        assert asked.path == "/audit/v1/logs"
        found = self.between(int(asked.query["oldest"]) * SECOND, newest_first=True)
        page = self.part(found, asked.query.get("cursor"), int(asked.query["limit"]))
        metadata = {"next_cursor": page.next if page.more else ""}
        return Answered({"entries": page.entries, "response_metadata": metadata})
