"""GitHub's audit log.

https://docs.github.com/en/enterprise-cloud@latest/rest/orgs/orgs#get-the-audit-log-for-an-organization
"""

from typing import Any, Literal

from pydantic import Field

from grove.connectors.github import _api
from grove.connectors.rest import CHRONOLOGICAL, DelayedConfiguration, Link, RestConnector, Source


class Connector(RestConnector):
    """The audit log of an organisation or enterprise; `operation` is `web`, `git` or `all`.

    `identity` is its short name, `key` a token of an owner with the scope `read:audit_log`, from Settings, Developer
    settings, Personal access tokens. Oldest first, 100 a page, 1,750 requests an hour for each user and address. The
    filter knows seconds and the pointer milliseconds, so the last second is asked for again. Git events arrive late: a
    `delay` of ten minutes lets them settle.
    """

    CONNECTOR = "github_audit_log"
    POINTER_PATH = '"@timestamp"'
    LOG_ORDER = CHRONOLOGICAL
    STREAM_FIELDS = ("scope", "fqdn")

    class Configuration(_api.Configuration, DelayedConfiguration):
        """The fields of a configuration document."""

        operation: Literal["all", "web", "git"] = "all"
        scope: Literal["orgs", "enterprises"] = Field("orgs", description="What `identity` names.")

    SOURCE = Source(
        url="https://{+root}/{scope}/{identity}/audit-log",
        params={
            "phrase": "created:>={since} created:<={until}",
            "include": "{operation}",
            "order": "asc",
            "per_page": 100,
        },
        headers=_api.HEADERS,
        auth=_api.AUTH,
        paging=Link(),
        rate_limit=_api.RATE_LIMIT,
        time_format="iso",
        pointer_format="epoch_ms",
        lookback=1,
    )

    def variables(self) -> dict[str, Any]:
        """`root`."""
        return _api.root(self.fields.fqdn)
