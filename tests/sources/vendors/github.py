"""GitHub: a phrase of whole seconds, links, and for rule suites a request for each one's details."""

import re
from typing import Any
from urllib.parse import quote

from grove.connectors.github.audit_log import Connector as AuditLog
from grove.connectors.github.rulesets import Connector as Rulesets
from grove.connectors.rest import times

from ..vendor import NOW, SECOND, TOKEN, Answered, Asked, RefusedError, Vendor, moment, only

SUITES = "/orgs/corp/rulesets/rule-suites"


class _GitHub(Vendor):
    document = {"key": TOKEN}
    page_size = 100

    def authorize(self, asked: Asked) -> None:
        if asked.headers.get("authorization") != f"Bearer {TOKEN}":
            raise RefusedError(401, {"message": "Bad credentials"})
        assert asked.headers["accept"] == "application/vnd.github+json"

    def limited(self, seconds: int) -> Answered:
        headers = {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": str(int(NOW.timestamp()) + seconds)}
        return Answered({"message": "API rate limit exceeded"}, 403, headers)

    def linked(self, asked: Asked, found: list[Any], query: str) -> Answered:
        """A page of what was found, with a link to the next one."""
        page = self.part(found, asked.query.get("after"), int(asked.query["per_page"]))
        link = f'<{self.url}{asked.path}?{query}&per_page=100&after={page.next}>; rel="next"'
        return Answered(page.entries, headers={"Link": link} if page.more else {})


class AuditLogVendor(_GitHub):
    connector = AuditLog
    document = {**_GitHub.document, "scope": "enterprises", "operation": "web"}
    granularity = times.SECOND // 1000
    spacing = 300 * times.SECOND // 1000
    first = 350

    def entry(self, moment: int, number: int) -> dict[str, Any]:
        return {"@timestamp": times.written(moment, "epoch_ms"), "_document_id": str(number), "action": "repo.create"}

    def number_of(self, entry: dict[str, Any]) -> int:
        return int(entry["_document_id"])

    def answer(self, asked: Asked) -> Answered:
        only(asked.query, "phrase!", "include!", "order!", "per_page!", "after")
        assert asked.path == "/enterprises/corp/audit-log"
        assert (asked.query["order"], asked.query["include"]) == ("asc", "web")
        bounds = re.fullmatch(r"created:>=(\S+Z) created:<=(\S+Z)", asked.query["phrase"])
        if bounds is None:
            raise RefusedError(422, {"message": "phrase"})
        # Compared by whole seconds, both included.
        found = self.between(moment(bounds[1]), moment(bounds[2]) + SECOND - 1, newest_first=False)
        query = f"phrase={quote(asked.query['phrase'])}&include=web&order=asc"
        return self.linked(asked, found, query)


class RulesetsVendor(_GitHub):
    connector = Rulesets
    first = 230

    def entry(self, moment: int, number: int) -> dict[str, Any]:
        return {"id": number, "pushed_at": times.written(moment, "%Y-%m-%dT%H:%M:%S+00:00"), "result": "bypass"}

    def number_of(self, entry: dict[str, Any]) -> int:
        assert entry["rule_evaluations"], "only the details have them"
        return int(entry["id"])

    def is_page(self, asked: Asked) -> bool:
        return asked.path == SUITES

    def answer(self, asked: Asked) -> Answered:
        if self.is_page(asked):
            only(asked.query, "rule_suite_result!", "time_period!", "per_page!", "after")
            hours = {"hour": 1, "day": 24, "week": 168, "month": 720}[asked.query["time_period"]]
            found = self.between(times.nanoseconds(NOW) - hours * 3600 * SECOND, newest_first=True)
            return self.linked(asked, found, f"rule_suite_result=all&time_period={asked.query['time_period']}")
        number = int(asked.path.removeprefix(f"{SUITES}/"))
        return Answered({**self.entry(*self.entries[number]), "rule_evaluations": [{"result": "fail"}]})
