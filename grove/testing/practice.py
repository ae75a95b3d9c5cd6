"""A log API on loopback to practise on: it pages, filters and fails as real ones do, and keeps the truth.

    with PracticeAPI(okta_entries(1_000), newest_first=True) as api:
        api.fail(503, after=2)
        ...  # collect from api.url, then compare(api.offered, read_delivered(folder))

`GET /events?since=…&limit=…` with `Authorization: Bearer practice` answers `{"entries": […], "next_cursor": …}`, or
with a `Link` header to the next page. `since` is inclusive, and no finer than the API's granularity.
"""

from __future__ import annotations

import base64
import binascii
import gzip
import json
import threading
import time
from bisect import bisect_left, insort
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any, Literal
from urllib.parse import parse_qsl, urlencode, urlsplit

import orjson
import requests

from grove._core import rank
from grove.connectors import BaseConnector
from grove.constants import CHRONOLOGICAL, REVERSE_CHRONOLOGICAL
from grove.exceptions import NotFoundException, RateLimitException, RequestFailedException

__all__ = [
    "Fault",
    "NewestFirstConnector",
    "PracticeAPI",
    "PracticeConnector",
    "Report",
    "compare",
    "read_delivered",
]

TOKEN = "practice"
GRANULARITY = {"millisecond": 10**6, "second": 10**9, "day": 86_400 * 10**9}
BEGINNING = "1970-01-01T00:00:00.000Z"


@dataclass(frozen=True, slots=True)
class Fault:
    """What to do instead of answering: a status with headers, or a broken connection.

    `reset` closes the connection without an answer; `truncate` after that many bytes of the real one; `delay` waits
    that many seconds first.
    """

    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | None = None
    reset: bool = False
    truncate: int | None = None
    delay: float = 0.0


