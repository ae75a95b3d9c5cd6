"""A log API to practise on: it pages, filters and fails as real ones do, and keeps the truth.

    with PracticeAPI(1_000, order="newest_first", page_size=100) as api:
        api.fault(3, status(503))                       # the third request from now on
        api.before(5, lambda: api.offer(2, tied=True))  # entries that arrive in the middle
        connector = api.connector(cache=cache, output=output)
        connector.run()                                 # fails at the third page
        connector.run()
    report = api.compare(read_delivered(folder))
    assert report.exact, report

`GET {url}?since=&until=&limit=` with `Authorization: Bearer {token}` answers `{"entries": [...]}` and where the next
page is. Without the `with` there is no server: `page()` answers in this process, thousands of times a second, and
`connector()` asks it that way.

| what                                                | where                |
|-----------------------------------------------------|----------------------|
| entries: what they look like                        | `practice_shapes`    |
| entries: new, tied, late, withdrawn, expired        | `practice_feed`      |
| filters, order, paging, cursors                     | `practice_pages`     |
| what happens at which request                       | `practice_script`    |
| an answer that does not come, or not whole; limits  | `practice_faults`    |
| an answer that is not what it should be             | `practice_bodies`    |
| tokens                                              | `practice_access`    |
| sockets                                             | `practice_server`    |
| documents and a connector that collect from it      | `practice_documents`, `practice_connector` |
| what was delivered, beside what was offered         | `practice_truth`     |
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Mapping
from types import TracebackType
from typing import Any, Literal, get_args
from urllib.parse import parse_qsl, urlencode, urlsplit

from grove.exceptions import RequestFailedException
from grove.models import ConnectorConfig
from grove.testing.practice_access import TOKEN, TOKEN_PATH, Access
from grove.testing.practice_bodies import encoded
from grove.testing.practice_connector import NewestFirstConnector, PracticeConnector
from grove.testing.practice_faults import JSON, Fault, Reply
from grove.testing.practice_feed import SECOND, Feed
from grove.testing.practice_pages import Filters, Granularity, Order, Page, Pages, Paging, RefusedError, natural
from grove.testing.practice_script import Request, Script, Which
from grove.testing.practice_server import Server
from grove.testing.practice_shapes import BEGINNING, SHAPES, Entry, Shape
from grove.testing.practice_truth import Report, compare, read_delivered

__all__ = [
    "TOKEN",
    "Filters",
    "Granularity",
    "NewestFirstConnector",
    "Order",
    "Page",
    "Paging",
    "PracticeAPI",
    "PracticeConnector",
    "Report",
    "Request",
    "Ties",
    "Which",
    "compare",
    "read_delivered",
]

Ties = Literal["arrival", "shuffled"]

_PATH = "/entries"


class PracticeAPI(Script):
    """The API, its script and its truth. As a context manager it is served on loopback, at `port` (0: a free one).

    `entries` are ready ones, or how many to generate. `shape` says what they look like (a name in SHAPES, or a Shape),
    `beginning` when the first generated one happened (seconds since 1970) and `spacing` how many seconds lie between
    two; these get a unique `id` unless `ids` is false. `granularity` is the unit to which the filters `since` and
    `until` are rounded down; `filters` says whether they include what lies exactly there. `ties` is the order of
    entries with one pointer: as they arrived, or any other. Entries more than `retention` seconds older than the
    newest are not served any more. `clock` (seconds since 1970) shows in headers. A `token` of None lets everybody in;
    with a `client` (its id and secret), `token_url` issues tokens for `token_lifetime` seconds. `order`, `page_size`,
    `retention`, `clock` and `token` may be changed at any time.
    """

    def __init__(
        self,
        entries: int | Iterable[Entry] = 0,
        *,
        order: Order = "oldest_first",
        paging: Paging = "cursor",
        page_size: int = 100,
        granularity: Granularity = "millisecond",
        filters: Filters = "inclusive",
        shape: str | Shape = "plain",
        beginning: float = BEGINNING / SECOND,
        spacing: float = 1.0,
        ids: bool = True,
        ties: Ties = "arrival",
        retention: float | None = None,
        token: str | None = TOKEN,
        client: tuple[str, str] | None = None,
        token_lifetime: float = 3600.0,
        clock: Callable[[], float] = time.time,
        port: int = 0,
    ) -> None:
        choices = {Order: order, Paging: paging, Granularity: granularity, Filters: filters, Ties: ties}
        for kind, choice in choices.items():
            if choice not in get_args(kind):
                raise ValueError(f"{choice!r} is none of {', '.join(get_args(kind))}")
        super().__init__()
        self.order = order
        self.paging = paging
        self.granularity = granularity
        self.filters = filters
        self.page_size = page_size
        self.shape = SHAPES[shape] if isinstance(shape, str) else shape
        self.clock = clock
        self.served = 0
        """How many entries have been sent, in whole answers."""
        self._feed = Feed(
            self.shape,
            round(beginning * SECOND),
            spacing,
            ids=ids,
            shuffled=ties == "shuffled",
            by_id=paging == "keyset",
        )
        self._feed.retention = retention
        self._pages = Pages(self._feed, paging, granularity, filters)
        self._access = Access(token, client, token_lifetime)
        self._errors: list[Exception] = []
        self._lock = threading.RLock()
        self._port = port
        self._server: Server | None = None
        self.offer(entries)

    # --- entries ---

    def offer(
        self, entries: int | Iterable[Entry] = 1, *, tied: bool = False, late: float | None = None, at: Any = None
    ) -> list[Entry]:
        """More entries, from the next request on; returns them.

        A number of them is generated: newer than all others, `spacing` apart; `tied` with the newest one; spread
        over the `late` seconds before it; or all `at` a time, written as in an entry. Ready ones are taken as they
        are: their pointer says when they happened (one without a pointer lies beside the newest). ValueError for an
        `id` that is not unique where pages are asked for by it.
        """
        with self._lock:
            return self._feed.offer(entries, tied=tied, late=late, at=at)

    def expire(self, count: int) -> None:
        """The source drops its `count` oldest entries, whatever its retention."""
        with self._lock:
            self._feed.expire(count)

    def withdraw(self, entries: Iterable[Entry]) -> None:
        """The source drops these very entries; ValueError where it does not have one."""
        with self._lock:
            self._feed.withdraw(entries)

    @property
    def offered(self) -> list[Entry]:
        """Every entry that was ever offered, in the order of arrival."""
        return self._feed.offered

    @property
    def available(self) -> list[Entry]:
        """The entries that are still served, oldest first."""
        with self._lock:
            return self._feed.entries[self._feed.retained() :]

    def compare(self, delivered: Iterable[Entry]) -> Report:
        """What was delivered, beside all that was offered and what is still served."""
        with self._lock:
            available = self.available
            return compare(self.offered, delivered, available if len(available) < len(self.offered) else None)

    @property
    def oldest(self) -> float | None:
        """When the oldest entry that is still served happened, in seconds since 1970; None where there is none."""
        with self._lock:
            places = self._feed.places[self._feed.retained() :]
            return places[0][0] / SECOND if places else None

    @property
    def spacing(self) -> float:
        """Seconds between two generated entries."""
        return self._feed.spacing

    @property
    def retention(self) -> float | None:
        """Seconds before the newest entry in which entries are served; None for ever."""
        return self._feed.retention

    @retention.setter
    def retention(self, seconds: float | None) -> None:
        self._feed.retention = seconds

    # --- who is let in ---

    @property
    def token(self) -> str | None:
        """A token that is always in force; None lets everybody in."""
        return self._access.token

    @token.setter
    def token(self, token: str | None) -> None:
        self._access.token = token

    @property
    def client(self) -> tuple[str, str] | None:
        """The id and the secret with which `token_url` issues tokens."""
        return self._access.client

    @property
    def tokens_issued(self) -> int:
        """How many tokens were asked for at `token_url`."""
        return self._access.issued

    def revoke(self) -> None:
        """The token that was issued is no good any longer, although its time is not over."""
        self._access.revoke()

    def expire_cursors(self, status: int = 410) -> None:
        """Cursors given so far are refused, with this status."""
        self._pages.expire_cursors(status)

    # --- answers ---

    def page(self, query: Mapping[str, str] | None = None) -> Page:
        """One page, without HTTP. RequestFailedException where a client over HTTP would not get it."""
        with self._lock:
            request = self._arrive("", dict(query or {}), {})
        try:
            page = self._select(request)
        except RefusedError as err:
            request.status = err.status
            raise RequestFailedException(f"The practice API answered with status {err.status}: {err}") from err
        faults = self._disturbances(request)
        if faults:
            true = self._reply(page)
            reply = _disturbed(true, faults)
            request.status = 0 if reply.silent or reply.raw is not None else reply.status
            if not reply.whole or reply.status != 200 or reply.body != true.body:
                raise RequestFailedException(f"Scripted, at request {request.number}: status {reply.status}.")
        else:
            request.status = 200
        with self._lock:
            self.served += len(page.entries)
        return page

    def answer(self, target: str, headers: Mapping[str, str], form: bytes | None = None) -> Reply:
        """What is sent for a request over HTTP: a GET, or a POST of a `form`."""
        path, query = urlsplit(target).path, urlsplit(target).query
        if form is not None and path == TOKEN_PATH:
            return self._issue(form)
        with self._lock:
            request = self._arrive(path, dict(parse_qsl(query, keep_blank_values=True)), headers)
        try:
            true, entries = self._true_answer(request, posted=form is not None)
            reply = _disturbed(true, self._disturbances(request))
        except Exception as err:
            # A scenario's own mistake: shown at the end of the `with`.
            self._errors.append(err)
            true = reply = self._json(500, {"error": "the scenario is wrong"})
            entries = 0
        request.status = 0 if reply.silent or reply.raw is not None else reply.status
        if reply.whole and reply.body == true.body:
            with self._lock:
                self.served += entries
        return reply

    def _true_answer(self, request: Request, posted: bool) -> tuple[Reply, int]:
        """What is sent where nothing goes wrong, and how many entries are in it."""
        try:
            if request.path != _PATH or posted:
                raise RefusedError(404, f"there is nothing at {request.path}; GET {_PATH}")
            self._access.admit(request.headers, self.clock())
            page = self._select(request)
        except RefusedError as err:
            return self._json(err.status, {"error": str(err)}), 0
        return self._reply(page), len(page.entries)

    def _issue(self, form: bytes) -> Reply:
        fields = dict(parse_qsl(form.decode("ascii", "replace")))
        try:
            with self._lock:
                return self._json(200, self._access.issue(fields, self.clock()))
        except RefusedError as err:
            return self._json(err.status, {"error": str(err)})

    def _select(self, request: Request) -> Page:
        self._act(request)
        limit = request.query.get("limit", str(self.page_size))
        if natural(limit) == 0:
            raise RefusedError(400, "limit has to be a positive number")
        with self._lock:
            rows, overlap = self._limited(request, min(int(limit), self.page_size), self.page_size)
            page = self._pages.page(request.query, self.order, rows, overlap)
            return self._altered(request, page)

    def _reply(self, page: Page) -> Reply:
        body: dict[str, Any] = {"entries": page.entries}
        following = page.next
        if self.paging == "cursor":
            body["next_cursor"] = following and following.get("cursor")
        elif self.paging == "offset":
            body["next_offset"] = following and natural(following.get("offset", "0"))
        elif self.paging == "keyset":
            body["has_more"] = following is not None
        else:
            link = following and f"{self.url if self._server else _PATH}?{urlencode(following)}"
            body["next"] = link
            if link:
                return self._json(200, body, {"Link": f'<{link}>; rel="next"'})
        return self._json(200, body)

    def _json(self, status: int, body: Any, headers: Mapping[str, str] | None = None) -> Reply:
        return Reply(status, {"Content-Type": JSON, **(headers or {})}, encoded(body), now=self.clock())

    # --- serving and collecting ---

    @property
    def url(self) -> str:
        """Where the entries are; only inside of the `with`."""
        return self._at(_PATH)

    @property
    def token_url(self) -> str:
        """Where tokens are issued; only inside of the `with`."""
        return self._at(TOKEN_PATH)

    def _at(self, path: str) -> str:
        if self._server is None:
            raise RuntimeError("The practice API is not served: enter it with `with PracticeAPI(...) as api:`.")
        return self._server.url + path

    def document(self, **fields: Any) -> ConnectorConfig:
        """A document for `PracticeConnector` and this API, with `fields` over what it needs."""
        needed: dict[str, Any] = {
            "name": "practice",
            "identity": "practice",
            "connector": PracticeConnector.CONNECTOR,
            "key": self.token or "",
            "pointer_path": self.shape.path,
            "outputs": {"logs": "raw"},
        }
        if self._server is not None:
            needed["url"] = self.url
        return ConnectorConfig(**{**needed, **fields})

    def connector(self, cache: Any = None, output: Any = None, **fields: Any) -> PracticeConnector:
        """A connector for this API in its order; `fields` go to the document. Over HTTP inside of the `with`."""
        cls = NewestFirstConnector if self.order == "newest_first" else PracticeConnector
        made = cls(self.document(**fields), {"runtime": "practice"}, cache=cache, output=output)
        if self._server is None:
            made.api = self
        return made

    def __enter__(self) -> PracticeAPI:
        self._server = Server(self.answer, lambda: self.clock(), self._port)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, err: BaseException | None, trace: TracebackType | None
    ) -> None:
        server, self._server = self._server, None
        if server is not None:
            server.close()
        if self._errors and err is None:
            raise self._errors[0]


def _disturbed(reply: Reply, faults: Iterable[Fault]) -> Reply:
    for fault in faults:
        reply = fault(reply)
    return reply
