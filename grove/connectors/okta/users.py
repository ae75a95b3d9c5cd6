"""Okta's users: https://developer.okta.com/docs/api/openapi/okta-management/management/tag/User/#operation/listUsers"""

from grove.connectors.okta import _api
from grove.connectors.rest import CHRONOLOGICAL, Link, Source


class Connector(_api.OktaConnector):
    """All users of an Okta organisation but the deactivated ones, the whole list in every run.

    A `frequency` of 86400 suits most.
    """

    CONNECTOR = "okta_users"
    POINTER_PATH = "id"
    LOG_ORDER = CHRONOLOGICAL

    SOURCE = Source(
        url="https://{identity}.{domain}/api/v1/users",
        params={"limit": 200},
        auth=_api.AUTH,
        paging=Link(),
        rate_limit=_api.RATE_LIMIT,
        snapshot=True,
    )