class PracticeAPI:
    """The API and its truth. A context manager: the server listens on a free port of loopback inside of it.

    `time_field` is the entries' own time, ISO 8601. `page()` answers without a server, for tests that need thousands.
    """

    def __init__(
        self,
        entries: Iterable[dict[str, Any]] = (),
        *,
        newest_first: bool = False,
        page_size: int = 100,
        paging: Literal["cursor", "next_link"] = "cursor",
        granularity: Literal["millisecond", "second", "day"] = "millisecond",
        time_field: str = "published",
    ) -> None:
        self.newest_first = newest_first
        self.page_size = page_size
        self.paging = paging
        self.time_field = time_field
        self.requests: list[dict[str, str]] = []
        self.on_request: Callable[[int], None] | None = None
        self.served = 0
        self._unit = GRANULARITY[granularity]
        # (time, number of arrival) orders them; the entries themselves lie beside.
        self._places: list[tuple[int, int]] = []
        self._entries: dict[tuple[int, int], dict[str, Any]] = {}
        self._faults: dict[int, Fault] = {}
        self._lock = threading.Lock()
        self._server: _Server | None = None
        self.offer(entries)

    # --- the truth ---

    @property
    def offered(self) -> list[dict[str, Any]]:
        """Everything this API has, oldest first."""
        with self._lock:
            return [self._entries[place] for place in self._places]

    def offer(self, entries: Iterable[dict[str, Any]]) -> None:
        """More entries: new, tied with others, or late, as their own time says. ValueError where it says nothing."""
        with self._lock:
            for entry in entries:
                moment = rank(str(entry[self.time_field]))
                if moment is None or moment[0] != 2:
                    raise ValueError(f"{self.time_field} of an entry is {entry[self.time_field]!r}, which is no time")
                place = (moment[1], len(self._entries))
                insort(self._places, place)
                self._entries[place] = entry

    def fail(
        self,
        status: int = 503,
        *,
        after: int = 0,
        times: int = 1,
        headers: Mapping[str, str] | None = None,
        **fault: Any,
    ) -> None:
        """Fail `times` requests, beginning with the one after the next `after`. Further arguments are a Fault's."""
        start = len(self.requests) + after
        for number in range(start, start + times):
            self._faults[number] = Fault(status, headers or {}, **fault)

    # --- answers ---

    def page(self, query: Mapping[str, str]) -> dict[str, Any]:
        """One page: `entries`, and `next_cursor` or None. ValueError for a query that cannot be understood."""
        limit = int(query.get("limit", self.page_size))
        if not 1 <= limit <= 10_000:
            raise ValueError("limit has to be between 1 and 10000")
        with self._lock:
            lowest = bisect_left(self._places, (self._since(query), -1))
            cursor = _open_cursor(query["cursor"]) if "cursor" in query else None
            if self.newest_first:
                end = bisect_left(self._places, cursor) if cursor else len(self._places)
                start = max(lowest, end - limit)
                places = self._places[start:end][::-1]
                more = start > lowest
            else:
                start = max(lowest, bisect_left(self._places, (cursor[0], cursor[1] + 1)) if cursor else 0)
                places = self._places[start : start + limit]
                more = start + limit < len(self._places)
            found = [self._entries[place] for place in places]
        self.served += len(found)
        return {"entries": found, "next_cursor": _cursor(places[-1]) if more and places else None}

    def _since(self, query: Mapping[str, str]) -> int:
        moment = rank(query.get("since", BEGINNING))
        if moment is None:
            raise ValueError("since has to be a time")
        nanoseconds = moment[1] * GRANULARITY["day"] if moment[0] == 3 else moment[1]
        return nanoseconds - nanoseconds % self._unit

    def answer(self, query: dict[str, str], authorization: str) -> tuple[Fault | None, int, dict[str, str], bytes]:
        """The scripted fault of this request, if any, and the status, headers and body it would have had."""
        with self._lock:
            number = len(self.requests)
            self.requests.append(query)
        if self.on_request is not None:
            self.on_request(number)
        fault = self._faults.get(number)
        if authorization != f"Bearer {TOKEN}":
            return fault, 401, {}, b'{"error":"the token is not valid"}'
        try:
            page = self.page(query)
        except (ValueError, KeyError) as err:
            return fault, 400, {}, orjson.dumps({"error": str(err)})
        headers = {}
        if self.paging == "next_link":
            cursor = page.pop("next_cursor")
            if cursor is not None:
                following = urlencode({**query, "cursor": cursor})
                headers["Link"] = f'<{self.url}?{following}>; rel="next"'
        return fault, 200, headers, orjson.dumps(page)

    # --- the server ---

    @property
    def url(self) -> str:
        """Where the events are; only inside of the `with`."""
        assert self._server is not None, "the server runs inside of `with PracticeAPI(…) as api:`"
        return f"http://127.0.0.1:{self._server.server_address[1]}/events"

    def __enter__(self) -> PracticeAPI:
        self._server = _Server(self)
        threading.Thread(target=self._server.serve_forever, args=(0.02,), name="practice", daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, err: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    # A collector that is killed leaves its connections behind; they are nobody's failure.
    block_on_close = False

    def __init__(self, api: PracticeAPI) -> None:
        self.api = api
        super().__init__(("127.0.0.1", 0), _Handler)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away is what this server is for."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server
    # One segment per answer, at once.
    wbufsize = -1
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        """Answer, or fail as the script says."""
        parts = urlsplit(self.path)
        if parts.path != "/events":
            self._send(404, {}, b'{"error":"only /events is here"}')
            return
        query = dict(parse_qsl(parts.query))
        fault, status, headers, body = self.server.api.answer(query, self.headers.get("Authorization", ""))
        if fault is None:
            self._send(status, headers, body)
            return
        if fault.delay:
            time.sleep(fault.delay)
        if fault.reset:
            self.close_connection = True
        elif fault.truncate is not None:
            self._send(200, headers, body, fault.truncate)
            self.close_connection = True
        else:
            self._send(fault.status, {**headers, **fault.headers}, body if fault.body is None else fault.body)

    def _send(self, status: int, headers: Mapping[str, str], body: bytes, length: int | None = None) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body[:length])
        self.wfile.flush()

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: the requests are kept in `PracticeAPI.requests`."""


def _cursor(place: tuple[int, int]) -> str:
    return base64.urlsafe_b64encode(json.dumps(place).encode()).decode()


def _open_cursor(text: str) -> tuple[int, int]:
    try:
        moment, number = json.loads(base64.urlsafe_b64decode(text))
    except (binascii.Error, TypeError, ValueError) as err:
        raise ValueError("the cursor is not one of ours") from err
    return int(moment), int(number)


# --- comparing ---


@dataclass(frozen=True, slots=True)
class Report:
    """What delivery made of what was offered: entries that never arrived, and entries that arrived too often."""

    lost: list[dict[str, Any]]
    twice: list[dict[str, Any]]

    @property
    def exact(self) -> bool:
        """Whether everything arrived exactly once."""
        return not (self.lost or self.twice)


def compare(offered: Iterable[dict[str, Any]], delivered: Iterable[dict[str, Any]]) -> Report:
    """Compare as multisets, leaving `_grove` out. What arrived without having been offered counts as too often."""
    wanted = Counter(_mark(entry) for entry in offered)
    found = Counter(_mark(entry) for entry in delivered)
    return Report(
        [orjson.loads(mark) for mark in (wanted - found).elements()],
        [orjson.loads(mark) for mark in (found - wanted).elements()],
    )


def _mark(entry: dict[str, Any]) -> bytes:
    plain = {key: value for key, value in entry.items() if key != "_grove"}
    return orjson.dumps(plain, option=orjson.OPT_SORT_KEYS)


def read_delivered(folder: Path | str, pattern: str = "**/*.json.gz") -> list[dict[str, Any]]:
    """Every entry in the gzip files below `folder`. ValueError for a file that is not whole."""
    entries: list[dict[str, Any]] = []
    for path in sorted(Path(folder).glob(pattern)):
        try:
            data = gzip.decompress(path.read_bytes())
        except (OSError, EOFError) as err:
            raise ValueError(f"{path} is not a whole gzip file") from err
        if not data.endswith(b"\n"):
            raise ValueError(f"the last line of {path} is not complete")
        entries.extend(orjson.loads(line) for line in data.splitlines())
    return entries


# --- collecting ---


class PracticeConnector(BaseConnector):
    """Collects from a practice API, whose address is the document's field `url`."""

    CONNECTOR = "practice"
    POINTER_PATH = "published"
    LOG_ORDER = CHRONOLOGICAL

    def collect(self) -> None:
        """Every page since the pointer. RequestFailedException and RateLimitException end the run."""
        query: dict[str, str] = {}
        try:
            query["since"] = self.since
        except NotFoundException:
            query["since"] = BEGINNING
        page_size = getattr(self.configuration, "page_size", None)
        if page_size is not None:
            query["limit"] = str(page_size)
        with requests.Session() as session:
            session.trust_env = False
            session.headers["Authorization"] = f"Bearer {self.key}"
            address: Any = self.configuration
            url: str | None = str(address.url)
            while url is not None:
                answer, page = self._ask(session, url, query)
                self.save(page["entries"])
                following = answer.links.get("next", {}).get("url")
                if following is not None:
                    url, query = following, {}
                elif page.get("next_cursor"):
                    query = {**query, "cursor": page["next_cursor"]}
                else:
                    url = None

    def _ask(self, session: requests.Session, url: str, query: Mapping[str, str]) -> Any:
        for _ in range(3):
            try:
                answer = session.get(url, params=dict(query), timeout=(5, 30))
                # A body that is shorter than announced is noticed here, not halfway through a page.
                page = answer.json()
            except (requests.RequestException, ValueError) as err:
                raise RequestFailedException(f"The practice API did not answer: {type(err).__name__}.") from err
            if answer.status_code != 429:
                break
            self.wait(float(answer.headers.get("Retry-After", 1)))
        else:
            raise RateLimitException("The practice API asks for more patience than this run has.")
        if answer.status_code != 200:
            raise RequestFailedException(f"The practice API answered with status {answer.status_code}.")
        return answer, page


class NewestFirstConnector(PracticeConnector):
    """The same, from an API that serves the newest entry first."""

    LOG_ORDER = REVERSE_CHRONOLOGICAL
