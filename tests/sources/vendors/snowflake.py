"""Snowflake: statements for a signed token, results in partitions, every value a text."""

import base64
import hashlib
import json
import re
from typing import Any, ClassVar

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from grove.connectors.snowflake.login_history import Connector as LoginHistory
from grove.connectors.snowflake.query_history import Connector as QueryHistory
from grove.connectors.snowflake.session_history import Connector as SessionHistory

from ..vendor import SECOND, Answered, Asked, RefusedError, Vendor, moment, only

STATEMENTS = "/api/v2/statements"
MOMENT = re.escape("TO_TIMESTAMP_TZ(?, 'YYYY-MM-DD HH24:MI:SS.FF6TZH:TZM')")
KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)


def pem(key: rsa.RSAPrivateKey, passphrase: str = "") -> str:
    encryption = (
        serialization.BestAvailableEncryption(passphrase.encode()) if passphrase else serialization.NoEncryption()
    )
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption).decode()


class LoginHistoryVendor(Vendor):
    connector = LoginHistory
    document = {"identity": "ada", "key": pem(KEY), "account": "Example-My_Account", "warehouse": "SMALL"}
    wrong = {"key": pem(rsa.generate_private_key(public_exponent=65537, key_size=2048))}
    granularity = SECOND // 1000
    pages_by = "offset"
    busy = 0
    """How often the status has to be asked for."""

    statement: ClassVar[str] = "* FROM LOGIN_HISTORY"
    time: ClassVar[str] = "EVENT_TIMESTAMP"
    columns: ClassVar[dict[str, str]] = {
        "EVENT_ID": "fixed",
        "EVENT_TIMESTAMP": "timestamp_ltz",
        "EVENT_TYPE": "text",
        "IS_SUCCESS": "text",
    }

    def __init__(self) -> None:
        self.results: dict[str, list[list[str | None]]] = {}
        super().__init__()

    def authorize(self, asked: Asked) -> None:
        assert asked.headers["x-snowflake-authorization-token-type"] == "KEYPAIR_JWT"
        kind, _, token = asked.headers.get("authorization", "").partition(" ")
        assert kind == "Bearer"
        head, claims, signature = token.split(".")
        said = json.loads(_raw(claims))
        public = KEY.public_key().public_bytes(
            serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        known = base64.b64encode(hashlib.sha256(public).digest()).decode()
        try:
            KEY.public_key().verify(_raw(signature), f"{head}.{claims}".encode(), padding.PKCS1v15(), hashes.SHA256())
        except InvalidSignature:
            said = {}
        if (said.get("sub"), said.get("iss")) != (
            "EXAMPLE-MY_ACCOUNT.ADA",
            f"EXAMPLE-MY_ACCOUNT.ADA.SHA256:{known}",
        ):
            raise RefusedError(401, {"code": "390144", "message": "JWT token is invalid."})
        assert said["exp"] - said["iat"] <= 3600

    def answer(self, asked: Asked) -> Answered:
        if asked.method == "POST":
            assert asked.path == STATEMENTS
            handle = f"01b-{len(self.results)}"
            self.results[handle] = self.rows(asked.body)
            return self.status(handle) if self.busy else self.first_partition(handle)
        handle = asked.path.removeprefix(f"{STATEMENTS}/")
        if "partition" not in asked.query:
            only(asked.query, "requestId!")
            self.busy -= 1
            return self.status(handle) if self.busy else self.first_partition(handle)
        only(asked.query, "partition!")
        start = int(asked.query["partition"]) * self.page_size
        return Answered({"data": self.results[handle][start : start + self.page_size]})

    def status(self, handle: str) -> Answered:
        url = f"{STATEMENTS}/{handle}?requestId=7e9d"
        return Answered({"code": "333334", "statementHandle": handle, "statementStatusUrl": url}, 202)

    def first_partition(self, handle: str) -> Answered:
        rows = self.results[handle]
        described = {
            "numRows": len(rows),
            "format": "jsonv2",
            "rowType": [{"name": name, "type": kind, "scale": 0} for name, kind in self.columns.items()],
            "partitionInfo": [
                {"rowCount": len(rows[start : start + self.page_size])}
                for start in range(0, max(len(rows), 1), self.page_size)
            ],
        }
        return Answered(
            {
                "resultSetMetaData": described,
                "data": rows[: self.page_size],
                "code": "090001",
                "statementHandle": handle,
            }
        )

    def rows(self, body: dict[str, Any]) -> list[list[str | None]]:
        """The result of a statement."""
        only(body, "statement!", "bindings!", "parameters!", "timeout!", "warehouse!", "database!", "schema!", "role")
        assert (body["database"], body["schema"], body["warehouse"]) == ("SNOWFLAKE", "ACCOUNT_USAGE", "SMALL")
        assert body["parameters"] == {"timezone": "UTC"}
        match = re.fullmatch(
            rf"SELECT {re.escape(self.statement)} WHERE (\w+) >= {MOMENT} AND \1 <= {MOMENT} ORDER BY \1 ASC",
            body["statement"],
        )
        if match is None or match[1] != self.time:
            raise RefusedError(422, {"code": "001003", "message": "SQL compilation error"})
        bounds = []
        for place in ("1", "2"):
            binding = body["bindings"][place]
            assert binding["type"] == "TEXT"
            assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{6}\+00:00", binding["value"])
            bounds.append(moment(binding["value"]))
        return [list(row.values()) for row in self.between(*bounds, newest_first=False)]

    def entry(self, moment: int, number: int) -> dict[str, Any]:
        """A row, by the names of its columns."""
        return {
            "EVENT_ID": str(number),
            "EVENT_TIMESTAMP": seconds(moment),
            "EVENT_TYPE": "LOGIN",
            "IS_SUCCESS": "YES",
        }

    def number_of(self, entry: dict[str, Any]) -> int:
        assert entry["IS_SUCCESS"] == "YES"
        return int(entry["EVENT_ID"])


class QueryHistoryVendor(LoginHistoryVendor):
    connector = QueryHistory
    statement = "QUERY_ID, SESSION_ID, QUERY_TEXT, USER_NAME, ROLE_NAME, START_TIME, END_TIME FROM QUERY_HISTORY"
    time = "START_TIME"
    columns = {
        "QUERY_ID": "text",
        "SESSION_ID": "fixed",
        "QUERY_TEXT": "text",
        "USER_NAME": "text",
        "ROLE_NAME": "text",
        "START_TIME": "timestamp_ltz",
        "END_TIME": "timestamp_ltz",
    }
    # The first run asks for an hour, and later ones for what fits into two pages again.
    document = {**LoginHistoryVendor.document, "lookback": 600}
    spacing = SECOND
    age = 3500 * SECOND

    def entry(self, moment: int, number: int) -> dict[str, Any]:
        return {
            "QUERY_ID": f"01a-{number}",
            "SESSION_ID": "9007199254740993",
            "QUERY_TEXT": "SELECT 'ü\n'",
            "USER_NAME": "ADA",
            "ROLE_NAME": None,
            "START_TIME": seconds(moment),
            "END_TIME": seconds(moment + 2 * SECOND),
        }

    def number_of(self, entry: dict[str, Any]) -> int:
        assert entry["SESSION_ID"] == 9007199254740993
        assert entry["ROLE_NAME"] is None
        return int(entry["QUERY_ID"].removeprefix("01a-"))


class SessionHistoryVendor(LoginHistoryVendor):
    connector = SessionHistory
    statement = "* FROM SESSIONS"
    time = "CREATED_ON"
    columns = {"SESSION_ID": "fixed", "CREATED_ON": "timestamp_ltz", "USER_NAME": "text", "CLOSED_REASON": "text"}

    def entry(self, moment: int, number: int) -> dict[str, Any]:
        # It ends while the next run is on its way.
        reason = "LOGOUT" if number % 3 and self.results else None
        return {
            "SESSION_ID": str(number),
            "CREATED_ON": seconds(moment),
            "USER_NAME": "ADA",
            "CLOSED_REASON": reason,
        }

    def number_of(self, entry: dict[str, Any]) -> int:
        return int(entry["SESSION_ID"])


def seconds(moment: int) -> str:
    """A moment as the API writes it: seconds, and nine digits."""
    return f"{moment // SECOND}.{moment % SECOND:09}"


def _raw(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
