"""What Zoom's reports have in common: https://developers.zoom.us/docs/api/rest/reference/zoom-api/methods/#tag/Reports"""

from pydantic import Field

from grove.connectors.rest import DAY, REVERSE_CHRONOLOGICAL, OAuth2Auth, RateLimited, RestConnector, Source, Token


class ZoomConnector(RestConnector):
    """Fields that every report of Zoom has."""

    POINTER_PATH = "time"
    LOG_ORDER = REVERSE_CHRONOLOGICAL

    class Configuration(RestConnector.Configuration):
        """`identity` is the account's id, `key` the client secret of a Server-to-Server OAuth app.

        All three are with the app at marketplace.zoom.us, under Develop. Reports are limited as heavy requests.
        """

        client_id: str = Field(min_length=1, description="The app's client id.")


def source(report: str, entries: str) -> Source:
    """One of the reports. They are asked for by days, a month at most, and cut to the moment here."""
    return Source(
        url=f"https://api.zoom.us/v2/report/{report}",
        params={"from": "{since}", "to": "{until}", "page_size": 300},
        auth=OAuth2Auth(
            token_url="https://zoom.us/oauth/token",
            grant="account_credentials",
            client_secret="{key}",
            fields={"account_id": "{identity}"},
            style="basic",
        ),
        paging=Token(path="next_page_token", param="next_page_token"),
        entries=entries,
        rate_limit=RateLimited(default=1),
        time_format="date",
        pointer_format="iso",
        first_run=DAY,
        max_span=30 * DAY,
        trim=True,
    )
