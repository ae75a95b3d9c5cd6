"""Audit records of a Jira Cloud site: https://developer.atlassian.com/cloud/jira/platform/rest/v3/api-group-audit-records/"""

from pydantic import Field

from grove.connectors.rest import REVERSE_CHRONOLOGICAL, BasicAuth, Offset, RateLimited, RestConnector, Source


class Connector(RestConnector):
    """The audit records of a Jira site, newest first, up to 1,000 a page.

    `identity` is the site's name before `.atlassian.net`, `key` an API token of `username`, who makes it at
    id.atlassian.com, under Security, and needs the global permission "Administer Jira".
    """

    CONNECTOR = "atlassian_site_audit_events"
    POINTER_PATH = "created"
    LOG_ORDER = REVERSE_CHRONOLOGICAL

    class Configuration(RestConnector.Configuration):
        """The fields of a configuration document."""

        username: str = Field(min_length=1, description="The e-mail address of the account that the token belongs to.")

    SOURCE = Source(
        url="https://{identity}.atlassian.net/rest/api/3/auditing/record",
        params={"from": "{since}", "to": "{until}"},
        auth=BasicAuth(user="{username}", password="{key}"),
        paging=Offset(param="offset", size=1000, size_param="limit", total="total"),
        entries="records",
        rate_limit=RateLimited(default=1),
        time_format="iso_us",
    )
