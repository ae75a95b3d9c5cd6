"""Salesforce's Setup Audit Trail: https://developer.salesforce.com/docs/atlas.en-us.object_reference.meta/object_reference/sforce_api_objects_setupaudittrail.htm"""

from typing import Any

from grove.connectors.rest import DAY, MINUTE
from grove.connectors.sf import _api
from grove.http import Response


class Connector(_api.SoqlConnector):
    """What administrators changed in the setup of a Salesforce org.

    Oldest first, up to 2,000 a page, for the last 180 days.
    """

    CONNECTOR = "sf_setup_audit_trail"
    POINTER_PATH = "CreatedDate"
    NEEDS = "the permissions View Setup and Configuration and API Enabled"

    SOURCE = _api.source(
        "SELECT Id, Action, Section, CreatedBy.Username, CreatedDate, DelegateUser, Display FROM SetupAuditTrail "
        "WHERE CreatedDate >= {since} ORDER BY CreatedDate ASC",
        # A change has the time at which its transaction began, and is seen once that has ended.
        lookback=10 * MINUTE,
        retention=180 * DAY,
    )

    def prepare(self, entries: list[Any], response: Response) -> list[Any]:
        """Without the objects around the user's name, and with what these entries have always said of themselves."""
        return [
            {
                **{name: entry.get(name) for name in ("Id", "Action", "Section", "CreatedDate", "Display")},
                "CreatedByUsername": (entry.get("CreatedBy") or {}).get("Username"),
                "DelegateUser": entry.get("DelegateUser"),
                "_grove_operation": "SetupAuditTrail",
                "_grove_connector": self.name,
            }
            for entry in entries
        ]
