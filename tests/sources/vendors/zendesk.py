"""Zendesk: an audit log between two moments, an export with a cursor that lasts, a search with an end, comments."""

import base64
import re
from typing import Any

from grove.connectors.rest import times
from grove.connectors.zendesk.audit_logs import AuditLogsConnector
from grove.connectors.zendesk.search_api import Connector as Search
from grove.connectors.zendesk.tickets import Connector as Tickets

from ..vendor import NOW, SECOND, TOKEN, Answered, Asked, RefusedError, Vendor, moment, only

ADA = "ada@example.org"


class _Zendesk(Vendor):
    document = {"key": TOKEN, "identity": ADA, "subdomain": "example"}

    def authorize(self, asked: Asked) -> None:
        pair = base64.b64encode(f"{ADA}/token:{TOKEN}".encode()).decode()
        if asked.headers.get("authorization") != f"Basic {pair}":
            raise RefusedError(401, {"error": "Couldn't authenticate you"})


class AuditLogsVendor(_Zendesk):
    connector = AuditLogsConnector
    first = 250
    page_size = 100

    def entry(self, moment: int, number: int) -> dict[str, Any]:
        return {"id": number, "created_at": times.written(moment, "iso"), "action": "update"}

    def answer(self, asked: Asked) -> Answered:
        only(asked.query, "filter[created_at][]!", "sort!", "page[size]!", "page[after]")
        assert asked.path == "/api/v2/audit_logs.json"
        assert asked.query["sort"] == "created_at"
        since, until = (moment(bound) for bound in asked.queries["filter[created_at][]"])
        found = self.between(since, until, newest_first=False)
        page = self.part(found, asked.query.get("page[after]"), int(asked.query["page[size]"]))
        return Answered({"audit_logs": page.entries, "meta": {"has_more": page.more, "after_cursor": page.next}})


class _Tickets(_Zendesk):
    first = 250
    comments_a_page = 100

    def entry(self, moment: int, number: int) -> dict[str, Any]:
        status = "closed" if number % 2 else "solved"
        return {"id": number, "updated_at": times.written(moment, "iso"), "status": status, "result_type": "ticket"}

    def answer(self, asked: Asked) -> Answered:
        ticket = re.fullmatch(r"/api/v2/tickets/(\d+)/comments\.json", asked.path)
        return self.tickets(asked) if ticket is None else self.comments(asked, int(ticket[1]))

    def tickets(self, asked: Asked) -> Answered:
        raise NotImplementedError

    def comments(self, asked: Asked, ticket: int) -> Answered:
        """Three comments; what they link to is another address every time."""
        only(asked.query, "include_inline_images", "page")
        page = int(asked.query.get("page", "1"))
        url = f"{self.url}{asked.path}"
        found = [{"id": ticket * 10 + n, "url": f"{url}?{len(self.asked)}"} for n in range(3)]
        start, end = (page - 1) * self.comments_a_page, page * self.comments_a_page
        more = f"{url}?page={page + 1}" if end < len(found) else None
        return Answered({"comments": found[start:end], "next_page": more, "count": len(found)})


class TicketsVendor(_Tickets):
    connector = Tickets
    document = {**_Zendesk.document, "include_comments": False}
    lasting = True
    """Whether cursors are known still."""

    def tickets(self, asked: Asked) -> Answered:
        assert asked.path == "/api/v2/incremental/tickets/cursor.json"
        start, place = 0, None
        if "cursor" in asked.query:
            only(asked.query, "cursor!", "per_page!")
            if not self.lasting:
                raise RefusedError(422, {"error": "InvalidValue", "description": "invalid cursor"})
            place = asked.query["cursor"]
        else:
            only(asked.query, "start_time!", "per_page!")
            since = int(asked.query["start_time"]) * SECOND
            if since > times.nanoseconds(NOW) - 60 * SECOND:
                raise RefusedError(422, {"error": "StartTimeTooRecent"})
            start = self.arrived_since(since)
        page = self.part(self.feed(), place, int(asked.query["per_page"]), first=start)
        return Answered({"tickets": page.entries, "after_cursor": page.next, "end_of_stream": not page.more})


class SearchVendor(_Tickets):
    connector = Search
    document = {**_Zendesk.document, "statuses": ["closed", "solved"], "include_comments": False}
    first = 1_150
    page_size = 100
    pages_by = "keyset"
    knows_times = True
    """Whether it takes the times of its query, and not only their days."""

    def tickets(self, asked: Asked) -> Answered:
        only(asked.query, "query!", "sort_by!", "sort_order!", "per_page!", "page")
        assert asked.path == "/api/v2/search.json"
        assert (asked.query["sort_by"], asked.query["sort_order"]) == ("updated_at", "asc")
        query = asked.query["query"]
        bounds = re.fullmatch(r"type:ticket((?: status:\w+)+) updated>=(\S+) updated<=(\S+)", query)
        if bounds is None:
            raise RefusedError(422, {"error": "invalid", "description": query})
        wanted = bounds[1].replace("status:", "").split()
        since, until = moment(bounds[2]), moment(bounds[3])
        if not self.knows_times:
            since -= since % (86_400 * SECOND)
        found = [entry for entry in self.between(since, until, newest_first=False) if entry["status"] in wanted]
        size, page = min(int(asked.query["per_page"]), self.page_size), int(asked.query.get("page", "1"))
        if size * page > 1000:
            raise RefusedError(422, {"error": "Insufficient Resource Error"})
        return Answered({"results": found[size * (page - 1) : size * page], "count": len(found), "next_page": None})
