"""Usage logs of a Quay organisation: https://docs.quay.io/api/swagger/#!/logs/listOrgLogs"""

from pydantic import Field

from grove.connectors.rest import REVERSE_CHRONOLOGICAL, HeaderAuth, RateLimited, RestConnector, Source, Token
from grove.connectors.rest.fields import HostName


class Connector(RestConnector):
    """Pushes, pulls and changes in the repositories, teams and robots of a Quay organisation.

    `identity` is the organisation, `key` an OAuth token with the scope `org:admin`, which one of its applications
    generates. Newest first, 20 a page. Logs are asked for by whole days and cut to the moment here.
    """

    CONNECTOR = "quay_organization_logs"
    POINTER_PATH = "datetime"
    LOG_ORDER = REVERSE_CHRONOLOGICAL
    STREAM_FIELDS = ("fqdn",)

    class Configuration(RestConnector.Configuration):
        """The fields of a configuration document."""

        fqdn: HostName = Field("quay.io", description="The host of the registry; it may be your own.")

    SOURCE = Source(
        url="https://{+fqdn}/api/v1/organization/{identity}/logs",
        params={"starttime": "{since}", "endtime": "{until}"},
        auth=HeaderAuth(value="Bearer {key}"),
        paging=Token(path="next_page", param="next_page"),
        entries="logs",
        # Comes with status 200 and an empty list.
        error="search_unavailable && (message || 'The search of logs is unavailable.')",
        rate_limit=RateLimited(default=1),
        time_format="%m/%d/%Y",
        pointer_format="%a, %d %b %Y %H:%M:%S -0000",
        trim=True,
    )
