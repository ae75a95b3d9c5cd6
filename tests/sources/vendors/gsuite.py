"""Google Workspace: a signed assertion for a token, page tokens, and no list where there is nothing."""

import base64
import json
import re
from typing import Any, ClassVar

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from grove.connectors.gsuite.activities import Connector as Activities
from grove.connectors.gsuite.alerts import Connector as Alerts
from grove.connectors.gsuite.usage import Connector as Usage
from grove.connectors.rest import times

from ..vendor import NOW, SECOND, TOKEN, WRONG, Answered, Asked, RefusedError, Vendor, moment, only

KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
PEM = KEY.private_bytes(
    serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
).decode()

DAY = 86_400 * SECOND


class _Google(Vendor):
    scope: ClassVar[str]

    def __init__(self) -> None:
        super().__init__()
        account = {"client_email": "grove@example.iam", "private_key": PEM, "token_uri": f"{self.url}/token"}
        other = {**account, "client_email": "other@example.iam", "client_secret": WRONG}
        self.document = {**self.document, "key": json.dumps(account), "identity": "ada@example.org"}  # type: ignore[misc]
        self.wrong = {"key": json.dumps(other)}  # type: ignore[misc]

    def token(self, asked: Asked) -> Answered | None:
        if asked.path != "/token":
            return None
        assert asked.form["grant_type"] == "urn:ietf:params:oauth:grant-type:jwt-bearer"
        head, claims, signature = asked.form["assertion"].split(".")
        KEY.public_key().verify(_raw(signature), f"{head}.{claims}".encode(), padding.PKCS1v15(), hashes.SHA256())
        said = json.loads(_raw(claims))
        assert (said["sub"], said["scope"]) == ("ada@example.org", f"https://www.googleapis.com/auth/{self.scope}")
        if said["iss"] != "grove@example.iam":
            raise RefusedError(400, {"error": "invalid_grant"})
        return Answered({"access_token": TOKEN, "expires_in": 3600})

    def paged(self, asked: Asked, kind: str, found: list[Any], size: str) -> Answered:
        """A page of what was found; there is no list where nothing was, and no token where it is all."""
        page = self.part(found, asked.query.get("pageToken"), int(asked.query.get(size, "1000")))
        token = {"nextPageToken": page.next} if page.more else {}
        return Answered({kind: page.entries, **token} if page.entries else token)

    def limited(self, seconds: int) -> Answered:
        error = {"code": 403, "errors": [{"reason": "rateLimitExceeded"}]}
        return Answered({"error": error}, 403, {"Retry-After": str(seconds)})


class ActivitiesVendor(_Google):
    connector = Activities
    document = {"operation": "admin"}
    granularity = times.SECOND // 1000
    scope = "admin.reports.audit.readonly"

    def entry(self, moment: int, number: int) -> dict[str, Any]:
        return {"id": {"time": times.written(moment, "iso_ms"), "uniqueQualifier": str(number)}, "events": []}

    def number_of(self, entry: dict[str, Any]) -> int:
        return int(entry["id"]["uniqueQualifier"])

    def answer(self, asked: Asked) -> Answered:
        only(asked.query, "startTime!", "endTime!", "maxResults!", "pageToken")
        assert asked.path == "/admin/reports/v1/activity/users/all/applications/admin"
        since, until = moment(asked.query["startTime"]), moment(asked.query["endTime"])
        assert until <= times.nanoseconds(NOW)
        return self.paged(asked, "items", self.between(since, until, newest_first=True), "maxResults")


class AlertsVendor(_Google):
    connector = Alerts
    granularity = times.SECOND // 1_000_000
    scope = "apps.alerts"

    def entry(self, moment: int, number: int) -> dict[str, Any]:
        return {"alertId": str(number), "createTime": times.written(moment, "iso_us"), "type": "Leaked password"}

    def number_of(self, entry: dict[str, Any]) -> int:
        return int(entry["alertId"])

    def answer(self, asked: Asked) -> Answered:
        only(asked.query, "filter!", "orderBy!", "pageSize!", "pageToken")
        assert asked.path == "/v1beta1/alerts"
        assert asked.query["orderBy"] == "createTime asc"
        bound = re.fullmatch(r'createTime >= "(\S+)"', asked.query["filter"])
        if bound is None:
            raise RefusedError(400, {"error": {"code": 400, "message": "filter"}})
        found = self.between(moment(bound[1]), newest_first=False)
        return self.paged(asked, "alerts", found, "pageSize")


class UsageVendor(_Google):
    """Two days of reports at first, and another day each time that more are offered."""

    connector = Usage
    document = {"usage_report_type": "userUsageReports", "patience": 20}
    scope = "admin.reports.usage.readonly"
    path = "/admin/reports/v1/usage/users/all/dates/"
    days_at_first = 2
    reserves: ClassVar[dict[str, str]] = {"late_arrival": "a day that is final gets no more reports"}

    sizes = True
    """Whether a page's size is a parameter: not of the one report of a whole account."""

    partial: str | None = None
    """The day of which something is missing still."""

    too_late: ClassVar[Answered] = Answered({"error": {"code": 400, "message": "Data for dates later than ..."}}, 400)
    """The answer for a day that is not there yet."""

    def offer(self, count: int) -> None:
        start = times.nanoseconds(NOW) // DAY * DAY - 7 * DAY
        at_once = 1 if self.entries else self.days_at_first
        first = self.entries[-1][0] + DAY if self.entries else start
        for number in range(count):
            self.entries.append((first + number * at_once // count * DAY, len(self.entries)))

    def tie(self, count: int) -> None:
        """A day that is final gets no more reports."""
        self.offer(count)

    def compact(self) -> None:
        super().compact()
        self.days_at_first = 1

    def entry(self, moment: int, number: int) -> dict[str, Any]:
        return {"date": times.written(moment, "date"), "entity": {"type": "USER", "profileId": str(number)}}

    def number_of(self, entry: dict[str, Any]) -> int:
        return int(entry["entity"]["profileId"])

    def answer(self, asked: Asked) -> Answered:
        only(asked.query, "pageToken", *(["maxResults!"] if self.sizes else []))
        assert asked.path.startswith(self.path), asked.path
        day = asked.path.removeprefix(self.path)
        found = self.between(moment(day), moment(day), newest_first=False)
        if not found:
            return self.too_late
        answer = self.paged(asked, "usageReports", found, "maxResults")
        if day == self.partial:
            answer.body["warnings"] = [{"code": "200", "message": "Data is not available right now", "data": []}]
        return answer


def _raw(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
