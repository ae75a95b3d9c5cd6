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
"""

from __future__ import annotations

import base64
import json
import threading
import time
import zlib
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Generic, Literal, TypeVar, get_args
from urllib.parse import parse_qsl, urlencode, urlsplit

from grove.exceptions import RequestFailedException
from grove.models import ConnectorConfig
from grove.testing.practice_connector import NewestFirstConnector, PracticeConnector
from grove.testing.practice_faults import Fault, Reply
from grove.testing.practice_server import Server
from grove.testing.practice_shapes import BEGINNING, SHAPES, Entry, Shape
from grove.testing.practice_truth import Report, compare, read_delivered

__all__ = [
    "TOKEN",
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

Order = Literal["oldest_first", "newest_first"]
Paging = Literal["cursor", "next_link", "offset", "keyset"]
Granularity = Literal["day", "second", "millisecond"]
Ties = Literal["arrival", "shuffled"]
Which = int | Iterable[int] | None
"""Which requests: the n-th from now on, several of them, or (None) every one until `heal()`."""

TOKEN = "practice"
"""What the API accepts unless told otherwise."""

_PATH = "/entries"
_SECOND = 1_000_000
_UNITS = {"day": 86_400 * _SECOND, "second": _SECOND, "millisecond": 1_000}
_QUERY = frozenset({"since", "until", "limit", "cursor", "offset", "after"})

# Where an entry lies: its moment, its place among ties, and the number of its arrival.
_Place = tuple[int, int, int]
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Page:
    """Some entries, in the API's order, and the query that asks for the following ones; None after the last."""

    entries: list[Entry]
    next: dict[str, str] | None


@dataclass(slots=True)
class Request:
    """A request as it came in, and the status it got (0 where none was sent)."""

    number: int
    path: str
    query: dict[str, str]
    headers: dict[str, str] = field(default_factory=dict, repr=False)
    status: int = 0


class _RefusedError(Exception):
    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class _Script(Generic[_T]):
    """What is to happen at which request."""

    def __init__(self) -> None:
        self._at: dict[int, list[_T]] = {}
        self._always: list[_T] = []

    def add(self, which: Which, asked: int, *items: _T) -> None:
        if which is None:
            self._always.extend(items)
            return
        for number in (which,) if isinstance(which, int) else which:
            if number < 1:
                raise ValueError(f"request {number} is over; the next one is number 1")
            self._at.setdefault(asked + number, []).extend(items)

    def take(self, number: int) -> list[_T]:
        return [*self._at.pop(number, ()), *self._always]


