"""Oomnitza's activities: https://oomnitza.zendesk.com/hc/en-us/articles/220066927-REST-API-Overview"""

from grove.connectors.rest import DAY, REVERSE_CHRONOLOGICAL, HeaderAuth, Offset, RestConnector, Source


class Connector(RestConnector):
    """What users and integrations did in an Oomnitza instance.

    `identity` is the instance's name before `.oomnitza.com`, `key` an API token of one of its administrators. Newest
    first, up to 2,000 a page.
    """

    CONNECTOR = "oomnitza_activities"
    POINTER_PATH = "timestamp"
    LOG_ORDER = REVERSE_CHRONOLOGICAL

    SOURCE = Source(
        url="https://{identity}.oomnitza.com/api/v3/activities",
        params={"start_date": "{since}", "end_date": "{until}"},
        headers={"Content-Type": "application/json"},
        auth=HeaderAuth(name="Authorization2", value="{key}"),
        paging=Offset(param="skip", size=2000, size_param="limit", short_ends=True),
        time_format="epoch",
        first_run=2 * DAY,
    )
