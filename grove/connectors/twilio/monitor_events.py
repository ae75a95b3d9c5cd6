"""Twilio's monitor events: https://www.twilio.com/docs/usage/monitor-events"""

from grove.connectors.rest import Link, Source
from grove.connectors.twilio import _api


class Connector(_api.TwilioConnector):
    """Changes and sign-ins in a Twilio account; `operation` may be a type of event, such as `account.updated`.

    Newest first, up to 1,000 a page.
    """

    CONNECTOR = "twilio_monitor_events"
    POINTER_PATH = "event_date"

    SOURCE = Source(
        url="https://monitor.twilio.com/v1/Events",
        params={"StartDate": "{since}", "EventType": "{category}", "PageSize": 1000},
        auth=_api.AUTH,
        paging=Link(path="meta.next_page_url"),
        entries="events",
        time_format="iso",
    )
