"""What the Audit Trail streams of Marketing Cloud have in common.

https://developer.salesforce.com/docs/marketing/marketing-cloud/references/mc_rest_audit
"""

from pydantic import Field

from grove.connectors.rest import (
    CHRONOLOGICAL,
    DAY,
    HOUR,
    HeaderAuth,
    OAuth2Auth,
    PageNumber,
    RestConnector,
    Source,
)

# Times are those of Central Standard Time all year round, and do not say so: what is now by the vendor's clock was
# called so in UTC six hours ago.
_BEHIND = 6 * HOUR


class MarketingCloudConnector(RestConnector):
    """Fields that every stream of Marketing Cloud has."""

    POINTER_PATH = "createdDate"
    LOG_ORDER = CHRONOLOGICAL

    class Configuration(RestConnector.Configuration):
        """`identity` is the tenant's subdomain.

        An installed package (Setup, Apps, Installed Packages) for server-to-server integrations gives `client_id` and
        `client_secret`. `key` may be a token in their place, which is good for minutes only. Either needs the scope
        Data, Tracking Event, Read and the permission Audit Logging, API Access.
        """

        client_id: str = Field("", description="The package's client id.")
        client_secret: str = Field("", repr=False, description="The package's client secret.")
        account_id: str = Field("", description="The business unit (MID), where it is not the package's own.")


def source(events: str) -> Source:
    """One of the streams."""
    return Source(
        url=f"https://{{identity}}.rest.marketingcloudapis.com/data/v1/audit/{events}",
        params={"startdate": "{since}", "enddate": "{until}", "$orderBy": "createdDate asc"},
        auth=(
            OAuth2Auth(
                token_url="https://{identity}.auth.marketingcloudapis.com/v2/token",
                fields={"account_id": "{account_id}"},
                style="json",
            ),
            HeaderAuth(value="Bearer {key}"),
        ),
        paging=PageNumber(param="$page", size=500, size_param="$pagesize"),
        # One object, which may stand in a list.
        entries="[@][] | [0].items",
        time_format="%Y-%m-%dT%H:%M:%S.000",
        first_run=7 * DAY + _BEHIND,
        delay=_BEHIND,
    )
