"""Audit trails of HCP Terraform: https://developer.hashicorp.com/terraform/cloud-docs/api-docs/audit-trails"""

from pydantic import Field

from grove.connectors.rest import DAY, REVERSE_CHRONOLOGICAL, HeaderAuth, RateLimited, RestConnector, Source, Token
from grove.connectors.rest.fields import HostName


class Connector(RestConnector):
    """What users and tokens did in an organisation of HCP Terraform.

    `identity` is any name for the organisation, `key` its organisation token or an audit trails token, from its
    settings, under API tokens; those of users and teams are refused. Newest first, up to 1,000 a page. HCP Terraform
    keeps audit trails for 14 days.
    """

    CONNECTOR = "tfc_audit_trails"
    POINTER_PATH = "timestamp"
    LOG_ORDER = REVERSE_CHRONOLOGICAL
    STREAM_FIELDS = ("fqdn",)

    class Configuration(RestConnector.Configuration):
        """The fields of a configuration document."""

        fqdn: HostName = Field(
            "app.terraform.io",
            description="The host of the API, such as app.eu.terraform.io.",
        )

    SOURCE = Source(
        url="https://{+fqdn}/api/v2/organization/audit-trail",
        params={"since": "{since}", "page[size]": 1000},
        auth=HeaderAuth(value="Bearer {key}"),
        paging=Token(path="pagination.next_page", param="page[number]"),
        entries="data",
        rate_limit=RateLimited(reset_header="X-RateLimit-Reset", form="delta", default=1),
        time_format="iso_ms",
        exclusive=True,
        retention=14 * DAY,
    )
