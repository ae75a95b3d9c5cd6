"""What Torq's logs have in common: https://learn.torq.io/apidocs"""

from grove.connectors.rest import REVERSE_CHRONOLOGICAL, OAuth2Auth, RestConnector, Source, Token


class TorqConnector(RestConnector):
    """What every stream of Torq is like."""

    LOG_ORDER = REVERSE_CHRONOLOGICAL

    class Configuration(RestConnector.Configuration):
        """`identity` is the client id of an API key of the workspace, `key` its client secret."""


def source(log: str) -> Source:
    """One of the logs, which names its list of entries as its address does."""
    return Source(
        url=f"https://api.torq.io/public/v1alpha/{log}",
        params={"start_time": "{since}", "page_size": 100},
        auth=OAuth2Auth(
            token_url="https://auth.torq.io/v1/auth/token",
            client_id="{identity}",
            client_secret="{key}",
            style="basic",
        ),
        paging=Token(path="next_page_token", param="page_token"),
        entries=log,
        # An empty list may be left out.
        entries_optional=True,
        time_format="iso_us",
    )
