"""Events of a ZITADEL instance: https://zitadel.com/docs/guides/integrate/zitadel-apis/event-api"""

from typing import Any

from pydantic import Field

from grove.connectors.rest import CHRONOLOGICAL, DAY, HeaderAuth, RateLimited, RestConnector, Seek, Source


class Connector(RestConnector):
    """Everything that happens in a ZITADEL instance: sign-ins, and changes of users, organisations and projects.

    `identity` is the instance's address, `key` a personal access token of a service user with the role
    IAM_OWNER_VIEWER, from the user's own page. Oldest first, from the beginning of the instance on. Where the pointer
    is a sequence number, as it was once, they are collected from the beginning too: such numbers count for each user
    or project apart.
    """

    # A part of the path of what was delivered already; the entry point is `zitadel_events`.
    CONNECTOR = "zitadel_events_aggregate_user"
    POINTER_PATH = "creationDate"
    LOG_ORDER = CHRONOLOGICAL

    class Configuration(RestConnector.Configuration):
        """The fields of a configuration document."""

        identity: str = Field(
            pattern=r"^https?://[A-Za-z0-9.-]+(:\d+)?/*$",
            description="The instance's address, such as https://example.zitadel.cloud.",
        )
        batch_size: int = Field(
            1000, ge=1, le=1000, description="Events a request. It has to be more than happen at one moment."
        )
        timeout: float = Field(100, gt=0, allow_inf_nan=False, description="Seconds to wait for an answer.")
        aggregate_event_types: list[str] | None = Field(
            None, description="What to collect the events of, such as `user` or `org`; everything, where not said."
        )

    SOURCE = Source(
        url="{+server}/admin/v1/events/_search",
        method="POST",
        body={"asc": True, "range": {"since": "{since}"}, "aggregateTypes": "{aggregate_event_types}"},
        auth=HeaderAuth(value="Bearer {key}"),
        paging=Seek(path="creationDate", size=1000, size_param="limit"),
        entries="events",
        entries_optional=True,
        rate_limit=RateLimited(default=60),
        time_format="iso_us",
        # All there is: the first release is of 2020.
        first_run=20 * 365 * DAY,
        exclusive=True,
    )

    def source(self) -> Source:
        """With the document's `batch_size` and `timeout`."""
        paging = self.SOURCE.paging.model_copy(update={"size": self.fields.batch_size})
        return self.SOURCE.model_copy(update={"paging": paging, "read_timeout": self.fields.timeout})

    def variables(self) -> dict[str, Any]:
        """`server`: `identity` without slashes at its end."""
        return {"server": self.identity.rstrip("/")}
