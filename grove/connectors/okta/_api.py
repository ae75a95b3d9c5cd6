"""What Okta's APIs have in common.

https://developer.okta.com/docs/reference/rl-best-practices/ and
https://developer.okta.com/docs/reference/core-okta-api/#pagination
"""

from pydantic import Field

from grove.connectors.rest import HeaderAuth, RateLimited, RestConnector
from grove.connectors.rest.fields import DomainName

AUTH = HeaderAuth(value="SSWS {key}")

RATE_LIMIT = RateLimited(reset_header="X-Rate-Limit-Reset", form="epoch", remaining_header="X-Rate-Limit-Remaining")


class OktaConnector(RestConnector):
    """Fields that every stream of Okta has."""

    STREAM_FIELDS = ("domain",)

    class Configuration(RestConnector.Configuration):
        """`identity` is the organisation's name in its address, `key` an API token of a read-only administrator.

        Tokens are made in the Admin Console, under Security, API, Tokens.
        """

        domain: DomainName = Field(
            "okta.com",
            description="Where the organisation lives: okta.com, okta-emea.com or oktapreview.com, without its name.",
        )
