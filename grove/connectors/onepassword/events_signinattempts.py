"""1Password's sign-in attempts: https://developer.1password.com/docs/events-api/reference/"""

from grove.connectors.onepassword import _events


class Connector(_events.OnePasswordConnector):
    """Attempts to sign in to a 1Password account. The token needs access to sign-in attempts.

    Oldest first, up to 1,000 a page, from the cursor of the last run on. 600 requests a minute, 30,000 an hour.
    """

    CONNECTOR = "onepassword_events_signinattempts"
    SOURCE = _events.source("signinattempts")
