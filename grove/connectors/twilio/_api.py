"""What Twilio's APIs have in common: https://www.twilio.com/docs/usage/requests-to-twilio"""

from pydantic import Field

from grove.connectors.rest import REVERSE_CHRONOLOGICAL, BasicAuth, RestConnector

AUTH = (BasicAuth(user="{key}", password="{secret}"), BasicAuth(user="{identity}", password="{key}"))


class TwilioConnector(RestConnector):
    """Fields that every stream of Twilio has."""

    LOG_ORDER = REVERSE_CHRONOLOGICAL

    class Configuration(RestConnector.Configuration):
        """`identity` is the account's SID. `key` is its auth token or, with `secret`, the SID of an API key.

        Both are in the console, under Account, API keys and tokens.
        """

        secret: str = Field("", repr=False, description="The secret of the API key; not with an auth token.")
