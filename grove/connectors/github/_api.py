"""What GitHub's APIs have in common.

https://docs.github.com/en/rest/using-the-rest-api/rate-limits-for-the-rest-api and
https://docs.github.com/en/rest/using-the-rest-api/using-pagination-in-the-rest-api
"""

from typing import Any

from pydantic import Field

from grove.connectors.rest import HeaderAuth, RateLimited, RestConnector

AUTH = HeaderAuth(value="Bearer {key}")

HEADERS = {"Accept": "application/vnd.github+json", "X-GitHub-Api-Version": "2022-11-28"}

# The secondary limits come with `Retry-After`, the primary one with the moment at which it is reset.
RATE_LIMIT = RateLimited(reset_header="X-RateLimit-Reset", form="epoch", remaining_header="X-RateLimit-Remaining")


class Configuration(RestConnector.Configuration):
    """`identity` is the short name of the organisation or enterprise, `key` a token."""

    fqdn: str = Field(
        "api.github.com",
        pattern=r"^[A-Za-z0-9.-]+(:\d+)?(/[A-Za-z0-9._/-]*)?$",
        description="The host of the API. GitHub Enterprise Server answers below /api/v3, which is added.",
    )


def root(fqdn: str) -> dict[str, Any]:
    """The variable `root`: host, and the path of an Enterprise Server's API."""
    fqdn = fqdn.rstrip("/")
    own_server = "/" not in fqdn and not fqdn.startswith("api.")
    return {"root": f"{fqdn}/api/v3" if own_server else fqdn}
