"""What the streams of Salesforce have in common: signing in, SOQL, and how it says that it has had enough.

https://developer.salesforce.com/docs/atlas.en-us.api_rest.meta/api_rest/resources_query.htm and
https://developer.salesforce.com/docs/atlas.en-us.api_rest.meta/api_rest/errorcodes.htm
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, ClassVar

from pydantic import Field

from grove.connectors.rest import CHRONOLOGICAL, REVERSE_CHRONOLOGICAL, Link, RateLimited, RestConnector, Source, times
from grove.connectors.rest.paging import search
from grove.connectors.rest.templates import fill
from grove.connectors.sf._login import AppLogin, UserLogin
from grove.exceptions import ConfigurationException, RequestFailedException
from grove.http import Auth

_LOGIN = "https://login.salesforce.com"
_POINTER = "%Y-%m-%dT%H:%M:%S.%f+0000"
# A query that took too long is a 400, and an org that was asked too often a 403.
_BUSY = "[?errorCode == 'REQUEST_LIMIT_EXCEEDED' || errorCode == 'QUERY_TIMEOUT' || errorCode == 'SERVER_UNAVAILABLE']"
# An object or a field that the org or the user does not have.
_LACKING = (400, 403, 404)


def source(soql: str, **facts: Any) -> Source:
    """What `soql` finds, up to 2,000 records a page. The address of the org comes with the credentials."""
    return Source(
        url="services/data/v{api_version}/query",
        params={"q": soql},
        paging=Link(path="nextRecordsUrl"),
        entries="records",
        time_format="iso_ms",
        pointer_format=_POINTER,
        **facts,
    )


class SalesforceConnector(RestConnector):
    """Fields and credentials that every stream of Salesforce has."""

    LOG_ORDER = CHRONOLOGICAL
    STREAM_FIELDS: ClassVar[tuple[str, ...]] = ("instance_url",)

    NEEDS: ClassVar[str]
    """What an org and a user need to have this log, as the end of a sentence."""

    class Configuration(RestConnector.Configuration):
        """`identity` is any name for the org, where an app signs in by `client_id` and `client_secret`.

        That is an external client app with the client credentials flow (Setup, External Client App Manager), acting as
        a user who may see the log. Without an app a user signs in: `identity` is the name, `key` the password and
        `token` the security token. Salesforce ends that in Summer '27.
        """

        instance_url: str = Field(
            "",
            pattern=r"^(https?://[A-Za-z0-9.-]+(:\d+)?/*)?$",
            description="The org's address (My Domain), such as https://example.my.salesforce.com. An app needs it.",
        )
        client_id: str = Field("", description="The app's consumer key.")
        client_secret: str = Field("", repr=False, description="The app's consumer secret.")
        token: str = Field("", repr=False, description="The security token of a user who signs in.")
        api_version: str = Field("64.0", pattern=r"^\d+\.\d$", description="The version of the API, 37.0 at least.")
        max_retries: int = Field(3, ge=0, description="How often a request is repeated that was too much for it.")
        retry_delay: float = Field(
            1,
            gt=0,
            allow_inf_nan=False,
            description="Seconds until then, where there were too many requests.",
        )

    def collect(self) -> None:
        """Collect, and say what is missing where Salesforce does not have this log."""
        try:
            self._collect()
        except RequestFailedException as err:
            if err.status not in _LACKING:
                raise
            raise RequestFailedException(f"{err} This log needs {self.NEEDS}.", status=err.status) from err

    def _collect(self) -> None:
        super().collect()

    def source(self) -> Source:
        """What the stream's API is like, asked as often as the document says."""
        limit = RateLimited(when=_BUSY, default=self.fields.retry_delay)
        return self.SOURCE.model_copy(update={"attempts": 1 + self.fields.max_retries, "rate_limit": limit})

    @classmethod
    def credentials(cls, document: Mapping[str, Any]) -> list[set[str]]:
        """Those of an app, or of a user."""
        return [{"client_id", "client_secret"}, {"identity", "key", "token"}]

    def _credentials(self, source: Source) -> Auth:
        fields = self.fields
        instance = fields.instance_url.rstrip("/")
        if fields.client_id and fields.client_secret:
            return AppLogin(instance or _LOGIN, fields.client_id, fields.client_secret, instance)
        if self.key and fields.token:
            return UserLogin(instance or _LOGIN, self.identity, self.key, fields.token)
        raise ConfigurationException(
            f"The configuration document {self.name!r} has no credentials. It needs client_id, client_secret; or "
            "identity, key, token."
        )


class SoqlConnector(SalesforceConnector):
    """A stream whose records are its entries."""

    class Configuration(SalesforceConnector.Configuration):
        """The fields of a configuration document."""

        start_date: str = Field("", description="Where the first run begins (ISO 8601), in place of seven days ago.")

    def _beginning(self, source: Source, now: int) -> int:
        start = self._start() if self.past is None else None
        return super()._beginning(source, now) if start is None else start

    def _start(self) -> int | None:
        text = self.fields.start_date
        if not text:
            return None
        try:
            moment = datetime.fromisoformat(text)
        except ValueError:
            self.logger.warning(
                "The field `start_date` is no date of ISO 8601; the first run begins as if it were not there.",
                extra={"event": "start_date_ignored", "start_date": text},
            )
            return None
        return times.nanoseconds(moment if moment.tzinfo else moment.replace(tzinfo=UTC))


class DescribedConnector(SoqlConnector):
    """A stream of an object of which only the org itself says what can be asked of it.

    Some of these are big objects, which give what they have in the order of their index: the newest first, or in no
    order of time at all. The pointer then stays where it is until all of it has been collected.
    """

    OBJECT: ClassVar[str]
    """The object's name, with fields of the document in braces."""

    _columns = ""
    _order = ""

    def variables(self) -> dict[str, Any]:
        """The object's `columns`, and the `order` that it can be asked for."""
        return {"columns": self._columns, "order": self._order}

    def _collect(self) -> None:
        name = fill(self.OBJECT, self._document_values())
        answer = self._client(self.source()).get(f"services/data/v{self.fields.api_version}/sobjects/{name}/describe")
        sortable = {str(field): bool(can) for field, can in search("fields[].[name, sortable]", answer.json()) or []}
        if self.POINTER_PATH not in sortable:
            raise RequestFailedException(f"Salesforce describes {name} without the field {self.POINTER_PATH}.")
        self._columns = ", ".join(sortable)
        if sortable[self.POINTER_PATH]:
            self._order = f" ORDER BY {self.POINTER_PATH} ASC"
        else:
            self.LOG_ORDER = REVERSE_CHRONOLOGICAL
        super()._collect()
