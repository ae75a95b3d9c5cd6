"""Tines: bounds that leave out their own second, numbered pages."""

from typing import Any

from grove.connectors.rest import times
from grove.connectors.tines.audit_logs import Connector

from ..vendor import SECOND, TOKEN, Answered, Asked, RefusedError, Vendor, moment, only


class AuditLogsVendor(Vendor):
    connector = Connector
    document = {"key": TOKEN}
    first = 1_200
    page_size = 500
    pages_by = "offset"

    def authorize(self, asked: Asked) -> None:
        if asked.headers.get("x-user-token") != TOKEN:
            raise RefusedError(401, {"message": "Unauthorized"})

    def entry(self, moment: int, number: int) -> dict[str, Any]:
        operation = "Login" if number % 2 else "StoryCreation"
        return {"id": number, "created_at": times.written(moment, "iso"), "operation_name": operation}

    def answer(self, asked: Asked) -> Answered:
        only(asked.query, "after!", "before!", "per_page!", "operation_name", "page")
        assert asked.path == "/api/v1/audit_logs"
        since, until = moment(asked.query["after"]) + SECOND, moment(asked.query["before"]) - SECOND
        wanted = asked.query.get("operation_name")
        found = self.between(since, until, newest_first=True)
        found = [entry for entry in found if wanted in (None, entry["operation_name"])]
        page, size = int(asked.query.get("page", "1")), min(int(asked.query["per_page"]), self.page_size)
        more = page + 1 if page * size < len(found) else None
        return Answered({"audit_logs": found[(page - 1) * size : page * size], "meta": {"next_page_number": more}})