class PracticeAPI:
    """The API, its script and its truth. As a context manager it is served on loopback.

    `entries` are ready ones, or how many to generate. `shape` says what they look like (a name in SHAPES, or a Shape)
    and `spacing` how many seconds lie between generated ones; these get a unique `id` unless `ids` is false.
    `granularity` is the unit to which the inclusive filters `since` and `until` are rounded down. `ties` is the order
    of entries with one pointer: as they arrived, or any other. Entries more than `retention` seconds older than the
    newest are not served any more. `clock` (seconds since 1970) shows in headers. `order`, `page_size`, `retention`
    and `token` may be changed at any time; a token of None lets everybody in.
    """

    def __init__(
        self,
        entries: int | Iterable[Entry] = 0,
        *,
        order: Order = "oldest_first",
        paging: Paging = "cursor",
        page_size: int = 100,
        granularity: Granularity = "millisecond",
        shape: str | Shape = "plain",
        spacing: float = 1.0,
        ids: bool = True,
        ties: Ties = "arrival",
        retention: float | None = None,
        token: str | None = TOKEN,
        clock: Callable[[], float] = time.time,
    ) -> None:
        choices = {Order: order, Paging: paging, Granularity: granularity, Ties: ties}
        for kind, choice in choices.items():
            if choice not in get_args(kind):
                raise ValueError(f"{choice!r} is none of {', '.join(get_args(kind))}")
        self.order = order
        self.paging = paging
        self.page_size = page_size
        self.shape = SHAPES[shape] if isinstance(shape, str) else shape
        self.spacing = spacing
        self.retention = retention
        self.token = token
        self.clock = clock
        self.offered: list[Entry] = []
        self.requests: list[Request] = []
        self.served = 0
        """How many entries have been sent, in whole answers."""
        self._ids = ids
        self._shuffled = ties == "shuffled"
        self._unit = _UNITS[granularity]
        self._places: list[_Place] = []
        self._entries: list[Entry] = []  # beside `_places`
        self._by_id: dict[str, _Place] = {}
        self._generated = 0
        # The newest moment, before it was rounded to what the pointers can say.
        self._latest = BEGINNING - round(spacing * _SECOND)
        self._actions = _Script[Callable[[], object]]()
        self._limits = _Script[int]()
        self._changes = _Script[Callable[[Page], Page]]()
        self._faults = _Script[Fault]()
        self._errors: list[Exception] = []
        self._lock = threading.RLock()
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
            new = self._generate(entries, tied, late, at) if isinstance(entries, int) else list(entries)
            for entry in new:
                self._add(entry)
            return new

    def expire(self, count: int) -> None:
        """The source drops its `count` oldest entries, whatever its retention."""
        with self._lock:
            del self._places[:count], self._entries[:count]

    @property
    def available(self) -> list[Entry]:
        """The entries that are still served, oldest first."""
        with self._lock:
            return self._entries[self._retained() :]

    def compare(self, delivered: Iterable[Entry]) -> Report:
        """What was delivered, beside all that was offered and what is still served."""
        with self._lock:
            available = self.available
            return compare(self.offered, delivered, available if len(available) < len(self.offered) else None)

    def _generate(self, count: int, tied: bool, late: float | None, at: Any) -> list[Entry]:
        step, newest = round(self.spacing * _SECOND), self._latest
        entries = []
        for index in range(count):
            if at is not None:
                moment = self.shape.read(at)
            elif late is not None:
                moment = newest - round(late * _SECOND * (count - index) / count)
            else:
                moment = newest if tied else newest + step * (index + 1)
            self._latest = max(self._latest, moment)
            number, self._generated = self._generated, self._generated + 1
            entry = {**self.shape.make(number), self.shape.pointer: self.shape.write(moment)}
            entries.append({"id": f"e-{number:07d}", **entry} if self._ids else entry)
        return entries

    def _newest(self) -> int:
        return self._places[-1][0] if self._places else BEGINNING

    def _add(self, entry: Entry) -> None:
        number = len(self.offered)
        pointer = entry.get(self.shape.pointer)
        moment = self._newest() if pointer is None else self.shape.read(pointer)
        self._latest = max(self._latest, moment)
        place = (moment, zlib.crc32(b"%d" % number) if self._shuffled else 0, number)
        if self.paging == "keyset":
            key = str(entry.get("id"))
            if "id" not in entry or key in self._by_id:
                raise ValueError(f"paging by id needs a unique `id` in every entry, and this has {key}")
            self._by_id[key] = place
        index = bisect_left(self._places, place)
        self._places.insert(index, place)
        self._entries.insert(index, entry)
        self.offered.append(entry)

    # --- the script ---

    def fault(self, which: Which, *faults: Fault) -> None:
        """Let the answers to these requests go wrong: see `grove.testing.practice_faults`."""
        self._faults.add(which, len(self.requests), *faults)

    def before(self, which: Which, action: Callable[[], object]) -> None:
        """Do something when these requests arrive, before they are answered. It may block."""
        self._actions.add(which, len(self.requests), action)

    def short(self, which: Which, rows: int) -> None:
        """At most that many entries (even none) in these pages, although there are more."""
        self._limits.add(which, len(self.requests), rows)

    def alter(self, which: Which, change: Callable[[Page], Page]) -> None:
        """Change these pages: their entries, or where they say the next one is."""
        self._changes.add(which, len(self.requests), change)

    def heal(self) -> None:
        """Forget what is still scripted."""
        self._actions, self._limits, self._changes, self._faults = _Script(), _Script(), _Script(), _Script()

    # --- answers ---

    def page(self, query: Mapping[str, str] | None = None) -> Page:
        """One page, without HTTP. RequestFailedException where a client over HTTP would not get it."""
        request = self._arrive("", dict(query or {}), {})
        try:
            page = self._select(request)
        except _RefusedError as err:
            request.status = err.status
            raise RequestFailedException(f"The practice API answered with status {err.status}: {err}") from err
        faults = self._faults.take(request.number)
        if faults:
            true = self._reply(page, request)
            reply = _disturb(true, faults)
            request.status = 0 if reply.silent else reply.status
            if not reply.whole or reply.status != 200 or reply.body != true.body:
                raise RequestFailedException(f"Scripted, at request {request.number}: status {reply.status}.")
        else:
            request.status = 200
        with self._lock:
            self.served += len(page.entries)
        return page

    def answer(self, target: str, headers: Mapping[str, str]) -> Reply:
        """What is sent for a request over HTTP."""
        path, query = urlsplit(target).path, urlsplit(target).query
        request = self._arrive(path, dict(parse_qsl(query, keep_blank_values=True)), dict(headers))
        entries = 0
        try:
            self._admit(request)
            page = self._select(request)
            reply, entries = self._reply(page, request), len(page.entries)
        except _RefusedError as err:
            reply = self._json(err.status, {"error": str(err)})
        except Exception as err:
            # A scenario's own mistake: shown at the end of the `with`.
            self._errors.append(err)
            reply = self._json(500, {"error": "the scenario is wrong"})
        true = reply.body
        reply = _disturb(reply, self._faults.take(request.number))
        request.status = 0 if reply.silent else reply.status
        if reply.whole and reply.body == true:
            with self._lock:
                self.served += entries
        return reply

    def _arrive(self, path: str, query: dict[str, str], headers: dict[str, str]) -> Request:
        with self._lock:
            request = Request(len(self.requests) + 1, path, query, headers)
            self.requests.append(request)
        return request

    def _admit(self, request: Request) -> None:
        if request.path != _PATH:
            raise _RefusedError(404, f"there is nothing at {request.path}, only at {_PATH}")
        if self.token is not None and request.headers.get("Authorization") != f"Bearer {self.token}":
            raise _RefusedError(401, "the token is not valid")

    def _select(self, request: Request) -> Page:
        for action in self._actions.take(request.number):
            action()
        query = request.query
        if unknown := query.keys() - _QUERY:
            raise _RefusedError(400, f"unknown parameter: {', '.join(sorted(unknown))}")
        limit = min([self._limit(query), *self._limits.take(request.number)])
        with self._lock:
            page = self._slice(query, limit)
        for change in self._changes.take(request.number):
            page = change(page)
        return page

    def _limit(self, query: Mapping[str, str]) -> int:
        limit = query.get("limit", str(self.page_size))
        if not limit.isdecimal() or limit == "0":
            raise _RefusedError(400, "limit has to be a positive number")
        return min(int(limit), self.page_size)

    def _slice(self, query: dict[str, str], limit: int) -> Page:
        newest_first = self.order == "newest_first"
        low = self._bound(query.get("since"), 0) if "since" in query else 0
        low = max(low, self._retained())
        high = self._bound(query["until"], self._unit) if "until" in query else len(self._places)
        if "offset" in query:
            skipped = _number(query["offset"])
            low, high = (low, high - skipped) if newest_first else (low + skipped, high)
        elif (place := self._position(query)) is not None:
            if newest_first:
                high = min(high, bisect_left(self._places, place))
            else:
                low = max(low, bisect_right(self._places, place))
        if newest_first:
            first, last = max(low, high - limit), max(low, high)
            more = first > low
        else:
            first, last = low, max(low, min(high, low + limit))
            more = last < high
        entries = self._entries[first:last]
        end = self._places[first if newest_first else last - 1] if entries else self._position(query)
        if newest_first:
            entries.reverse()
        return Page(entries, self._next(query, len(entries), end, entries) if more else None)

    def _bound(self, text: str | None, extra: int) -> int:
        try:
            moment = self.shape.read(text)
        except (TypeError, ValueError) as err:
            raise _RefusedError(400, f"{text!r} is no time: {err}") from err
        return bisect_left(self._places, (moment - moment % self._unit + extra, -1, -1))

    def _retained(self) -> int:
        if self.retention is None:
            return 0
        oldest = self._newest() - round(self.retention * _SECOND)
        return bisect_left(self._places, (oldest, -1, -1))

    def _position(self, query: Mapping[str, str]) -> _Place | None:
        if "after" in query:
            if query["after"] not in self._by_id:
                raise _RefusedError(400, f"there is no entry with the id {query['after']}")
            return self._by_id[query["after"]]
        return _open_cursor(query["cursor"]) if "cursor" in query else None

    def _next(self, query: dict[str, str], count: int, end: _Place | None, entries: list[Entry]) -> dict[str, str]:
        if self.paging == "offset":
            return {**query, "offset": str(_number(query.get("offset", "0")) + count)}
        if self.paging == "keyset":
            return {**query, "after": str(entries[-1]["id"])} if entries else query
        return {**query, "cursor": _cursor(end)}

    def _reply(self, page: Page, request: Request) -> Reply:
        body: dict[str, Any] = {"entries": page.entries}
        following = page.next
        if self.paging == "cursor":
            body["next_cursor"] = following and following.get("cursor")
        elif self.paging == "offset":
            body["next_offset"] = following and _number(following.get("offset", "0"))
        elif self.paging == "keyset":
            body["has_more"] = following is not None
        else:
            link = following and f"{self.url if self._server else _PATH}?{urlencode(following)}"
            body["next"] = link
            if link:
                return self._json(200, body, {"Link": f'<{link}>; rel="next"'})
        return self._json(200, body)

    def _json(self, status: int, body: Any, headers: Mapping[str, str] | None = None) -> Reply:
        try:
            data = json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode()
        except UnicodeEncodeError:
            # Half of a surrogate pair has no UTF-8, but an escape.
            data = json.dumps(body, separators=(",", ":")).encode()
        return Reply(status, {"Content-Type": "application/json", **(headers or {})}, data, now=self.clock())

    # --- serving and collecting ---

    @property
    def url(self) -> str:
        """Where the entries are; only inside of the `with`."""
        if self._server is None:
            raise RuntimeError("The practice API is not served: enter it with `with PracticeAPI(...) as api:`.")
        return self._server.url + _PATH

    def document(self, **fields: Any) -> ConnectorConfig:
        """A stream's document for this API, with `fields` over what it needs."""
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
        self._server = Server(self.answer, lambda: self.clock())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, err: BaseException | None, trace: TracebackType | None
    ) -> None:
        server, self._server = self._server, None
        if server is not None:
            server.close()
        if self._errors and err is None:
            raise self._errors[0]


def _disturb(reply: Reply, faults: Iterable[Fault]) -> Reply:
    for fault in faults:
        reply = fault(reply)
    return reply


def _number(text: str) -> int:
    if not text.isdecimal():
        raise _RefusedError(400, f"{text!r} is no number")
    return int(text)


def _cursor(place: _Place | None) -> str:
    return base64.urlsafe_b64encode(json.dumps(place).encode()).decode()


def _open_cursor(text: str) -> _Place | None:
    try:
        place = json.loads(base64.urlsafe_b64decode(text))
        return None if place is None else (int(place[0]), int(place[1]), int(place[2]))
    except (LookupError, TypeError, ValueError) as err:
        raise _RefusedError(400, "the cursor is not one of ours") from err
