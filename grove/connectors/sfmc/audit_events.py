"""Audit events of Marketing Cloud."""

from grove.connectors.sfmc import _audit


class Connector(_audit.MarketingCloudConnector):
    """What users and automations of a Marketing Cloud account changed.

    Oldest first, up to 500 a page.
    """

    CONNECTOR = "sfmc_audit_events"
    SOURCE = _audit.source("auditEvents")
