"""1Password's item usages: https://developer.1password.com/docs/events-api/reference/"""

from grove.connectors.onepassword import _events


class Connector(_events.OnePasswordConnector):
    """Uses of items in the shared vaults of a 1Password account. The token needs access to item usages.

    Oldest first, up to 1,000 a page, from the cursor of the last run on. 600 requests a minute, 30,000 an hour.
    """

    CONNECTOR = "onepassword_events_itemusages"
    SOURCE = _events.source("itemusages")
