"""LaunchDarkly's audit log: https://launchdarkly.com/docs/api/audit-log"""

from pydantic import Field

from grove.connectors.rest import (
    REVERSE_CHRONOLOGICAL,
    FollowUp,
    HeaderAuth,
    Link,
    RateLimited,
    RestConnector,
    Source,
)
from grove.connectors.rest.fields import HostName


class Connector(RestConnector):
    """Changes to the flags, projects, environments and members of a LaunchDarkly account.

    `identity` is any name for the account, `key` an access token with the role Reader, from the organisation settings,
    under Authorization. Newest first, 20 a page. With `verbose`, each entry costs a request of its own.
    """

    CONNECTOR = "launchdarkly_audit_records"
    POINTER_PATH = "date"
    LOG_ORDER = REVERSE_CHRONOLOGICAL
    STREAM_FIELDS = ("fqdn",)

    class Configuration(RestConnector.Configuration):
        """The fields of a configuration document."""

        verbose: bool = Field(
            False, strict=True, description="Whether to ask for what each change was, before and after."
        )
        fqdn: HostName = Field(
            "app.launchdarkly.com",
            description="The host of the API: app.launchdarkly.com, app.eu.launchdarkly.com or app.launchdarkly.us.",
        )

    SOURCE = Source(
        url="https://{+fqdn}/api/v2/auditlog",
        params={"after": "{since}", "limit": 20},
        auth=HeaderAuth(value="{key}"),
        paging=Link(path="_links.next.href"),
        entries="items",
        rate_limit=RateLimited(reset_header="X-Ratelimit-Reset", form="epoch_ms", default=1),
        time_format="epoch_ms",
        exclusive=True,
    )

    def source(self) -> Source:
        """With the document's `verbose`."""
        if not self.fields.verbose:
            return self.SOURCE
        details = FollowUp(url="https://{+fqdn}/api/v2/auditlog/{id}", values={"id": "_id"})
        return self.SOURCE.model_copy(update={"follow_up": details})
