"""Salesforce's Field Audit Trail: https://developer.salesforce.com/docs/atlas.en-us.field_history_retention.meta/field_history_retention/field_history_soql.htm"""

from typing import Any

from pydantic import Field

from grove.connectors.rest import DAY
from grove.connectors.sf import _api
from grove.http import Response

_FIELDS = ("Id", "ParentId", "FieldHistoryType", "Field", "OldValue", "NewValue", "CreatedDate")

# https://developer.salesforce.com/docs/atlas.en-us.field_history_retention.meta/field_history_retention/field_audit_trail.htm
_KNOWN = {
    *("Account", "Asset", "Campaign", "Case", "Contact", "Contract", "ContractLineItem", "Crisis", "Employee"),
    *("EmployeeCrisisAssessment", "Entitlement", "Individual", "InternalOrganizationUnit", "Lead", "Opportunity"),
    *("Order", "OrderItem", "Pricebook2", "PricebookEntry", "Product2", "ServiceAppointment", "ServiceContract"),
    *("Solution", "User", "WorkOrder", "WorkOrderLineItem"),
}


class Connector(_api.DescribedConnector):
    """What was changed in the fields of one type of object of a Salesforce org.

    Oldest first where Salesforce can sort them, up to 2,000 a page. They are copied into this archive some time after
    they were made: `lookback` has to be longer than that takes.
    """

    CONNECTOR = "sf_field_audit_trail"
    POINTER_PATH = "CreatedDate"
    OBJECT = "FieldHistoryArchive"
    STREAM_FIELDS = ("object_type", "instance_url")
    NEEDS = "the licence for Field Audit Trail (Shield) and the permission Retain Field History"

    class Configuration(_api.DescribedConnector.Configuration):
        """The fields of a configuration document."""

        object_type: str = Field(
            pattern=r"^[A-Za-z]\w*$", description="The type of object, such as Account, Case, or Invoice__c."
        )

    SOURCE = _api.source(
        f"SELECT {', '.join(_FIELDS)} FROM FieldHistoryArchive "
        # In the order of its index, which other conditions would leave.
        "WHERE FieldHistoryType = '{object_type}' AND CreatedDate >= {since}{order}",
        lookback=DAY,
    )

    def _collect(self) -> None:
        kind = self.fields.object_type
        if kind not in _KNOWN and not kind.endswith("__c"):
            self.logger.warning(
                "Salesforce is not known to keep the history of this type of object.",
                extra={"event": "unknown_object_type", "object_type": kind},
            )
        super()._collect()

    def prepare(self, entries: list[Any], response: Response) -> list[Any]:
        """With what these entries have always said of themselves."""
        return [
            {
                **{name: entry.get(name) for name in _FIELDS},
                "object_type": self.fields.object_type,
                "_grove_operation": "FieldAuditTrail",
                "_grove_connector": self.name,
            }
            for entry in entries
        ]
