"""Door events, oldest first. In the style of version 2."""

from datetime import datetime, timedelta, timezone

from acme_grove.connectors.api import Client
from grove.connectors import BaseConnector
from grove.constants import CHRONOLOGICAL
from grove.exceptions import NotFoundException


class Connector(BaseConnector):
    CONNECTOR = "acme_doors"
    POINTER_PATH = "at"
    LOG_ORDER = CHRONOLOGICAL

    @property
    def page_size(self):
        """How many events to ask for at a time."""
        try:
            return self.configuration.page_size
        except AttributeError:
            return 10

    def collect(self):
        """Collects all events since the pointer, or of the last week."""
        client = Client(url=self.configuration.url, token=self.key)
        cursor = None

        try:
            _ = self.pointer
        except NotFoundException:
            self.pointer = (datetime.now(timezone.utc) - timedelta(days=7)).strftime("%Y-%m-%dT%H:%M:%SZ")

        since = self.pointer
        while True:
            log = client.get_events(since=since, limit=self.page_size, cursor=cursor)
            self.save(log.entries)
            self.logger.debug("Saved a page of events.", extra={"count": len(log.entries), **self.log_context})

            cursor = log.cursor
            if cursor is None:
                break
