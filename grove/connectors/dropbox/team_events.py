"""Dropbox's team log: https://www.dropbox.com/developers/documentation/http/teams#team_log-get_events"""

from pydantic import Field

from grove.connectors.rest import CHRONOLOGICAL, OAuth2Auth, RateLimited, RestConnector, Source, Token

_API = "https://api.dropboxapi.com/2/team_log"


class Connector(RestConnector):
    """The events of a Dropbox team; `operation` may be a category, such as `logins` or `sharing`.

    `identity` is any name for the team, `key` a refresh token of an app with the scope `events.read`: a team
    administrator lets the app, from the App Console, have access offline. In no strict order, up to 1,000 a page, from
    the cursor of the last run on.
    """

    CONNECTOR = "dropbox_team_events"
    POINTER_PATH = "timestamp"
    LOG_ORDER = CHRONOLOGICAL

    class Configuration(RestConnector.Configuration):
        """The fields of a configuration document."""

        client_id: str = Field(min_length=1, description="The app's key.")
        client_secret: str = Field(min_length=1, repr=False, description="The app's secret.")

    SOURCE = Source(
        url=f"{_API}/get_events",
        method="POST",
        body={"limit": 1000, "category": "{category}", "time": {"start_time": "{since}"}},
        auth=OAuth2Auth(token_url="https://api.dropbox.com/oauth2/token", grant="refresh_token", refresh_token="{key}"),
        # Without an end, the last cursor can be asked again for what is new. One that is too old is a 409.
        paging=Token(
            path="cursor",
            param="cursor",
            alone=True,
            url=f"{_API}/get_events/continue",
            more="has_more",
            resume=True,
            expired=(409,),
        ),
        entries="events",
        rate_limit=RateLimited(default=1),
        time_format="iso",
    )
