"""Workday's user activity: https://community.workday.com/sites/default/files/file-hosting/restapi/#privacy/v1"""

from typing import Any

from pydantic import Field

from grove.connectors.rest import (
    CHRONOLOGICAL,
    DelayedConfiguration,
    OAuth2Auth,
    Offset,
    RateLimited,
    RestConnector,
    Source,
)


class Connector(RestConnector):
    """What users of a Workday tenant did, oldest first, 100 a page.

    `identity` is the tenant, `key` a refresh token that does not expire, of an API client for integrations with the
    scope System: the task "View API Clients" manages both.
    """

    CONNECTOR = "workday_activity_logging"
    POINTER_PATH = "requestTime"
    LOG_ORDER = CHRONOLOGICAL

    class Configuration(DelayedConfiguration):
        """The fields of a configuration document."""

        base_url: str = Field(
            pattern=r"^(https://)?[A-Za-z0-9.-]+(:\d+)?/?$",
            description="The tenant's host, such as wd2-impl.workday.com.",
        )
        client_id: str = Field(min_length=1, description="The API client's id.")
        client_secret: str = Field(min_length=1, repr=False, description="The API client's secret.")

    SOURCE = Source(
        url="https://{+host}/ccx/api/privacy/v1/{identity}/activityLogging",
        params={"from": "{since}", "to": "{until}", "instancesReturned": 3},
        auth=OAuth2Auth(
            token_url="https://{+host}/ccx/oauth2/{identity}/token", grant="refresh_token", refresh_token="{key}"
        ),
        paging=Offset(param="offset", size=100, size_param="limit", total="total"),
        entries="data",
        rate_limit=RateLimited(default=1),
        time_format="iso_us",
    )

    def variables(self) -> dict[str, Any]:
        """`host`: `base_url` without its scheme."""
        return {"host": self.fields.base_url.removeprefix("https://").rstrip("/")}
