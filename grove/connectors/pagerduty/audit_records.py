"""PagerDuty's audit records: https://developer.pagerduty.com/api-reference/d5d6e8d1b8a3f-list-audit-records"""

from typing import Literal

from pydantic import Field

from grove.connectors.rest import DAY, REVERSE_CHRONOLOGICAL, HeaderAuth, RateLimited, RestConnector, Source, Token


class Connector(RestConnector):
    """Changes to users, teams, services, schedules and the like in a PagerDuty account.

    `identity` is any name for the account, `key` an API key of the account, from Integrations, API Access Keys, or an
    access token of an app with the scope `audit_records.read`. The account's plan has to have audit trails; others are
    answered with 402. Newest first, 960 requests a minute.
    """

    CONNECTOR = "pagerduty_audit_records"
    POINTER_PATH = "execution_time"
    LOG_ORDER = REVERSE_CHRONOLOGICAL
    STREAM_FIELDS = ("fqdn",)

    class Configuration(RestConnector.Configuration):
        """The fields of a configuration document."""

        fqdn: Literal["api.pagerduty.com", "api.eu.pagerduty.com"] = Field(
            "api.pagerduty.com", description="The host of the API in the account's service region."
        )

    SOURCE = Source(
        url="https://{fqdn}/audit/records",
        params={"since": "{since}", "until": "{until}"},
        headers={"Accept": "application/vnd.pagerduty+json;version=2", "Content-Type": "application/json"},
        auth=HeaderAuth(value="Token token={key}"),
        paging=Token(path="next_cursor", param="cursor"),
        entries="records",
        rate_limit=RateLimited(reset_header="ratelimit-reset", form="delta", default=1),
        time_format="iso_ms",
        # Not more than 31 days may lie between the two.
        max_span=30 * DAY,
    )
