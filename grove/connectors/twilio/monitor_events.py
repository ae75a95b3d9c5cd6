"""Twilio's monitor events: https://www.twilio.com/docs/usage/monitor-events"""

from pydantic import Field

from grove.connectors.rest import REVERSE_CHRONOLOGICAL, BasicAuth, Link, RestConnector, Source


class Connector(RestConnector):
    """Changes and sign-ins in a Twilio account; `operation` may be a type of event, such as `account.updated`.

    `identity` is the account's SID. `key` is its auth token or, with `secret`, the SID of an API key. Newest first, up
    to 1,000 a page.
    """

    CONNECTOR = "twilio_monitor_events"
    POINTER_PATH = "event_date"
    LOG_ORDER = REVERSE_CHRONOLOGICAL

    class Configuration(RestConnector.Configuration):
        """The fields of a configuration document."""

        secret: str = Field("", repr=False, description="The secret of the API key; not with an auth token.")

    SOURCE = Source(
        url="https://monitor.twilio.com/v1/Events",
        params={"StartDate": "{since}", "EventType": "{category}", "PageSize": 1000},
        auth=(BasicAuth(user="{key}", password="{secret}"), BasicAuth(user="{identity}", password="{key}")),
        paging=Link(path="meta.next_page_url"),
        entries="events",
        time_format="iso",
    )
