"""HCP Terraform: later than a moment, numbered pages, rate limits in fractions of a second."""

from typing import Any

from grove.connectors.rest import times
from grove.connectors.tfc.audit_trails import Connector

from ..vendor import TOKEN, Answered, Asked, Vendor, moment, only


class AuditTrailsVendor(Vendor):
    connector = Connector
    pages_by = "offset"
    document = {"key": TOKEN}
    granularity = times.SECOND // 1000

    def entry(self, moment: int, number: int) -> dict[str, Any]:
        return {"id": str(number), "timestamp": times.written(moment, "iso_ms"), "type": "Resource"}

    def answer(self, asked: Asked) -> Answered:
        only(asked.query, "since!", "page[size]!", "page[number]")
        assert asked.path == "/api/v2/organization/audit-trail"
        found = self.between(moment(asked.query["since"]) + 1, newest_first=True)
        page, size = int(asked.query.get("page[number]", "1")), min(int(asked.query["page[size]"]), self.page_size)
        more = page + 1 if page * size < len(found) else None
        return Answered({"data": found[(page - 1) * size : page * size], "pagination": {"next_page": more}})

    def limited(self, seconds: int) -> Answered:
        return Answered({"errors": [{"status": "429"}]}, 429, {"X-RateLimit-Reset": f"{seconds:.3f}"})
