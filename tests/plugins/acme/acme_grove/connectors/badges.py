"""Badge events, newest first. In the style of version 1: `NAME`, and the order that connectors have by default."""

from datetime import datetime, timedelta

from acme_grove.connectors.api import Client
from grove.connectors import BaseConnector
from grove.exceptions import ConfigurationException, NotFoundException


class Connector(BaseConnector):
    NAME = "acme_badges"
    POINTER_PATH = "at"

    def collect(self):
        if not getattr(self.configuration, "url", None):
            raise ConfigurationException("An address is required.")

        client = Client(url=self.configuration.url, token=self.key)
        try:
            since = self.pointer
        except NotFoundException:
            since = (datetime.utcnow() - timedelta(days=7)).isoformat() + "Z"

        cursor = None
        more = True
        while more:
            log = client.get_events(since=since, limit=10, cursor=cursor)
            self.save(log.entries)
            cursor = log.cursor
            more = cursor is not None
