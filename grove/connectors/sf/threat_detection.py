"""Salesforce's Threat Detection: https://developer.salesforce.com/docs/atlas.en-us.securityImplGuide.meta/securityImplGuide/real_time_event_monitoring_storage.htm"""

from typing import Literal

from pydantic import Field

from grove.connectors.rest import DAY, HOUR
from grove.connectors.sf import _api


class Connector(_api.DescribedConnector):
    """Anomalies that Salesforce found in an org, and other stored events; `operation` says of which kind.

    Oldest first where Salesforce can sort them, which is not so for bulk API results; up to 2,000 a page, for the last
    six months.
    """

    CONNECTOR = "sf_threat_detection"
    POINTER_PATH = "EventDate"
    OBJECT = "{operation}EventStore"
    NEEDS = (
        "the licence for Event Monitoring (or Shield) and the permissions View Threat Detection Events or View "
        "Real-Time Event Monitoring Data"
    )

    class Configuration(_api.DescribedConnector.Configuration):
        """The fields of a configuration document."""

        operation: Literal[
            "ApiAnomaly",
            "SessionHijacking",
            "CredentialStuffing",
            "ReportAnomaly",
            "BulkApiResult",
            "GuestUserAnomaly",
            "LoginAnomaly",
            "PermissionSet",
        ] = Field(description="The kind of event; there is no `all`.")

    SOURCE = _api.source(
        "SELECT {columns} FROM {operation}EventStore WHERE EventDate >= {since}{order}",
        lookback=HOUR,
        retention=180 * DAY,
    )
