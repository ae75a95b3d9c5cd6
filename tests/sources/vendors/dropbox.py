"""Dropbox: a token for a refresh token, then a cursor that goes on for good."""

from typing import Any

from grove.connectors.dropbox.team_events import Connector
from grove.connectors.rest import times

from ..vendor import TOKEN, WRONG, Answered, Asked, RefusedError, Vendor, moment, only


class TeamEventsVendor(Vendor):
    connector = Connector
    document = {"key": "r3fresh-token", "client_id": "app", "client_secret": "app-s3cret", "operation": "logins"}
    wrong = {"key": WRONG}

    def token(self, asked: Asked) -> Answered | None:
        if asked.path != "/oauth2/token":
            return None
        expected = {
            "grant_type": "refresh_token",
            "refresh_token": "r3fresh-token",
            "client_id": "app",
            "client_secret": "app-s3cret",
        }
        if asked.form != expected:
            raise RefusedError(400, {"error": "invalid_grant"})
        return Answered({"access_token": TOKEN, "expires_in": 14_400})

    def entry(self, moment: int, number: int) -> dict[str, Any]:
        return {"timestamp": times.written(moment, "iso"), "event_category": {".tag": "logins"}, "id": str(number)}

    def answer(self, asked: Asked) -> Answered:
        start, place = 0, None
        if asked.path == "/2/team_log/get_events/continue":
            only(asked.body, "cursor!")
            place = asked.body["cursor"]
        else:
            assert asked.path == "/2/team_log/get_events"
            only(asked.body, "limit!", "category!", "time!")
            assert asked.body["category"] == "logins"
            start = self.arrived_since(moment(asked.body["time"]["start_time"]))
        page = self.part(self.feed(), place, first=start)
        return Answered({"events": page.entries, "cursor": page.next, "has_more": page.more})
