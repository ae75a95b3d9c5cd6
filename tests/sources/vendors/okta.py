"""Okta: a bare array, next links in the `Link` header, a polling query that always has one."""

from typing import Any
from urllib.parse import urlencode

from grove.connectors.okta.system_log import Connector as SystemLog
from grove.connectors.okta.users import Connector as Users
from grove.connectors.rest import times

from ..vendor import NOW, TOKEN, Answered, Asked, RefusedError, Vendor, moment, only


class _Okta(Vendor):
    document = {"key": TOKEN}

    def authorize(self, asked: Asked) -> None:
        if asked.headers.get("authorization") != f"SSWS {TOKEN}":
            raise RefusedError(401, {"errorCode": "E0000011", "errorSummary": "Invalid token provided"})

    def limited(self, seconds: int) -> Answered:
        headers = {"X-Rate-Limit-Remaining": "0", "X-Rate-Limit-Reset": str(int(NOW.timestamp()) + seconds)}
        return Answered({"errorCode": "E0000047"}, 429, headers)


class SystemLogVendor(_Okta):
    connector = SystemLog
    granularity = times.SECOND // 1000

    def entry(self, moment: int, number: int) -> dict[str, Any]:
        return {"uuid": str(number), "published": times.written(moment, "iso_ms"), "eventType": "user.session.start"}

    def number_of(self, entry: dict[str, Any]) -> int:
        return int(entry["uuid"])

    def answer(self, asked: Asked) -> Answered:
        only(asked.query, "since!", "sortOrder!", "limit!", "after")
        assert asked.path == "/api/v1/logs"
        assert asked.query["sortOrder"] == "ASCENDING"
        found = self.between(moment(asked.query["since"]), newest_first=False)
        page = self.part(found, asked.query.get("after"), int(asked.query["limit"]))
        query = f"since={asked.query['since']}&sortOrder=ASCENDING&limit=1000&after={page.next}"
        address = f"{self.url}/api/v1/logs"
        links = f'<{address}?{urlencode(asked.query)}>; rel="self", <{address}?{query}>; rel="next"'
        return Answered(page.entries, headers={"Link": links})


class UsersVendor(_Okta):
    connector = Users
    first = 450
    page_size = 200
    snapshot = True

    def entry(self, moment: int, number: int) -> dict[str, Any]:
        return {"id": f"{number}", "status": "ACTIVE", "profile": {"login": "ada@example.org"}}

    def answer(self, asked: Asked) -> Answered:
        only(asked.query, "limit!", "after")
        assert asked.path == "/api/v1/users"
        page = self.part(self.feed(), asked.query.get("after"), int(asked.query["limit"]))
        link = f'<{self.url}/api/v1/users?limit=200&after={page.next}>; rel="next"'
        return Answered(page.entries, headers={"Link": link} if page.more else {})
