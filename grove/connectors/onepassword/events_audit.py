"""1Password's audit events: https://developer.1password.com/docs/events-api/reference/"""

from grove.connectors.onepassword import _events


class Connector(_events.OnePasswordConnector):
    """What administrators and owners of a 1Password account did. The token needs access to audit events.

    Oldest first, up to 1,000 a page, from the cursor of the last run on. 600 requests a minute, 30,000 an hour.
    """

    CONNECTOR = "onepassword_events_audit"
    SOURCE = _events.source("auditevents")
