"""Activities in Google Workspace: https://developers.google.com/workspace/admin/reports/reference/rest/v1/activities/list"""

from pydantic import Field, field_validator

from grove.connectors.gsuite import _api
from grove.connectors.rest import (
    DAY,
    REVERSE_CHRONOLOGICAL,
    DelayedConfiguration,
    RestConnector,
    Source,
    Token,
)


class Connector(RestConnector):
    """The activities of one application of Google Workspace, which `operation` names: admin, drive, login, token, ...

    `identity` is the administrator to act as, `key` the JSON key file of a service account with domain-wide delegation
    for the scope admin.reports.audit.readonly (Admin console, Security, API controls). Newest first, up to 1,000 a
    page. Google delivers some activities hours late: a `delay` of 40 to 60 minutes suits most applications, a
    `lookback` the others.
    """

    CONNECTOR = "gsuite_activities"
    EXTRA = "google"
    POINTER_PATH = "id.time"
    LOG_ORDER = REVERSE_CHRONOLOGICAL

    class Configuration(DelayedConfiguration):
        """The fields of a configuration document."""

        operation: str = Field(pattern=r"^[a-z_]+$", description="The application; there is no `all`.")

        @field_validator("operation")
        @classmethod
        def _is_an_application(cls, value: str) -> str:
            if value == "all":
                raise ValueError("Google has no log of all applications; name one, such as admin, drive or login")
            return value

    SOURCE = Source(
        url="https://admin.googleapis.com/admin/reports/v1/activity/users/all/applications/{operation}",
        params={"startTime": "{since}", "endTime": "{until}", "maxResults": 1000},
        auth=_api.auth("admin.reports.audit.readonly"),
        paging=Token(path="nextPageToken", param="pageToken"),
        entries="items",
        entries_optional=True,
        rate_limit=_api.RATE_LIMIT,
        time_format="iso_ms",
        # What Gmail allows; the others do not mind.
        max_span=30 * DAY,
    )
