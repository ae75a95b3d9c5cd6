"""Stripe's events: https://docs.stripe.com/api/events/list"""

from grove.connectors.rest import DAY, REVERSE_CHRONOLOGICAL, HeaderAuth, Keyset, RestConnector, Source


class Connector(RestConnector):
    """Everything that happens in a Stripe account; `operation` may be a type, also with a wildcard: `invoice.*`.

    `identity` is any name for the account, `key` a restricted key that may read events, from the dashboard, under
    Developers, API keys. Newest first, 100 a page. Stripe keeps events for 30 days.
    """

    CONNECTOR = "stripe_events"
    POINTER_PATH = "created"
    LOG_ORDER = REVERSE_CHRONOLOGICAL

    SOURCE = Source(
        url="https://api.stripe.com/v1/events",
        params={"limit": 100, "created[gte]": "{since}", "type": "{category}"},
        auth=HeaderAuth(value="Bearer {key}"),
        paging=Keyset(path="id", param="starting_after", more="has_more"),
        entries="data",
        # A lock that somebody else holds.
        retry_statuses=(409,),
        time_format="epoch",
        retention=30 * DAY,
    )
