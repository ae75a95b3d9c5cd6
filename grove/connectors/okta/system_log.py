"""Okta's System Log: https://developer.okta.com/docs/api/openapi/okta-management/management/tag/SystemLog/"""

from grove.connectors.okta import _api
from grove.connectors.rest import CHRONOLOGICAL, Link, Source


class Connector(_api.OktaConnector):
    """Every event of an Okta organisation: sign-ins, changes of users, groups, applications and policies.

    Oldest first, up to 1,000 a page. Okta stores some events late, so that the last five minutes are asked for again.
    """

    CONNECTOR = "okta_system_log"
    POINTER_PATH = "published"
    LOG_ORDER = CHRONOLOGICAL

    SOURCE = Source(
        url="https://{identity}.{domain}/api/v1/logs",
        params={"since": "{since}", "sortOrder": "ASCENDING", "limit": 1000},
        auth=_api.AUTH,
        # Without an upper bound there is always a next link; an empty page, or the same link, is the end.
        paging=Link(empty_ends=True, repeat_ends=True),
        rate_limit=_api.RATE_LIMIT,
        time_format="iso_ms",
        lookback=300,
    )
