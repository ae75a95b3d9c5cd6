"""Google Workspace: a signed assertion for a token, page tokens, and no list where there is nothing."""

import base64
import json
from typing import Any

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from grove.connectors.gsuite.activities import Connector
from grove.connectors.rest import times

from ..vendor import NOW, TOKEN, WRONG, Answered, Asked, RefusedError, Vendor, moment, only

KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
PEM = KEY.private_bytes(
    serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
).decode()
SCOPE = "https://www.googleapis.com/auth/admin.reports.audit.readonly"


class ActivitiesVendor(Vendor):
    connector = Connector
    granularity = times.SECOND // 1000

    def __init__(self) -> None:
        super().__init__()
        account = {"client_email": "grove@example.iam", "private_key": PEM, "token_uri": f"{self.url}/token"}
        other = {**account, "client_email": "other@example.iam", "client_secret": WRONG}
        self.document = {"key": json.dumps(account), "identity": "ada@example.org", "operation": "admin"}  # type: ignore[misc]
        self.wrong = {"key": json.dumps(other)}  # type: ignore[misc]

    def token(self, asked: Asked) -> Answered | None:
        if asked.path != "/token":
            return None
        assert asked.form["grant_type"] == "urn:ietf:params:oauth:grant-type:jwt-bearer"
        head, claims, signature = asked.form["assertion"].split(".")
        KEY.public_key().verify(_raw(signature), f"{head}.{claims}".encode(), padding.PKCS1v15(), hashes.SHA256())
        said = json.loads(_raw(claims))
        assert (said["sub"], said["scope"]) == ("ada@example.org", SCOPE)
        if said["iss"] != "grove@example.iam":
            raise RefusedError(400, {"error": "invalid_grant"})
        return Answered({"access_token": TOKEN, "expires_in": 3600})

    def entry(self, moment: int, number: int) -> dict[str, Any]:
        return {"id": {"time": times.written(moment, "iso_ms"), "uniqueQualifier": str(number)}, "events": []}

    def number_of(self, entry: dict[str, Any]) -> int:
        return int(entry["id"]["uniqueQualifier"])

    def answer(self, asked: Asked) -> Answered:
        only(asked.query, "startTime!", "endTime!", "maxResults!", "pageToken")
        assert asked.path == "/admin/reports/v1/activity/users/all/applications/admin"
        since, until = moment(asked.query["startTime"]), moment(asked.query["endTime"])
        assert until <= times.nanoseconds(NOW)
        found = self.between(since, until, newest_first=True)
        start = int(asked.query.get("pageToken", "0"))
        page = found[start : start + int(asked.query["maxResults"])]
        body: dict[str, Any] = {"kind": "admin#reports#activities"}
        if page:
            body["items"] = page
        if start + len(page) < len(found):
            body["nextPageToken"] = str(start + len(page))
        return Answered(body)

    def limited(self, seconds: int) -> Answered:
        error = {"code": 403, "errors": [{"reason": "rateLimitExceeded"}]}
        return Answered({"error": error}, 403, {"Retry-After": str(seconds)})


def _raw(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
