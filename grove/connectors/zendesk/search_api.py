"""Zendesk's search for tickets: https://developer.zendesk.com/api-reference/ticketing/ticket-management/search/"""

from typing import Any

from pydantic import Field

from grove.connectors.rest import Seek, Source
from grove.connectors.zendesk import _api, _tickets


class Connector(_tickets.TicketsConnector):
    """Tickets of a Zendesk account that its search finds, with their comments, each one again whenever it has changed.

    Oldest change first, 100 a page. A search has 1,000 results at most, so that each page is a search of its own, from
    the last ticket on. Tickets are found some minutes after their change. Where they are many, `zendesk_tickets`
    misses none of those that are found later.
    """

    CONNECTOR = "zendesk_search"

    class Configuration(_tickets.TicketsConnector.Configuration):
        """The fields of a configuration document."""

        statuses: _tickets.Statuses = Field(["closed"])

    SOURCE = Source(
        url=f"{_api.ROOT}/search.json",
        params={
            "query": "type:ticket {wanted} updated>={since} updated<={until}",
            "sort_by": "updated_at",
            "sort_order": "asc",
        },
        auth=_api.AUTH,
        paging=Seek(path="updated_at", size=100, size_param="per_page", param="page"),
        entries="results",
        keep="result_type == 'ticket'",
        unique=_tickets.UNIQUE,
        rate_limit=_api.RATE_LIMIT,
        read_timeout=_api.READ_TIMEOUT,
        time_format="iso",
    )

    def variables(self) -> dict[str, Any]:
        """`wanted`: a condition for each status; one of them has to be met."""
        return {"wanted": " ".join(f"status:{status}" for status in self.fields.statuses)}
