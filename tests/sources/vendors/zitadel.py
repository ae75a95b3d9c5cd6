"""ZITADEL: a search with a limit and no pages, later than a moment, sequences that count for each aggregate."""

from typing import Any, ClassVar

from grove.connectors.rest import times
from grove.connectors.zitadel.events import Connector

from ..vendor import TOKEN, Answered, Asked, RefusedError, Vendor, moment, only


class EventsVendor(Vendor):
    connector = Connector
    pages_by = "keyset"
    reserves: ClassVar[dict[str, str]] = {
        "ties_over_a_page_edge": "it has no pages beside the time, so that `batch_size` has to be more than share one"
    }
    granularity = times.SECOND // 1_000_000

    def __init__(self) -> None:
        super().__init__()
        self.document = {"key": TOKEN, "identity": f"{self.url}/"}  # type: ignore[misc]

    def authorize(self, asked: Asked) -> None:
        if asked.headers.get("authorization") != f"Bearer {TOKEN}":
            raise RefusedError(401, {"code": 16, "message": "auth header missing"})

    def entry(self, moment: int, number: int) -> dict[str, Any]:
        return {
            "sequence": str(number % 7 + 1),
            "creationDate": times.written(moment, "iso_us"),
            "aggregate": {"id": str(number), "type": {"type": "org" if number % 2 else "user"}},
        }

    def number_of(self, entry: dict[str, Any]) -> int:
        return int(entry["aggregate"]["id"])

    def answer(self, asked: Asked) -> Answered:
        only(asked.body, "limit!", "asc!", "range!", "aggregateTypes")
        only(asked.body["range"], "since!")
        assert (asked.method, asked.path) == ("POST", "/admin/v1/events/_search")
        assert asked.body["asc"] is True
        wanted = asked.body.get("aggregateTypes", ["org", "user"])
        found = self.between(moment(asked.body["range"]["since"]) + 1, newest_first=False)
        found = [entry for entry in found if entry["aggregate"]["type"]["type"] in wanted]
        return Answered({"events": found[: min(asked.body["limit"], self.page_size)]} if found else {})
