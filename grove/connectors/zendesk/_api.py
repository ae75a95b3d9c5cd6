"""What Zendesk's APIs have in common.

https://developer.zendesk.com/api-reference/introduction/security-and-auth/ and
https://developer.zendesk.com/api-reference/introduction/rate-limits/
"""

from typing import ClassVar

from pydantic import Field

from grove.connectors.rest import CHRONOLOGICAL, BasicAuth, RateLimited, RestConnector

ROOT = "https://{subdomain}.zendesk.com/api/v2"

AUTH = BasicAuth(user="{identity}/token", password="{key}")

RATE_LIMIT = RateLimited(default=60)

READ_TIMEOUT = 30


class ZendeskConnector(RestConnector):
    """Fields that every stream of Zendesk has."""

    LOG_ORDER = CHRONOLOGICAL
    STREAM_FIELDS: ClassVar[tuple[str, ...]] = ("subdomain",)

    class Configuration(RestConnector.Configuration):
        """`identity` is the e-mail address of an administrator, `key` an API token.

        Tokens are made in the Admin Center, under Apps and integrations, APIs.
        """

        subdomain: str = Field(
            pattern=r"^[A-Za-z0-9-]+$", description="The account's name in its address, before `.zendesk.com`."
        )
