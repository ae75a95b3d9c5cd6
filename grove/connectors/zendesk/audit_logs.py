"""Zendesk's audit log: https://developer.zendesk.com/api-reference/ticketing/account-configuration/audit_logs/"""

from pydantic import Field

from grove.connectors.rest import MINUTE, DelayedConfiguration, Source, Token
from grove.connectors.zendesk import _api


class AuditLogsConnector(_api.ZendeskConnector):
    """Changes to the settings, users, rules and apps of a Zendesk account, and exports from it.

    Oldest first, up to 100 a page. Only accounts with the Enterprise plan have it.
    """

    CONNECTOR = "zendesk_audit_logs"
    POINTER_PATH = "created_at"

    class Configuration(_api.ZendeskConnector.Configuration, DelayedConfiguration):
        """The fields of a configuration document."""

        batch_size: int = Field(100, ge=1, le=100, description="Entries a page.")
        enforce_rate_limit: bool = Field(False, description="Whether to let a minute pass between two pages.")

    SOURCE = Source(
        url=f"{_api.ROOT}/audit_logs.json",
        params={
            "filter[created_at][]": ["{since}", "{until}"],
            "sort": "created_at",
            "page[size]": "{batch_size}",
        },
        auth=_api.AUTH,
        paging=Token(path="meta.after_cursor", param="page[after]", more="meta.has_more", empty_ends=True),
        entries="audit_logs",
        rate_limit=_api.RATE_LIMIT,
        read_timeout=_api.READ_TIMEOUT,
        time_format="iso",
    )

    def source(self) -> Source:
        """With the document's pause."""
        return self.SOURCE.model_copy(update={"pause": MINUTE if self.fields.enforce_rate_limit else 0})
