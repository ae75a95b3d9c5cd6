"""Security events of Marketing Cloud."""

from grove.connectors.sfmc import _audit


class Connector(_audit.MarketingCloudConnector):
    """Sign-ins and sign-outs of a Marketing Cloud account's users.

    Oldest first, up to 500 a page.
    """

    CONNECTOR = "sfmc_security_events"
    SOURCE = _audit.source("securityEvents")
