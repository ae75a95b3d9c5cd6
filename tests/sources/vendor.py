"""A vendor's API on loopback: what it serves is known, so what arrives can be judged."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, ClassVar
from urllib.parse import parse_qs, parse_qsl, urlsplit

from grove.connectors.rest import RestConnector, Source, times
from grove.helpers import clock
from tests.http.server import Received, Sent, Server, reply

NOW = clock.parse_datestamp("2026-11-24T12:00:00Z")
SECOND = times.SECOND
TOKEN = "tok3n-of-the-vendor"
WRONG = "wr0ng-secret"


@dataclass(frozen=True, slots=True)
class Asked:
    """A request, taken apart; `query` and `form` have the last value of each name, `queries` all of them."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: Any
    form: dict[str, str] = field(default_factory=dict)
    queries: dict[str, list[str]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Answered:
    """What is sent back: bytes as they are, anything else as JSON."""

    body: Any
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Part:
    """One page of what was found; `next` is the place after it, whether or not there is `more`."""

    entries: list[Any]
    next: str
    more: bool


class RefusedError(Exception):
    """The vendor answers with an error of its own."""

    def __init__(self, status: int, body: Any = None, **headers: str) -> None:
        super().__init__(status)
        self.answer = Answered(body if body is not None else {"error": "refused"}, status, headers)


class Vendor:
    """One stream of one vendor. Entries are (moment, number), in the order in which they came to be."""

    connector: ClassVar[type[RestConnector]]
    document: ClassVar[dict[str, Any]] = {}
    """Fields of the configuration document beside name, connector and outputs."""

    wrong: ClassVar[dict[str, Any]] = {"key": WRONG}
    """Fields with a credential that is refused."""

    granularity: ClassVar[int] = SECOND
    spacing: ClassVar[int] = 7 * SECOND
    age: ClassVar[int] = 20 * 3600 * SECOND
    """How long ago the first entry came to be: the newest of the first ones is a good while old."""

    first: ClassVar[int] = 2_300
    """How many entries there are at first: at least three pages."""

    page_size: int = 1_000
    """How many entries a page has at most."""

    pages_by: ClassVar[str] = "cursor"
    """How pages are asked for: by a "cursor" that `part` names, or by an "offset" or a "keyset" of the client's."""

    snapshot: ClassVar[bool] = False

    reserves: ClassVar[dict[str, str]] = {}
    """What this vendor never does, by the name of a scenario: why."""

    def __init__(self) -> None:
        self.entries: list[tuple[int, int]] = []
        self.asked: list[Asked] = []
        self.intercept: Callable[[Asked], Answered | None] = lambda asked: None
        self.repeats = False
        """Whether the next page is the one before it once more, with another name for its place."""
        self.loops = 0
        """With n, the next page leads to the one n - 1 before it, from now on."""
        self.places: list[tuple[str, str]] = []
        self.back: dict[tuple[str, str], str] = {}
        """Places that lead back, and where to."""
        self._moment = times.nanoseconds(NOW) - self.age
        self._server = Server(self._reply)
        self.url = self._server.url
        self.offer(self.first)

    def close(self) -> None:
        self._server.close()

    def offer(self, count: int) -> None:
        """New entries; every fifth has the moment of the one before."""
        for _ in range(count):
            if len(self.entries) % 5 or not self.entries:
                self._moment += self.spacing
            self.entries.append((self._moment // self.granularity * self.granularity, len(self.entries)))

    def tie(self, count: int) -> None:
        """New entries with the newest moment there is."""
        newest = max(self.entries)[0]
        for _ in range(count):
            self.entries.append((newest, len(self.entries)))

    def offer_late(self, count: int, seconds: float) -> None:
        """New entries of up to that long before the newest one."""
        newest, step = max(self.entries)[0], int(seconds * SECOND) // count
        for number in range(count):
            self.entries.append(((newest - number * step) // self.granularity * self.granularity, len(self.entries)))

    def compact(self) -> None:
        """No entries, and pages of twenty."""
        self.entries.clear()
        self.page_size = 20

    # --- what a vendor says for itself ---

    def entry(self, moment: int, number: int) -> dict[str, Any]:
        """An entry as the API gives it; `number_of` finds its number again."""
        raise NotImplementedError

    def number_of(self, entry: dict[str, Any]) -> int:
        """The number of a delivered entry."""
        return int(entry["id"])

    def authorize(self, asked: Asked) -> None:
        """RefusedError without the right credentials."""
        if asked.headers.get("authorization") != f"Bearer {TOKEN}":
            raise RefusedError(401, {"error": "invalid_token"})

    def token(self, asked: Asked) -> Answered | None:
        """The answer of a token endpoint; None where this is no request for a token."""
        return None

    def answer(self, asked: Asked) -> Answered:
        """The answer to a request with the right credentials."""
        raise NotImplementedError

    def limited(self, seconds: int) -> Answered:
        """How this vendor says that it was asked too often, and to come back in that many seconds."""
        return Answered({"error": "rate_limited"}, 429, {"Retry-After": str(seconds)})

    def is_page(self, asked: Asked) -> bool:
        """Whether it is a page that is asked for, and not the details of an entry."""
        return True

    # --- what most of them need ---

    def part(self, found: list[Any], place: str | None, size: int | None = None, first: int = 0) -> Part:
        """The page of `found` at a place that an earlier one named, or else from entry number `first` on."""
        size = self.page_size if size is None else min(size, self.page_size)
        place = str(first) if place is None else place
        start = int(place.partition(".")[0])
        if self.repeats:
            self.repeats = False
            return Part(found[max(0, start - size) : start], f"{start}.{len(self.asked)}", True)
        end = min(start + size, len(found))
        # Places of one request are none of another.
        here = (self.asked[-1].path, place)
        self.places.append(here)
        if self.loops:
            self.back[here] = self.places[-self.loops][1]
            self.loops = 0
        return Part(found[start:end], self.back.get(here, str(end)), end < len(found) or here in self.back)

    def feed(self) -> list[dict[str, Any]]:
        """All entries in the order in which they arrived."""
        return [self.entry(*place) for place in self.entries]

    def arrived_since(self, moment: int) -> int:
        """The index in `feed()` of the first entry that is not before a moment."""
        return next((index for index, place in enumerate(self.entries) if place[0] >= moment), len(self.entries))

    def between(self, since: int | None, until: int | None = None, *, newest_first: bool) -> list[dict[str, Any]]:
        """The entries of a span, both ends included."""
        found = [
            (moment, number)
            for moment, number in self.entries
            if (since is None or moment >= since) and (until is None or moment <= until)
        ]
        found.sort(reverse=newest_first)
        return [self.entry(*place) for place in found]

    def _reply(self, request: Received) -> Sent:
        parts = urlsplit(request.target)
        form: dict[str, str] = {}
        body = None
        if request.headers.get("content-type", "").startswith("application/x-www-form-urlencoded"):
            form = dict(parse_qsl(request.body.decode()))
        elif "xml" in request.headers.get("content-type", ""):
            body = request.body.decode()
        elif request.body:
            body = json.loads(request.body)
        query = dict(parse_qsl(parts.query, keep_blank_values=True))
        queries = parse_qs(parts.query, keep_blank_values=True)
        asked = Asked(request.method, parts.path, query, request.headers, body, form, queries)
        try:
            answer = self.token(asked)
            if answer is None:
                self.asked.append(asked)
                answer = self.intercept(asked)
            if answer is None:
                self.authorize(asked)
                answer = self.answer(asked)
        except RefusedError as err:
            answer = err.answer
        sent = answer.body if isinstance(answer.body, bytes) else json.dumps(answer.body).encode()
        return reply(sent, answer.status, answer.headers)


def only(given: dict[str, Any], *names: str) -> None:
    """RefusedError where a parameter is there that the vendor does not know, or one that is needed is not (`name!`)."""
    known = {name.removesuffix("!") for name in names}
    needed = {name.removesuffix("!") for name in names if name.endswith("!")}
    if given.keys() - known or needed - given.keys():
        raise RefusedError(400, {"error": f"unknown {given.keys() - known}, missing {needed - given.keys()}"})


def moment(text: str) -> int:
    """What a parameter says; RefusedError where it is no time."""
    found = times.moment_of(text)
    if found is None:
        raise RefusedError(400, {"error": f"{text!r} is no time"})
    return found


def relocated(kind: type[RestConnector], url: str, size: int | None = None) -> type[RestConnector]:
    """The same connector, for a vendor whose every host is `url`; `size` is what it counts its pages by."""

    def moved(value: Any) -> Any:
        if isinstance(value, dict):
            return {
                name: re.sub(r"https://[^/]+", url, part)
                if name in ("url", "token_url") and isinstance(part, str)
                else moved(part)
                for name, part in value.items()
            }
        if isinstance(value, list | tuple):
            return [moved(part) for part in value]
        return value

    class Relocated(kind):  # type: ignore[valid-type, misc]
        def source(self) -> Source:
            declared = moved(super().source().model_dump())
            if size is not None and "size" in declared["paging"]:
                declared["paging"]["size"] = size
            return Source.model_validate(declared)

    Relocated.__module__ = kind.__module__
    for name, value in vars(kind).items():
        if isinstance(value, str) and value.startswith("https://"):
            setattr(Relocated, name, re.sub(r"https://[^/]+", url, value))
    return Relocated
