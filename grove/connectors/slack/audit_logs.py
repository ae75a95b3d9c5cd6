"""Slack's audit logs: https://docs.slack.dev/reference/audit-logs-api/methods-actions-reference/"""

from grove.connectors.rest import REVERSE_CHRONOLOGICAL, HeaderAuth, RateLimited, RestConnector, Source, Token


class Connector(RestConnector):
    """The audit log of an Enterprise organisation; `operation` may be an action, such as `user_login`.

    `identity` is the enterprise's id, `key` a user token (xoxp-) with the scope `auditlogs:read`, of an app that an
    owner has installed for the whole organisation. Newest first, about 50 requests a minute for the organisation.
    """

    CONNECTOR = "slack_audit_logs"
    POINTER_PATH = "date_create"
    LOG_ORDER = REVERSE_CHRONOLOGICAL

    SOURCE = Source(
        url="https://api.slack.com/audit/v1/logs",
        params={"oldest": "{since}", "limit": 1000, "action": "{category}"},
        auth=HeaderAuth(value="Bearer {key}"),
        paging=Token(path="response_metadata.next_cursor", param="cursor"),
        entries="entries",
        error="error",
        rate_limit=RateLimited(default=1),
        time_format="epoch",
    )
