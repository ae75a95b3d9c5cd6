"""Torq's audit log: https://learn.torq.io/apidocs"""

from grove.connectors.torq import _api


class Connector(_api.TorqConnector):
    """What the members of a Torq workspace did: sign-ins, changes of workflows, integrations and users.

    Newest first, up to 100 a page.
    """

    CONNECTOR = "torq_audit_logs"
    POINTER_PATH = "timestamp"
    SOURCE = _api.source("audit_logs")
