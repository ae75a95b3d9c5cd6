"""Events of an Atlassian organisation: https://developer.atlassian.com/cloud/admin/organization/rest/api-group-events/"""

from grove.connectors.rest import REVERSE_CHRONOLOGICAL, HeaderAuth, RateLimited, RestConnector, Source, Token


class Connector(RestConnector):
    """The audit log of an Atlassian organisation.

    `identity` is the organisation's id, `key` an API key of an organisation administrator, who makes it at
    admin.atlassian.com, under Settings, API keys. Newest first.
    """

    CONNECTOR = "atlassian_audit_events"
    POINTER_PATH = "attributes.time"
    LOG_ORDER = REVERSE_CHRONOLOGICAL

    SOURCE = Source(
        url="https://api.atlassian.com/admin/v1/orgs/{identity}/events",
        params={"from": "{since}"},
        auth=HeaderAuth(value="Bearer {key}"),
        paging=Token(path="meta.next", param="cursor"),
        entries="data",
        rate_limit=RateLimited(reset_header="X-Ratelimit-Reset", form="iso"),
        time_format="epoch_ms",
        pointer_format="%Y-%m-%dT%H:%M:%S.%f+0000",
    )
