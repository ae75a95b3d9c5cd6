"""Tines' audit logs: https://www.tines.com/docs/api/audit-logs/list/"""

from pydantic import Field

from grove.connectors.rest import REVERSE_CHRONOLOGICAL, HeaderAuth, RateLimited, RestConnector, Source, Token
from grove.connectors.rest.fields import DomainName


class Connector(RestConnector):
    """What users of a Tines tenant did; `operation` may be the name of one operation, such as `Login`.

    `identity` is the tenant's name in its address, `key` an API key of a tenant administrator, from Settings, API
    keys. Newest first, up to 500 a page. The filter leaves out its own second, so the one before is asked for again.
    """

    CONNECTOR = "tines_audit_logs"
    POINTER_PATH = "created_at"
    LOG_ORDER = REVERSE_CHRONOLOGICAL
    STREAM_FIELDS = ("domain",)

    class Configuration(RestConnector.Configuration):
        """The fields of a configuration document."""

        domain: DomainName = Field(
            "tines.com",
            description="Where the tenant lives, without its name.",
        )

    SOURCE = Source(
        url="https://{identity}.{domain}/api/v1/audit_logs",
        # Both bounds leave out their own second; what is created in the run's first one comes with the next run.
        params={"after": "{since}", "before": "{until}", "per_page": 500, "operation_name": "{category}"},
        auth=HeaderAuth(name="X-User-Token", value="{key}"),
        paging=Token(path="meta.next_page_number", param="page"),
        entries="audit_logs",
        entries_optional=True,
        rate_limit=RateLimited(default=1),
        time_format="iso",
        exclusive=True,
    )
