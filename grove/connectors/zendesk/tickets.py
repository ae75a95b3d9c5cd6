"""Zendesk's tickets: https://developer.zendesk.com/api-reference/ticketing/ticket-management/incremental_exports/"""

import json

from pydantic import Field

from grove.connectors.rest import Source, Token
from grove.connectors.zendesk import _api, _tickets

_URL = f"{_api.ROOT}/incremental/tickets/cursor.json"


class Connector(_tickets.TicketsConnector):
    """Tickets of a Zendesk account, with their comments, each one again whenever it has changed.

    In the order in which Zendesk processed their changes, from the cursor of the last run on; the last minute is never
    there yet. Ten requests a minute, of which one is made every six seconds, and one more for each ticket's comments.
    """

    CONNECTOR = "zendesk_tickets"

    class Configuration(_tickets.TicketsConnector.Configuration):
        """The fields of a configuration document."""

        statuses: _tickets.Statuses = Field(["closed", "solved"])
        batch_size: int = Field(
            50, ge=1, le=1000, description="Tickets a page. Without comments, more of them are faster."
        )

    SOURCE = Source(
        url=_URL,
        params={"start_time": "{since}", "per_page": "{batch_size}"},
        auth=_api.AUTH,
        paging=Token(
            path="after_cursor",
            param="cursor",
            alone=True,
            url=f"{_URL}?per_page={{batch_size}}",
            more="!end_of_stream",
            resume=True,
            expired=(400, 404, 410, 422),
        ),
        pause=6,
        entries="tickets",
        unique=_tickets.UNIQUE,
        rate_limit=_api.RATE_LIMIT,
        read_timeout=_api.READ_TIMEOUT,
        time_format="epoch",
        pointer_format="iso",
    )

    def source(self) -> Source:
        """With the document's statuses, for which the export has no filter."""
        wanted = f"contains(`{json.dumps(self.fields.statuses)}`, status)"
        return super().source().model_copy(update={"keep": wanted})
