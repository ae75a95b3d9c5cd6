"""Oomnitza: a header of its own for the token, a bare array, pages by `skip`."""

from typing import Any

from grove.connectors.oomnitza.activities import Connector
from grove.connectors.rest import times

from ..vendor import SECOND, TOKEN, Answered, Asked, RefusedError, Vendor, only


class ActivitiesVendor(Vendor):
    connector = Connector
    document = {"key": TOKEN}
    first = 4_500
    page_size = 2_000
    pages_by = "offset"

    def authorize(self, asked: Asked) -> None:
        if asked.headers.get("authorization2") != TOKEN or "authorization" in asked.headers:
            raise RefusedError(401, {"message": "Unauthorized"})

    def entry(self, moment: int, number: int) -> dict[str, Any]:
        return {"id": number, "timestamp": times.written(moment, "epoch"), "event_type_id": "EDIT"}

    def answer(self, asked: Asked) -> Answered:
        only(asked.query, "start_date!", "end_date!", "limit!", "skip!")
        assert asked.path == "/api/v3/activities"
        bounds = [int(asked.query[name]) * SECOND for name in ("start_date", "end_date")]
        start, limit = int(asked.query["skip"]), min(int(asked.query["limit"]), self.page_size)
        return Answered(self.between(*bounds, newest_first=True)[start : start + limit])
