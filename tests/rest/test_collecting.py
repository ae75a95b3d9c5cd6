"""What a declaration asks for, and what becomes of the answers."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from grove.connectors import BaseConnector
from grove.connectors.rest import (
    CHRONOLOGICAL,
    REVERSE_CHRONOLOGICAL,
    DelayedConfiguration,
    RestConnector,
    Source,
    paging,
)
from grove.exceptions import RequestFailedException
from grove.helpers import clock
from tests.http.server import Received, Server, reply

from .conftest import Streams

NOW = clock.parse_datestamp("2026-11-24T12:00:00Z")
Answer = Callable[[str, dict[str, str], Any], Any]


class API:
    """A server that answers JSON: `answer` gets path, query and body, and gives the body of the answer.

    A pair is a status and a body, a triple has headers too.
    """

    def __init__(self, answer: Answer) -> None:
        self.asked: list[tuple[str, dict[str, str], Any]] = []
        self._answer = answer
        self._server = Server(self._reply)
        self.url = self._server.url

    @property
    def received(self) -> list[Received]:
        return self._server.received

    def close(self) -> None:
        self._server.close()

    def _reply(self, request: Received) -> Any:
        parts = urlsplit(request.target)
        query = {name: values[0] for name, values in parse_qs(parts.query).items()}
        body = json.loads(request.body) if request.body else None
        self.asked.append((parts.path, query, body))
        answer = self._answer(parts.path, query, body)
        status, content, headers = (*answer, {})[:3] if isinstance(answer, tuple) else (200, answer, {})
        return reply(json.dumps(content).encode(), status, headers)


@pytest.fixture
def serve() -> Iterator[Callable[[Answer], API]]:
    made: list[API] = []

    def start(answer: Answer) -> API:
        made.append(API(answer))
        return made[-1]

    yield start
    for api in made:
        api.close()


@pytest.fixture(autouse=True)
def _today(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clock, "now", lambda: NOW)


def stream(api: API, order: str = CHRONOLOGICAL, **declared: Any) -> type[RestConnector]:
    """A connector for an API that is declared so."""

    class Connector(RestConnector):
        CONNECTOR = "made_up"
        POINTER_PATH = "at"
        LOG_ORDER = order
        SOURCE = Source.model_validate({"url": f"{api.url}/logs", **declared})

    return Connector


FIELDS = {"name": "test", "identity": "corp", "connector": "made_up", "key": "k", "outputs": {"logs": "raw"}}


def run(streams: Streams, kind: type[BaseConnector], **fields: Any) -> BaseConnector:
    return streams.run({**FIELDS, **fields}, kind)


def entry(number: int, at: str = "") -> dict[str, Any]:
    return {"id": number, "at": at or f"2026-11-20T00:00:{number:02d}.000Z"}


def ids(streams: Streams) -> list[int]:
    return sorted(found["id"] for found in streams.delivered())


def test_the_first_run_asks_from_its_span_on_and_later_ones_from_the_pointer(streams: Streams, serve: Any) -> None:
    pages = [[], [entry(1), entry(2)], [entry(2), entry(3)]]
    api = serve(lambda path, query, body: pages.pop(0))
    kind = stream(api, params={"since": "{since}", "until": "{until}"}, delay=60, time_format="iso_ms")
    for _ in range(3):
        assert run(streams, kind).outcome == "succeeded"
    since = [query["since"] for _, query, _ in api.asked]
    # The first run fixed where to begin, although it found nothing.
    assert since == ["2026-11-17T12:00:00.000Z", "2026-11-17T12:00:00.000Z", "2026-11-20T00:00:02.000Z"]
    assert {query["until"] for _, query, _ in api.asked} == {"2026-11-24T11:59:00.000Z"}
    assert ids(streams) == [1, 2, 3]


@pytest.mark.parametrize("kind_of_paging", ["offset", "page"])
def test_what_is_asked_for_is_the_same_for_all_pages(
    streams: Streams, serve: Any, monkeypatch: pytest.MonkeyPatch, kind_of_paging: str
) -> None:
    entries = [entry(number) for number in range(7)]

    def answer(path: str, query: dict[str, str], body: Any) -> Any:
        # Time goes on, and with each page that is saved the pointer does.
        now = NOW + timedelta(minutes=len(api.asked))
        monkeypatch.setattr(clock, "now", lambda: now)
        found = [made for made in entries if made["at"] >= query["since"]]
        start = int(query["offset"]) if "offset" in query else 2 * (int(query["page"]) - 1)
        return found[start : start + 2]

    api = serve(answer)
    kind = stream(
        api, params={"since": "{since}", "until": "{until}"}, gather=1, paging={"type": kind_of_paging, "size": 2}
    )
    for _ in range(2):
        begun = len(api.asked)
        assert run(streams, kind).outcome == "succeeded"
        assert len({(query["since"], query["until"]) for _, query, _ in api.asked[begun:]}) == 1
        assert ids(streams) == list(range(len(entries)))
        entries += [entry(number) for number in range(7, 12)]


def test_a_document_s_lookback_and_the_declared_one(streams: Streams, serve: Any) -> None:
    api = serve(lambda path, query, body: [entry(40)])
    kind = stream(api, params={"since": "{since}"}, lookback=30)
    run(streams, kind)
    run(streams, kind)
    run(streams, kind, lookback=5)
    assert [query["since"][17:] for _, query, _ in api.asked[1:]] == ["10.000Z", "35.000Z"]
    assert ids(streams) == [40]


def test_what_is_missing_is_left_out_and_types_are_kept(streams: Streams, serve: Any) -> None:
    api = serve(lambda path, query, body: {"data": {"list": []}})
    kind = stream(
        api,
        method="POST",
        body={
            "from": "{since}",
            "filter": {"category": "{category}", "also": ["{category}", "x"]},
            "n": 5,
            "none": None,
        },
        headers={"X-Org": "{identity}"},
        entries="data.list",
        time_format="epoch",
    )
    run(streams, kind)
    run(streams, kind, operation="logins", identity="other")
    assert [body for _, _, body in api.asked] == [
        {"from": 1794916800, "filter": {"also": ["x"]}, "n": 5, "none": None},
        {"from": 1794916800, "filter": {"category": "logins", "also": ["logins", "x"]}, "n": 5, "none": None},
    ]
    assert [request.headers["x-org"] for request in api.received] == ["corp", "other"]


def test_values_in_an_address_cannot_leave_their_place(streams: Streams, serve: Any) -> None:
    api = serve(lambda path, query, body: [])
    kind = stream(api, url=f"{api.url}/orgs/{{identity}}/logs")
    assert run(streams, kind, identity="../admin?x=#y").outcome == "succeeded"
    assert api.received[0].target == "/orgs/..%2Fadmin%3Fx%3D%23y/logs"


def test_a_field_that_a_template_needs_is_named_when_it_is_missing(streams: Streams, serve: Any) -> None:
    api = serve(lambda path, query, body: [])
    failed = run(streams, stream(api, params={"region": "{region}"}))
    assert "'region' is missing" in str(failed.failure)
    assert api.asked == []


# --- pages ---


def test_a_token_that_replaces_everything_else(streams: Streams, serve: Any) -> None:
    def answer(path: str, query: dict[str, str], body: Any) -> Any:
        if path == "/logs":
            assert body == {"limit": 2}
            return {"events": [entry(1), entry(2)], "cursor": "c1", "has_more": True}
        assert (path, body) == ("/logs/continue", {"cursor": "c1"})
        return {"events": [entry(3)], "cursor": "c2", "has_more": False}

    api = serve(answer)
    page = {"type": "token", "path": "cursor", "param": "cursor", "more": "has_more", "alone": True}
    kind = stream(
        api, method="POST", body={"limit": 2}, entries="events", paging={**page, "url": f"{api.url}/logs/continue"}
    )
    assert run(streams, kind).outcome == "succeeded"
    assert ids(streams) == [1, 2, 3]


RESUMED = {"type": "token", "path": "cursor", "param": "cursor", "more": "more", "resume": True}


def test_a_cursor_is_kept_for_the_next_run(streams: Streams, serve: Any) -> None:
    api = serve(lambda path, query, body: {"events": [], "cursor": f"c{len(api.asked)}", "more": len(api.asked) == 1})
    kind = stream(api, params={"since": "{since}"}, entries="events", paging=RESUMED)
    run(streams, kind)
    run(streams, kind)
    assert [query.get("cursor") for _, query, _ in api.asked] == [None, "c1", "c2"]
    assert [query.get("since", "")[:4] for _, query, _ in api.asked] == ["2026", "2026", ""]


def test_a_cursor_that_has_expired_makes_way_for_the_pointer(streams: Streams, serve: Any) -> None:
    def answer(path: str, query: dict[str, str], body: Any) -> Any:
        if query.get("cursor"):
            return (409, {"error": "bad_cursor"})
        return {"events": [entry(1)], "cursor": "old", "more": False}

    api = serve(answer)
    kind = stream(api, params={"since": "{since}"}, entries="events", paging=RESUMED)
    assert run(streams, kind).outcome == "succeeded"
    assert run(streams, kind).outcome == "succeeded"
    assert [query.get("since") for _, query, _ in api.asked[1:]] == [None, "2026-11-20T00:00:01.000Z"]
    assert ids(streams) == [1]


def test_a_pointer_that_was_a_cursor_is_asked_with(streams: Streams, serve: Any) -> None:
    api = serve(lambda path, query, body: {"events": [entry(9)], "cursor": "new", "more": False})
    kind = stream(api, params={"since": "{since}"}, entries="events", paging=RESUMED)
    streams.cache.set(f"pointer.{streams.connector(FIELDS, kind).configuration.reference()}", "all", "Q1VSU09S")
    assert run(streams, kind).outcome == "succeeded"
    assert api.asked[0][1] == {"cursor": "Q1VSU09S"}
    assert run(streams, kind).outcome == "succeeded"
    assert api.asked[1][1] == {"cursor": "new"}


@pytest.mark.parametrize("paging", [{"type": "token", "param": "cursor"}, {"type": "keyset", "param": "after"}])
def test_a_place_that_cannot_be_sent(streams: Streams, serve: Any, paging: dict[str, str]) -> None:
    page = {"list": [{**entry(1), "name": "\ud800"}], "name": "\ud800"}
    api = serve(lambda path, query, body: page)
    failed = run(streams, stream(api, entries="list", paging={**paging, "path": "name"}))
    assert isinstance(failed.failure, RequestFailedException)
    assert "cannot be sent" in str(failed.failure)
    assert ids(streams) == [1]


@pytest.mark.parametrize("length", range(1, 6))
def test_cursors_that_go_round_in_circles(streams: Streams, serve: Any, length: int) -> None:
    def answer(path: str, query: dict[str, str], body: Any) -> Any:
        place = int(query.get("cursor", "0"))
        return {"events": [entry(place)], "cursor": str(place + 1 if place < length else 1)}

    api = serve(answer)
    kind = stream(api, entries="events", paging={"type": "token", "path": "cursor", "param": "cursor"})
    failed = run(streams, kind)
    assert "cursor_loop" in str(failed.failure)
    assert len(api.asked) == length + 1
    # What came before is kept.
    assert ids(streams) == list(range(length + 1))


def test_a_lasting_cursor_is_not_moved_to_a_page_that_leads_back(streams: Streams, serve: Any) -> None:
    healed = False

    def answer(path: str, query: dict[str, str], body: Any) -> Any:
        place = int(query.get("cursor", "0"))
        following = place + 1 if place < 3 or healed else 1
        return {"events": [entry(place)] if place < 5 else [], "cursor": str(following), "more": place < 5}

    api = serve(answer)
    kind = stream(api, params={"since": "{since}"}, entries="events", paging=RESUMED)
    failed = run(streams, kind)
    assert "cursor_loop" in str(failed.failure)
    # The page that leads back comes with the next run, which asks for it again.
    assert (ids(streams), streams.connector(FIELDS, kind).cursor) == ([0, 1, 2], "3")
    healed = True
    assert run(streams, kind).outcome == "succeeded"
    assert ids(streams) == list(range(5))


def test_a_link_to_itself_may_be_the_end(streams: Streams, serve: Any) -> None:
    def answer(path: str, query: dict[str, str], body: Any) -> Any:
        return (200, [entry(1)], {"Link": f'<{api.url}/logs?after=1>; rel="next"'})

    api = serve(answer)
    assert run(streams, stream(api, paging={"type": "link", "repeat_ends": True})).outcome == "succeeded"
    assert len(api.asked) == 2
    assert run(streams, stream(api, paging={"type": "link"})).outcome == "failed"


def test_empty_pages_are_passed_over_but_not_for_ever(
    streams: Streams, serve: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(paging, "MAX_EMPTY_PAGES", 3)

    def answer(path: str, query: dict[str, str], body: Any) -> Any:
        place = int(query.get("cursor", "0"))
        return {"events": [entry(place)] if place == last else [], "cursor": str(place + 1) if place < last else None}

    api = serve(answer)
    kind = stream(api, entries="events", paging={"type": "token", "path": "cursor", "param": "cursor"})
    last = 3
    assert run(streams, kind).outcome == "succeeded"
    assert ids(streams) == [3]
    last = 9
    assert "4 empty pages in a row" in str(run(streams, kind, identity="other").failure)


@pytest.mark.parametrize("declared", [{"type": "offset", "size": 2}, {"type": "page", "size": 2}])
def test_an_api_that_does_not_know_its_places(
    streams: Streams, serve: Any, monkeypatch: pytest.MonkeyPatch, declared: Any
) -> None:
    monkeypatch.setattr(paging, "MAX_EMPTY_PAGES", 3)
    api = serve(lambda path, query, body: [entry(1), entry(2)])
    failed = run(streams, stream(api, paging=declared))
    assert "4 pages in a row that were the same" in str(failed.failure)
    assert len(api.asked) == 5
    assert ids(streams) == [1, 2]


def test_pages_without_an_end(streams: Streams, serve: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paging, "MAX_PAGES", 7)
    api = serve(lambda path, query, body: {"list": [entry(len(api.asked) % 2)], "cursor": f"{len(api.asked)}"})
    failed = run(streams, stream(api, entries="list", paging={"type": "token", "path": "cursor", "param": "cursor"}))
    assert "gave 7 pages, and promises more" in str(failed.failure)
    assert ids(streams) == [0, 1]


@pytest.mark.parametrize(
    ("declared", "requests"),
    [
        ({"size": 2}, 4),  # only an empty page ends it
        ({"size": 2, "short_ends": True}, 3),
        ({"size": 2, "total": "total"}, 3),
    ],
)
@pytest.mark.parametrize("kind_of_paging", ["offset", "page"])
def test_counted_pages(streams: Streams, serve: Any, declared: Any, requests: int, kind_of_paging: str) -> None:
    entries = [entry(number) for number in range(5)]

    def answer(path: str, query: dict[str, str], body: Any) -> Any:
        start = int(query["offset"]) if "offset" in query else 2 * (int(query["page"]) - 1)
        return {"list": entries[start : start + int(query["n"])], "total": 5}

    api = serve(answer)
    kind = stream(api, entries="list", paging={"type": kind_of_paging, "size_param": "n", **declared})
    assert run(streams, kind).outcome == "succeeded"
    assert len(api.asked) == requests
    assert ids(streams) == [0, 1, 2, 3, 4]


# --- spans, trimming, order ---


@pytest.mark.parametrize("order", [CHRONOLOGICAL, REVERSE_CHRONOLOGICAL])
def test_a_long_span_is_asked_for_in_pieces(streams: Streams, serve: Any, order: str) -> None:
    entries = [entry(number, f"2026-11-{14 + number:02d}T00:00:00.000Z") for number in range(10)]

    def answer(path: str, query: dict[str, str], body: Any) -> Any:
        found = [made for made in entries if query["since"] <= made["at"] <= query["until"]]
        return found if order == CHRONOLOGICAL else found[::-1]

    api = serve(answer)
    kind = stream(api, order, params={"since": "{since}", "until": "{until}"}, first_run=12 * 86400, max_span=5 * 86400)
    connector = run(streams, kind)
    assert connector.outcome == "succeeded"
    edges = [(query["since"][8:10], query["until"][8:10]) for _, query, _ in api.asked]
    assert edges == ([("12", "17"), ("17", "22"), ("22", "24")] if order == CHRONOLOGICAL else edges)
    assert sorted(edges) == [("12", "17"), ("17", "22"), ("22", "24")]
    assert ids(streams) == list(range(10))
    assert connector.pointer == entries[-1]["at"]


def test_what_a_coarse_filter_gives_too_much_is_left_out(streams: Streams, serve: Any) -> None:
    entries = [entry(number, f"2026-11-{14 + number:02d}T00:00:00.000Z") for number in range(10)][::-1]

    def answer(path: str, query: dict[str, str], body: Any) -> Any:
        start = int(query["offset"])
        return entries[start : start + 2]

    api = serve(answer)
    kind = stream(api, REVERSE_CHRONOLOGICAL, trim=True, first_run=3 * 86400, paging={"type": "offset", "size": 2})
    assert run(streams, kind).outcome == "succeeded"
    assert ids(streams) == [8, 9]
    # Once something lies before the span, nothing later can be within it; one page was on its way already.
    assert len(api.asked) <= 3


def test_a_rounded_beginning_delivers_nothing_twice(streams: Streams, serve: Any) -> None:
    entries = [entry(number, f"2026-11-20T00:00:00.{number}00Z") for number in range(10)]
    shown = [4, 7, 10]
    api = serve(lambda path, query, body: [made for made in entries[: shown.pop(0)] if made["at"] >= query["since"]])
    kind = stream(api, params={"since": "{since}"}, time_format="%Y-%m-%dT%H:%M:%S")
    for _ in range(3):
        assert run(streams, kind).outcome == "succeeded"
    assert ids(streams) == list(range(10))


def test_nothing_is_asked_for_before_the_delay_has_passed(streams: Streams, serve: Any) -> None:
    api = serve(lambda path, query, body: [entry(1, "2026-11-24T11:59:30.000Z")])
    kind = stream(api, params={"since": "{since}", "until": "{until}"})
    run(streams, kind)
    kind.SOURCE = kind.SOURCE.model_copy(update={"delay": 60.0})
    assert run(streams, kind).outcome == "succeeded"
    assert len(api.asked) == 1


def test_a_gap_that_the_vendor_s_retention_has_torn_is_told(
    streams: Streams, serve: Any, caplog: pytest.LogCaptureFixture
) -> None:
    api = serve(lambda path, query, body: [entry(1)])
    kind = stream(api, params={"since": "{since}"}, retention=86400)
    run(streams, kind)
    caplog.clear()
    run(streams, kind)
    told = [record for record in caplog.records if getattr(record, "event", "") == "gap_detected"]
    assert [(record.__dict__["from"], record.to) for record in told] == [
        ("2026-11-20T00:00:01Z", "2026-11-23T12:00:00Z")
    ]


# --- paging by time ---


def by_time(entries: list[dict[str, Any]], size: int = 3, *, later_only: bool = False) -> Answer:
    """An API that gives the oldest entries from a moment on, `size` a page, and numbers pages of the same request."""

    def answer(path: str, query: dict[str, str], body: Any) -> Any:
        since = query["since"]
        found = [made for made in entries if made["at"] > since or (made["at"] == since and not later_only)]
        assert int(query.get("limit", size)) == size
        start = (int(query.get("page", "1")) - 1) * size
        return found[start : start + size]

    return answer


SEEK: dict[str, Any] = {
    "params": {"since": "{since}"},
    "paging": {"type": "seek", "path": "at", "size": 3, "size_param": "limit", "param": "page"},
}


def test_pages_by_the_time_of_the_last_entry(streams: Streams, serve: Any) -> None:
    # Two that share a time lie on both sides of an end of a page.
    times = [0, 1, 2, 2, 3, 3, 4, 5]
    api = serve(by_time([entry(number, f"2026-11-20T00:00:0{second}.000Z") for number, second in enumerate(times)]))
    assert run(streams, stream(api, **SEEK)).outcome == "succeeded"
    assert ids(streams) == list(range(8))
    assert [query["since"][17:] for _, query, _ in api.asked[1:]] == ["02.000Z", "03.000Z", "04.000Z"]


def test_more_entries_of_one_time_than_a_page_has(streams: Streams, serve: Any) -> None:
    times = [1, 2, 2, 2, 2, 2, 2, 2, 3, 4]
    entries = [entry(number, f"2026-11-20T00:00:0{second}.000Z") for number, second in enumerate(times)]
    api = serve(by_time(entries))
    assert run(streams, stream(api, **SEEK)).outcome == "succeeded"
    assert ids(streams) == list(range(10))
    pages = [(query["since"][17:19], query.get("page")) for _, query, _ in api.asked[1:]]
    assert pages == [("02", None), ("02", "2"), ("02", "3"), ("04", None)]
    # Without numbers for its pages there is no way past them, and nothing is skipped.
    unnumbered = {**SEEK, "paging": {name: part for name, part in SEEK["paging"].items() if name != "param"}}
    failed = run(streams, stream(api, **unnumbered), identity="other")
    assert "cursor_loop" in str(failed.failure)


def test_a_last_entry_without_a_time(streams: Streams, serve: Any) -> None:
    api = serve(lambda path, query, body: [entry(1), entry(2), {"id": 3}])
    assert "no time at 'at'" in str(run(streams, stream(api, **SEEK)).failure)


@pytest.mark.parametrize("order", [CHRONOLOGICAL, REVERSE_CHRONOLOGICAL])
@pytest.mark.parametrize("time_format", ["iso_ms", "iso"])
def test_a_filter_that_leaves_out_its_own_moment(streams: Streams, serve: Any, order: str, time_format: str) -> None:
    entries = [entry(1), entry(2)]

    def answer(path: str, query: dict[str, str], body: Any) -> Any:
        found = [made for made in entries if made["at"].replace("Z", "") > query["since"].replace("Z", "")]
        return found if order == CHRONOLOGICAL else found[::-1]

    api = serve(answer)
    kind = stream(api, order, params={"since": "{since}"}, exclusive=True, time_format=time_format)
    assert run(streams, kind).outcome == "succeeded"
    # One that came late with the moment of the last one, and one just before it, which that asks for again.
    entries += [{**entry(3), "at": entry(2)["at"]}, entry(4)]
    assert run(streams, kind).outcome == "succeeded"
    assert ids(streams) == [1, 2, 3, 4]
    earlier = {"iso_ms": "00:00:01.999Z", "iso": "00:00:01Z"}
    assert api.asked[1][1]["since"].endswith(earlier[time_format])


def test_a_pause_between_pages(streams: Streams, serve: Any) -> None:
    def answer(path: str, query: dict[str, str], body: Any) -> Any:
        place = int(query.get("cursor", "1"))
        return {"list": [entry(place)], "cursor": str(place + 1) if place < 3 else None}

    api = serve(answer)
    waited = []

    class Connector(
        stream(api, entries="list", pause=6, paging={"type": "token", "path": "cursor", "param": "cursor"})  # type: ignore[misc]
    ):
        def wait(self, seconds: float) -> None:
            waited.append((seconds, len(api.asked)))

    assert run(streams, Connector).outcome == "succeeded"
    assert waited == [(6, 1), (6, 2)]


# --- entries ---


def test_each_entry_is_followed_up(streams: Streams, serve: Any) -> None:
    def answer(path: str, query: dict[str, str], body: Any) -> Any:
        if path == "/logs":
            return [entry(1), entry(2), entry(3)]
        number = int(path.rpartition("/")[2])
        return (404, {}) if number == 2 else {**entry(number), "details": True}

    api = serve(answer)
    kind = stream(api, follow_up={"url": f"{api.url}/logs/{{id}}"})
    assert run(streams, kind).outcome == "succeeded"
    assert {found["id"]: found.get("details") for found in streams.delivered()} == {1: True, 3: True}


def test_details_that_go_on_elsewhere(streams: Streams, serve: Any) -> None:
    def answer(path: str, query: dict[str, str], body: Any) -> Any:
        if path == "/logs":
            return [entry(1), entry(2), entry(3), entry(4)]
        number, page = int(path.split("/")[2]), int(query.get("page", "1"))
        if number > 2:
            return {3: (403, {}), 4: (410, {})}[number]
        more = f"{api.url}{path}?page={page + 1}" if page < number else None
        return {"notes": [f"{number}.{page}"], "more": more}

    api = serve(answer)
    details = {"url": f"{api.url}/logs/{{id}}/notes", "path": "notes", "next": "more", "into": "notes"}
    kind = stream(api, follow_up={**details, "missing": [403, 410]})
    assert run(streams, kind).outcome == "succeeded"
    found = {made["id"]: made.get("notes") for made in streams.delivered()}
    assert found == {1: ["1.1"], 2: ["2.1", "2.2"], 3: None, 4: None}
    failed = run(streams, stream(api, follow_up=details), identity="other")
    assert "403" in str(failed.failure)


def test_details_of_what_cannot_be_sent(streams: Streams, serve: Any) -> None:
    api = serve(lambda path, query, body: [{**entry(1), "id": "\ud800"}])
    failed = run(streams, stream(api, follow_up={"url": f"{api.url}/logs/{{id}}"}))
    assert isinstance(failed.failure, RequestFailedException)
    assert "/logs/{id}' cannot be sent" in str(failed.failure)


def test_details_that_go_round_in_circles(streams: Streams, serve: Any) -> None:
    api = serve(lambda path, query, body: [entry(1)] if path == "/logs" else {"notes": [1], "more": "/logs/1?page=2"})
    details = {"url": f"{api.url}/logs/{{id}}", "path": "notes", "next": "more", "into": "notes"}
    assert "cursor_loop" in str(run(streams, stream(api, follow_up=details)).failure)
    assert len(api.asked) == 3


def test_only_what_is_kept_is_followed_up(streams: Streams, serve: Any) -> None:
    def answer(path: str, query: dict[str, str], body: Any) -> Any:
        if path != "/logs":
            return {"seen": True}
        page = int(query["page"])
        # The first two pages have nothing that is wanted, which does not make them empty.
        return [{**entry(page * 2 + n), "state": "new" if page < 3 else "done"} for n in range(2)] if page < 4 else []

    api = serve(answer)
    kind = stream(
        api,
        paging={"type": "page", "size": 2},
        keep="state == 'done'",
        follow_up={"url": f"{api.url}/logs/{{id}}", "into": "details"},
    )
    assert run(streams, kind).outcome == "succeeded"
    assert ids(streams) == [6, 7]
    assert [path for path, _, _ in api.asked if path != "/logs"] == ["/logs/6", "/logs/7"]


def test_entries_are_projected_and_filtered(streams: Streams, serve: Any) -> None:
    api = serve(lambda path, query, body: [{**entry(1), "noise": 1}, {"id": 2, "skip": True}])
    kind = stream(api, select="skip != `true` && {id: id, at: at} || `null`")
    assert run(streams, kind).outcome == "succeeded"
    assert [{name: found[name] for name in found if name != "_grove"} for found in streams.delivered()] == [entry(1)]


def test_a_snapshot_is_delivered_whole_each_time(streams: Streams, serve: Any) -> None:
    api = serve(lambda path, query, body: [{"id": 1}, {"id": 2}])
    kind = stream(api, snapshot=True)
    for _ in range(2):
        assert run(streams, kind).outcome == "succeeded"
    assert ids(streams) == [1, 1, 2, 2]


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        ({"ok": False, "error": "invalid_auth"}, "invalid_auth"),
        ({"ok": True}, "nothing at 'list'"),
        ({"list": {"a": 1}}, "a dict at 'list'"),
        ({"list": [1]}, "a int in it"),
        ([], "nothing at 'list'"),
    ],
)
def test_answers_that_are_no_page(streams: Streams, serve: Any, answer: Any, told: str) -> None:
    api = serve(lambda path, query, body: answer)
    failed = run(streams, stream(api, entries="list", error="error"))
    assert told in str(failed.failure)
    assert streams.delivered() == []


def test_a_list_that_may_be_absent(streams: Streams, serve: Any) -> None:
    api = serve(lambda path, query, body: {"kind": "list"})
    assert run(streams, stream(api, entries="items", entries_optional=True)).outcome == "succeeded"


def test_a_status_that_says_that_there_is_nothing(streams: Streams, serve: Any) -> None:
    api = serve(lambda path, query, body: (404, {"error": "no events found"}))
    assert "404" in str(run(streams, stream(api, entries="items")).failure)
    assert run(streams, stream(api, entries="items", empty_statuses=[404])).outcome == "succeeded"
    assert len(api.asked) == 2


def test_what_tells_entries_apart(streams: Streams, serve: Any) -> None:
    def answer(path: str, query: dict[str, str], body: Any) -> Any:
        # The same moment for all of them; `seen` is another one each time.
        found: list[dict[str, Any]] = [{"id": 1}, {"id": 2}, {"id": 2, "part": 2}, {"id": None}]
        return [{**entry(0), **one, "seen": len(api.asked)} for one in found]

    api = serve(answer)
    kind = stream(api, params={"since": "{since}"}, unique="[id, part]")
    assert run(streams, kind).outcome == "succeeded"
    assert run(streams, kind).outcome == "succeeded"
    # Where a part of it is missing, all of an entry counts.
    assert sorted(str(found["id"]) for found in streams.delivered()) == ["1", "1", "2", "2", "2", "None", "None"]


def test_a_document_s_delay_is_in_minutes(streams: Streams, serve: Any) -> None:
    api = serve(lambda path, query, body: [])

    class Delayed(stream(api, params={"until": "{until}"}, time_format="iso")):  # type: ignore[misc]
        class Configuration(DelayedConfiguration):
            """The fields of a configuration document."""

    run(streams, Delayed)
    run(streams, Delayed, delay=90)
    assert [query["until"] for _, query, _ in api.asked] == ["2026-11-24T12:00:00Z", "2026-11-24T10:30:00Z"]


# --- beside one another ---


def test_the_next_page_is_fetched_while_this_one_is_saved(streams: Streams, serve: Any) -> None:
    def answer(path: str, query: dict[str, str], body: Any) -> Any:
        place = int(query.get("cursor", "1"))
        return {"list": [entry(place)], "cursor": str(place + 1) if place < 4 else None}

    api = serve(answer)
    asked_by = []

    class Connector(stream(api, entries="list", paging={"type": "token", "path": "cursor", "param": "cursor"})):  # type: ignore[misc]
        def save(self, entries: list[Any], cursor: str | None = None) -> None:
            # It ends only once the next request has come in.
            wanted = min(len(asked_by) + 2, 4)
            while len(api.asked) < wanted:
                pass
            asked_by.append(len(api.asked))
            super().save(entries, cursor)

    assert run(streams, Connector).outcome == "succeeded"
    assert asked_by == [2, 3, 4, 4]
    assert ids(streams) == [1, 2, 3, 4]


def test_a_page_that_cannot_be_saved_ends_the_run(streams: Streams, serve: Any) -> None:
    def answer(path: str, query: dict[str, str], body: Any) -> Any:
        place = int(query.get("cursor", "1"))
        return {"list": [entry(place)], "cursor": str(place + 1)}

    api = serve(answer)

    class Connector(stream(api, entries="list", paging={"type": "token", "path": "cursor", "param": "cursor"})):  # type: ignore[misc]
        def save(self, entries: list[Any], cursor: str | None = None) -> None:
            if entries[0]["id"] == 3:
                raise OSError("no room")
            super().save(entries, cursor)

    assert run(streams, Connector).outcome == "failed"
    assert ids(streams) == [1, 2]
    assert len(api.asked) <= 4


def test_an_error_on_the_next_page_does_not_cost_this_one(streams: Streams, serve: Any) -> None:
    def answer(path: str, query: dict[str, str], body: Any) -> Any:
        return (403, {}) if query.get("cursor") else {"list": [entry(1)], "cursor": "x"}

    api = serve(answer)
    kind = stream(api, entries="list", paging={"type": "token", "path": "cursor", "param": "cursor"})
    failed = run(streams, kind)
    assert failed.outcome == "failed"
    assert "403" in str(failed.failure)
    assert ids(streams) == [1]


def test_a_trimmed_entry_is_not_followed_up(streams: Streams, serve: Any) -> None:
    entries = [entry(number, f"2026-11-{14 + number:02d}T00:00:00.000Z") for number in range(10)][::-1]

    def answer(path: str, query: dict[str, str], body: Any) -> Any:
        return entries if path == "/logs" else entries[9 - int(path.rpartition("/")[2])]

    api = serve(answer)
    kind = stream(
        api, REVERSE_CHRONOLOGICAL, trim=True, first_run=3 * 86400, follow_up={"url": f"{api.url}/logs/{{id}}"}
    )
    assert run(streams, kind).outcome == "succeeded"
    assert ids(streams) == [8, 9]
    assert sorted(path for path, _, _ in api.asked) == ["/logs", "/logs/8", "/logs/9"]


def test_a_rate_limit_that_only_the_body_tells(streams: Streams, serve: Any) -> None:
    def answer(path: str, query: dict[str, str], body: Any) -> Any:
        if len(api.asked) == 1:
            return (403, {"error": {"errors": [{"reason": "quotaExceeded"}]}}, {"X-Reset": "1"})
        return [entry(1)]

    api = serve(answer)
    kind = stream(
        api, rate_limit={"reset_header": "X-Reset", "form": "delta", "when": "error.errors[?reason=='quotaExceeded']"}
    )
    assert run(streams, kind).outcome == "succeeded"
    assert ids(streams) == [1]


def test_how_often_a_request_is_made_is_declared(streams: Streams, serve: Any) -> None:
    api = serve(lambda path, query, body: (503, {}, {"Retry-After": "0"}))
    assert "It may be asked again" in str(run(streams, stream(api, attempts=2)).failure)
    assert len(api.asked) == 2


def test_how_long_an_answer_may_be_is_declared(streams: Streams, serve: Any) -> None:
    page = [entry(1)]
    api = serve(lambda path, query, body: page)
    length = len(json.dumps(page))
    assert "Ask for smaller pages" in str(run(streams, stream(api, max_response_bytes=length - 1)).failure)
    assert run(streams, stream(api, max_response_bytes=length)).outcome == "succeeded"
    assert ids(streams) == [1]
