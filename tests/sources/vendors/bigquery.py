"""BigQuery: queries that become jobs, results in pages, rows without names."""

import base64
import json
import re
from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding

from grove.connectors.google.bigquery_query import Connector
from grove.connectors.rest import times

from ..vendor import NOW, SECOND, TOKEN, WRONG, Answered, Asked, RefusedError, Vendor, moment, only
from .gsuite import KEY, PEM

QUERIES = "/bigquery/v2/projects/example-project/queries"
SCHEMA = [
    {
        "name": "gmail",
        "type": "RECORD",
        "fields": [
            {
                "name": "event_info",
                "type": "RECORD",
                "fields": [
                    {"name": "timestamp_usec", "type": "INTEGER"},
                    {"name": "success", "type": "BOOLEAN"},
                ],
            },
            {"name": "number", "type": "INTEGER"},
            {"name": "links", "type": "STRING", "mode": "REPEATED"},
            {"name": "size", "type": "FLOAT"},
        ],
    },
    {"name": "seen", "type": "TIMESTAMP"},
]


class BigQueryVendor(Vendor):
    connector = Connector
    granularity = SECOND // 1_000_000
    unfinished = 0
    """How often a job has to be asked for until it is done."""

    def __init__(self) -> None:
        self.jobs: dict[str, list[Any]] = {}
        self.statements: list[str] = []
        super().__init__()
        account = {"client_email": "grove@example.iam", "private_key": PEM, "token_uri": f"{self.url}/token"}
        other = {**account, "client_email": "other@example.iam", "client_secret": WRONG}
        self.wrong = {"key": json.dumps(other)}  # type: ignore[misc]
        self.document = {  # type: ignore[misc]
            "key": json.dumps(account),
            "project_id": "example-project",
            "dataset_name": "workspace_logs",
            "table_name": "activity",
            "columns": ["gmail", "seen"],
            "pointer_path": "gmail.event_info.timestamp_usec",
            "page_size": 1000,
        }

    def token(self, asked: Asked) -> Answered | None:
        if asked.path != "/token":
            return None
        head, claims, signature = asked.form["assertion"].split(".")
        KEY.public_key().verify(_raw(signature), f"{head}.{claims}".encode(), padding.PKCS1v15(), hashes.SHA256())
        said = json.loads(_raw(claims))
        assert "sub" not in said
        assert said["scope"] == "https://www.googleapis.com/auth/bigquery"
        if said["iss"] != "grove@example.iam":
            raise RefusedError(400, {"error": "invalid_grant"})
        return Answered({"access_token": TOKEN, "expires_in": 3600})

    def limited(self, seconds: int) -> Answered:
        error = {"code": 403, "errors": [{"reason": "jobRateLimitExceeded"}]}
        return Answered({"error": error}, 403, {"Retry-After": str(seconds)})

    def answer(self, asked: Asked) -> Answered:
        if asked.method == "POST":
            assert asked.path == QUERIES
            job = f"job_{len(self.jobs)}"
            self.jobs[job] = self.rows(asked.body)
            return self.result(job, None, asked.body["maxResults"])
        only(asked.query, "pageToken", "maxResults!", "location!", "formatOptions.useInt64Timestamp!")
        assert asked.query["location"] == "EU"
        assert asked.query["formatOptions.useInt64Timestamp"] == "true"
        self.unfinished = max(0, self.unfinished - 1)
        job = asked.path.removeprefix(f"{QUERIES}/")
        return self.result(job, asked.query.get("pageToken"), int(asked.query["maxResults"]))

    def result(self, job: str, place: str | None, size: int) -> Answered:
        named = {"jobReference": {"projectId": "example-project", "jobId": job, "location": "EU"}}
        if self.unfinished:
            return Answered({"jobComplete": False, **named})
        found = self.jobs[job]
        part = self.part(found, place, size)
        more = {"pageToken": part.next} if part.more else {}
        rows = {"rows": part.entries} if part.entries else {}
        described = {"schema": {"fields": SCHEMA}, "totalRows": str(len(found))}
        return Answered({"jobComplete": True, **named, **described, **rows, **more})

    def rows(self, body: dict[str, Any]) -> list[Any]:
        """The result of a query."""
        only(
            body,
            *("query!", "useLegacySql!", "useQueryCache!", "parameterMode!", "queryParameters!", "maxResults!"),
            *("timeoutMs!", "requestId!", "formatOptions!", "location"),
        )
        assert (body["useLegacySql"], body["useQueryCache"], body["parameterMode"]) == (False, False, "NAMED")
        assert body["formatOptions"] == {"useInt64Timestamp": True}
        self.statements.append(body["query"])
        match = re.fullmatch(
            r"SELECT (.+) FROM `example-project\.workspace_logs\.activity` WHERE (?:_PARTITIONDATE >= DATE "
            r"'(\d{4}-\d\d-\d\d)' AND )?(\S+) >= @low AND \3 <= @high ORDER BY \3 ASC LIMIT (\d+)",
            body["query"],
        )
        if match is None:
            raise RefusedError(400, {"error": {"code": 400, "errors": [{"reason": "invalidQuery"}]}})
        kind = "TIMESTAMP" if match[3] == "`seen`" else "INT64"
        bounds = {}
        for parameter in body["queryParameters"]:
            assert parameter["parameterType"] == {"type": kind}
            assert isinstance(parameter["parameterValue"]["value"], str)
            bounds[parameter["name"]] = moment(parameter["parameterValue"]["value"])
        low = max(bounds["low"], moment(f"{match[2]}T00:00:00Z") if match[2] else 0)
        assert bounds["high"] <= times.nanoseconds(NOW) - 180 * SECOND
        found = [place for place in self.entries if low <= place[0] <= bounds["high"]]
        # What is of one time is in another order each time.
        turn = -1 if len(self.jobs) % 2 else 1
        found.sort(key=lambda place: (place[0], turn * place[1]))
        return [self.row(*place) for place in found[: int(match[4])]]

    def row(self, moment: int, number: int) -> dict[str, Any]:
        """As the API gives it."""
        micros = str(moment // 1000)
        info = {"f": [{"v": micros}, {"v": "true"}]}
        links = [{"v": "a"}, {"v": "b"}] if number % 2 else []
        size = "0.5" if number % 3 else None
        gmail = {"f": [{"v": info}, {"v": str(number)}, {"v": links}, {"v": size}]}
        return {"f": [{"v": gmail}, {"v": micros}]}

    def number_of(self, entry: dict[str, Any]) -> int:
        number = entry["gmail"]["number"]
        assert entry["gmail"]["event_info"]["success"] is True
        assert entry["gmail"]["links"] == (["a", "b"] if number % 2 else [])
        assert entry["gmail"]["size"] == (0.5 if number % 3 else None)
        assert entry["seen"].endswith("+00:00")
        return int(number)


def _raw(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
