"""Hosts in Fleet: https://fleetdm.com/docs/rest-api/rest-api#list-hosts"""

from typing import Any

from pydantic import Field

from grove.connectors.rest import (
    REVERSE_CHRONOLOGICAL,
    HeaderAuth,
    PageNumber,
    RateLimited,
    RestConnector,
    Source,
)
from grove.connectors.rest.source import Path


class Connector(RestConnector):
    """Hosts that Fleet manages, each one again whenever its list of software was updated.

    `identity` is any name for the Fleet server, `key` the token of an API-only user with the role Observer, which
    `fleetctl user create --api-only` makes. Asked for newest first, so that a host which is updated meanwhile moves no
    other one past the page in hand.
    """

    CONNECTOR = "fleetdm_host_logs"
    POINTER_PATH = "software_updated_at"
    LOG_ORDER = REVERSE_CHRONOLOGICAL

    class Configuration(RestConnector.Configuration):
        """The fields of a configuration document."""

        api_uri: str = Field(
            pattern=r"^https?://[A-Za-z0-9.-]+(:\d+)?(/[A-Za-z0-9._/-]*)?$",
            description="The address of the server, such as https://fleet.example.org.",
        )
        params: dict[str, Any] = Field(
            default_factory=dict,
            description="More parameters of the query, such as `per_page`, `populate_software` or `team_id`.",
        )
        jmespath_queries: Path = Field(
            "@",
            description="JMESPath: what to make of each host. It has to keep `software_updated_at`.",
        )

    SOURCE = Source(
        url="{+server}/api/v1/fleet/hosts",
        params={"order_key": "software_updated_at", "order_direction": "desc"},
        auth=HeaderAuth(value="Bearer {key}"),
        # Older servers do not say whether there is more; their last page is an empty one.
        paging=PageNumber(param="page", start=0, size=100, more="meta.has_next_results != `false`"),
        # A host that has not told its software yet has no time to be ordered by.
        entries="hosts[?software_updated_at]",
        entries_optional=True,
        rate_limit=RateLimited(default=1),
        pointer_format="%Y-%m-%d %H:%M:%S.%f+00:00",
        # Other fields, such as `seen_time`, change from answer to answer.
        unique="[id, software_updated_at]",
        trim=True,
    )

    def source(self) -> Source:
        """With the document's parameters and projection."""
        params = {"per_page": 100, **self.fields.params, **self.SOURCE.params}
        return self.SOURCE.model_copy(update={"params": params, "select": self.fields.jmespath_queries})

    def variables(self) -> dict[str, Any]:
        """`server`: `api_uri` without a slash at its end."""
        return {"server": self.fields.api_uri.rstrip("/")}
