"""Stripe: newest first, a hundred a page, the next page after the last one's id."""

from typing import Any

from grove.connectors.rest import times
from grove.connectors.stripe.events import Connector

from ..vendor import SECOND, TOKEN, Answered, Asked, Vendor, only


class EventsVendor(Vendor):
    connector = Connector
    document = {"key": TOKEN}
    first = 250
    page_size = 100
    pages_by = "keyset"

    def entry(self, moment: int, number: int) -> dict[str, Any]:
        return {"id": f"evt_{number}", "object": "event", "created": times.written(moment, "epoch")}

    def number_of(self, entry: dict[str, Any]) -> int:
        return int(entry["id"].removeprefix("evt_"))

    def answer(self, asked: Asked) -> Answered:
        only(asked.query, "limit!", "created[gte]!", "starting_after")
        assert asked.path == "/v1/events"
        found = self.between(int(asked.query["created[gte]"]) * SECOND, newest_first=True)
        after = asked.query.get("starting_after")
        start = next((number + 1 for number, entry in enumerate(found) if entry["id"] == after), 0)
        page = found[start : start + min(int(asked.query["limit"]), self.page_size)]
        return Answered({"object": "list", "data": page, "has_more": start + len(page) < len(found)})
