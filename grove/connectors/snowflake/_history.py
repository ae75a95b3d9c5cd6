"""What the histories of Snowflake have in common: https://docs.snowflake.com/en/developer-guide/sql-api/reference"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar
from urllib.parse import quote

from pydantic import Field

from grove.connectors._query_jobs import Part, QueryJobConnector
from grove.connectors.rest import CHRONOLOGICAL, DAY, RestConnector, Source
from grove.connectors.rest.paging import Page, Request
from grove.connectors.snowflake._rows import entries
from grove.exceptions import RequestFailedException
from grove.http import Auth, Response, SignedJwt, next_link

_WRITTEN = "%Y-%m-%d %H:%M:%S.%f+00:00"
_MOMENT = "TO_TIMESTAMP_TZ(?, 'YYYY-MM-DD HH24:MI:SS.FF6TZH:TZM')"
_RUNNING = 202


def source(columns: str, view: str, time: str, **facts: Any) -> Source:
    """The rows of a view of ACCOUNT_USAGE, by the column `time`."""
    return Source(
        url="https://{host}.snowflakecomputing.com/api/v2/statements",
        method="POST",
        headers={"X-Snowflake-Authorization-Token-Type": "KEYPAIR_JWT"},
        body={
            "statement": (
                f"SELECT {columns} FROM {view} WHERE {time} >= {_MOMENT} AND {time} <= {_MOMENT} ORDER BY {time} ASC"
            ),
            "bindings": {"1": {"type": "TEXT", "value": "{since}"}, "2": {"type": "TEXT", "value": "{until}"}},
            "parameters": {"timezone": "UTC"},
            "timeout": int(HistoryConnector.PATIENCE),
            "warehouse": "{warehouse}",
            "role": "{role}",
            "database": "{database}",
            "schema": "{schema_}",
        },
        time_format=_WRITTEN,
        retention=365 * DAY,
        **facts,
    )


class HistoryConnector(QueryJobConnector):
    """Fields and credentials that every history has."""

    LOG_ORDER = CHRONOLOGICAL
    EXTRA = "snowflake"
    STREAM_FIELDS: ClassVar[tuple[str, ...]] = ("account", "database", "schema")

    class Configuration(RestConnector.Configuration):
        """`identity` is the name of a user with a warehouse and imported privileges on the database SNOWFLAKE.

        `key` is a private key (RSA, PKCS #8 in PEM), of which the user has the public one (ALTER USER, RSA_PUBLIC_KEY).
        Signing needs the extra `snowflake`.
        """

        account: str = Field(
            pattern=r"^[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*$",
            description="The account's identifier, such as EXAMPLE-PROD or xy12345.eu-central-1.",
        )
        passphrase: str = Field("", repr=False, description="The passphrase of an encrypted private key.")
        warehouse: str = Field("", description="The warehouse; the user's own, where not said.")
        role: str = Field("", description="The role; the user's own, where not said.")
        database: str = Field("SNOWFLAKE", min_length=1, description="The database with the views.")
        schema_: str = Field("ACCOUNT_USAGE", min_length=1, description="Where the views are in it.")
        batch_size: int = Field(1000, ge=1, description="Rows that are saved at once.")

    _columns: list[dict[str, Any]]
    _parts = 1

    def variables(self) -> dict[str, Any]:
        """The `host`, and what is the user's own where it is None."""
        fields = self.fields
        # Names of accounts may have underscores, those of hosts have hyphens in their place.
        host = fields.account.replace("_", "-").lower()
        return {"host": host, "warehouse": fields.warehouse or None, "role": fields.role or None}

    def unfinished(self, request: Request, response: Response) -> Request | None:
        """Where to ask for the status of a statement that takes longer than 45 seconds."""
        if response.status != _RUNNING:
            return None
        url = _found(response, "statementStatusUrl")
        return Request("GET", next_link(response.url, str(url)), headers=request.headers)

    def part(self, request: Request, response: Response) -> Part:
        """One partition of the result: the first comes with its description, and says how many there are."""
        number = int(request.params.get("partition", 0))
        address = request.url
        if not number:
            described = _found(response, "resultSetMetaData")
            self._columns = described["rowType"]
            self._parts = len(described.get("partitionInfo") or ()) or 1
            handle = quote(str(_found(response, "statementHandle")), safe="")
            address = next_link(response.url, f"/api/v2/statements/{handle}")
        following = None
        if number + 1 < self._parts:
            following = Request("GET", address, {"partition": number + 1}, headers=request.headers)
        return Part(entries(_found(response, "data"), self._columns), following)

    def _save_page(self, page: Page) -> None:
        size = self.fields.batch_size
        for start in range(0, len(page.entries), size):
            self.save(page.entries[start : start + size])

    @classmethod
    def credentials(cls, document: Mapping[str, Any]) -> list[set[str]]:
        """A key, which may have a passphrase."""
        return [{"key"}]

    def _credentials(self, source: Source) -> Auth:
        fields = self.fields
        return SignedJwt.snowflake(fields.account, self.identity, self.key, fields.passphrase)


def _found(response: Response, name: str) -> Any:
    answer = response.json()
    if not isinstance(answer, dict) or name not in answer:
        raise RequestFailedException(f"Snowflake answered without {name!r}: {response.excerpt()}")
    return answer[name]
