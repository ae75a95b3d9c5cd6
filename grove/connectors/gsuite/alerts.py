"""Google's alert center: https://developers.google.com/workspace/admin/alertcenter/reference/rest/v1beta1/alerts/list"""

from grove.connectors.gsuite import _api
from grove.connectors.rest import CHRONOLOGICAL, RestConnector, Source, Token


class Connector(RestConnector):
    """Security alerts of Google Workspace: leaked passwords, suspicious sign-ins, phishing, ...

    `identity` is the administrator to act as, `key` the JSON key file of a service account with domain-wide delegation
    for the scope apps.alerts (Admin console, Security, API controls). Oldest first, up to 1,000 a page. What becomes
    of an alert later, such as its status, is not collected again.
    """

    CONNECTOR = "gsuite_alerts"
    EXTRA = "google"
    POINTER_PATH = "createTime"
    LOG_ORDER = CHRONOLOGICAL

    SOURCE = Source(
        url="https://alertcenter.googleapis.com/v1beta1/alerts",
        params={"filter": 'createTime >= "{since}"', "orderBy": "createTime asc", "pageSize": 1000},
        auth=_api.auth("apps.alerts"),
        paging=Token(path="nextPageToken", param="pageToken"),
        entries="alerts",
        entries_optional=True,
        rate_limit=_api.RATE_LIMIT,
        time_format="iso_us",
    )
