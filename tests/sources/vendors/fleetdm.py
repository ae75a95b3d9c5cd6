"""Fleet: hosts in the order of a column, pages from zero on, and fields that change with every request."""

from typing import Any

from grove.connectors.fleetdm.host_logs import Connector
from grove.connectors.rest import times

from ..vendor import TOKEN, Answered, Asked, Vendor, only


class HostLogsVendor(Vendor):
    connector = Connector
    first = 250
    page_size = 100
    pages_by = "offset"
    says_more = True

    def __init__(self) -> None:
        super().__init__()
        self.document = {"key": TOKEN, "api_uri": f"{self.url}/"}  # type: ignore[misc]

    def entry(self, moment: int, number: int) -> dict[str, Any]:
        seen = f"seen with request {len(self.asked)}"
        return {"id": number, "software_updated_at": times.written(moment, "iso"), "seen_time": seen}

    def answer(self, asked: Asked) -> Answered:
        only(asked.query, "order_key!", "order_direction!", "page!", "per_page!", "populate_software")
        assert asked.path == "/api/v1/fleet/hosts"
        assert (asked.query["order_key"], asked.query["order_direction"]) == ("software_updated_at", "desc")
        silent = [{"id": -1, "software_updated_at": None}]
        found = self.between(None, newest_first=True) + silent
        size = min(int(asked.query["per_page"]), self.page_size)
        start = int(asked.query["page"]) * size
        body: dict[str, Any] = {"hosts": found[start : start + size] or None}
        if self.says_more:
            body["meta"] = {"has_next_results": start + size < len(found), "has_previous_results": start > 0}
        return Answered(body)
