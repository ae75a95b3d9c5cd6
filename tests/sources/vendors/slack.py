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
        # A cursor is a place in time: what arrives meanwhile shifts nothing.
        if "cursor" in asked.query:
            found = [entry for entry in found if _place(entry) < tuple(map(int, asked.query["cursor"].split("-")))]
        page = found[: min(int(asked.query["limit"]), 1000)]
        more = "" if len(page) == len(found) else "{}-{}".format(*_place(page[-1]))
        return Answered({"entries": page, "response_metadata": {"next_cursor": more}})


def _place(entry: dict[str, Any]) -> tuple[int, ...]:
    return int(entry["date_create"]), int(entry["id"])
