"""What the streams of the 1Password Events API have in common: https://developer.1password.com/docs/events-api/reference/"""

from typing import Literal

from pydantic import Field

from grove.connectors.rest import CHRONOLOGICAL, DAY, HeaderAuth, RateLimited, RestConnector, Source, Token


class OnePasswordConnector(RestConnector):
    """Fields that every stream of 1Password has."""

    LOG_ORDER = CHRONOLOGICAL
    STREAM_FIELDS = ("domain",)
    POINTER_PATH = "timestamp"

    class Configuration(RestConnector.Configuration):
        """`identity` is any name for the account, `key` a bearer token of an Events Reporting integration.

        An administrator sets that up at 1Password.com, under Integrations, and says what the token has access to.
        """

        domain: Literal["1password.com", "ent.1password.com", "1password.eu", "1password.ca"] = Field(
            "1password.com", description="Where the account lives."
        )


def source(stream: str) -> Source:
    """One of the API's streams. Its cursor is a place for good: the next run goes on from there."""
    return Source(
        url=f"https://events.{{domain}}/api/v2/{stream}",
        method="POST",
        body={"limit": 1000, "start_time": "{since}"},
        auth=HeaderAuth(value="Bearer {key}"),
        paging=Token(path="cursor", param="cursor", alone=True, more="has_more", resume=True),
        entries="items",
        rate_limit=RateLimited(default=1),
        time_format="iso",
        retention=120 * DAY,
    )
