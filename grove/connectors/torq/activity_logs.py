"""Torq's activity log: https://learn.torq.io/apidocs"""

from grove.connectors.torq import _api


class Connector(_api.TorqConnector):
    """What the workflows of a Torq workspace did.

    Newest first, up to 100 a page.
    """

    CONNECTOR = "torq_activity_logs"
    POINTER_PATH = "event.timestamp"
    SOURCE = _api.source("activity_logs")
