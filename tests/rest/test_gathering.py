"""Small pages are saved as one, and that changes nothing but the number of objects and commits."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest

from grove import _core
from grove.connectors.rest import CHRONOLOGICAL, REVERSE_CHRONOLOGICAL, RestConnector, gathering
from grove.connectors.rest.gathering import Gathering
from grove.connectors.rest.paging import Page
from grove.testing.practice import PracticeAPI
from grove.testing.practice_faults import status

from .conftest import PAGING, Streams, document
from .test_collecting import FIELDS, entry, ids, run, stream
from .test_collecting import serve as serve


@pytest.fixture(autouse=True)
def _patient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gathering, "MOST_SECONDS", 60.0)


def objects(streams: Streams) -> int:
    return sum(1 for _ in streams.path.rglob("*.json.gz"))


def page_of(*numbers: int, at: str = "", size: int = 1, cursor: str | None = None) -> Page:
    return Page([entry(number, at) for number in numbers], cursor=cursor, size=size)


def gathered(most: int = 10) -> Gathering:
    return Gathering(most, _core.pointer_path("at").pointers, _core.hash_entry)


# --- what goes together ---


def test_pages_go_together_up_to_a_number_of_entries() -> None:
    pages = gathered(5)
    pages.add(page_of(1, 2))
    assert not pages.full
    assert pages.fits(page_of(3, 4, 5))
    assert not pages.fits(page_of(3, 4, 5, 6))
    pages.add(page_of(3, 4))
    # Another one as large as these would be too much: there is no use in waiting for it.
    assert pages.full
    assert [made["id"] for made in pages.take().entries] == [1, 2, 3, 4]
    assert not pages


def test_pages_go_together_up_to_a_number_of_bytes() -> None:
    pages = gathered(1000)
    pages.add(page_of(1, size=gathering.MOST_BYTES // 2))
    assert not pages.full
    assert not pages.fits(page_of(2, size=gathering.MOST_BYTES // 2 + 1))
    pages.add(page_of(2, size=gathering.MOST_BYTES // 4))
    assert pages.full


def test_a_large_page_is_alone() -> None:
    pages = gathered(3)
    large = page_of(1, 2, 3, 4)
    assert pages.fits(large)
    pages.add(large)
    assert pages.full
    assert pages.take() is large


def test_one_at_a_time_waits_for_nothing() -> None:
    pages = gathered(1)
    pages.add(page_of(cursor="c"))
    assert pages.full


def test_the_last_place_in_the_feed_counts() -> None:
    pages = gathered()
    for page in (page_of(1, cursor="a"), page_of(cursor="b"), page_of(2)):
        pages.add(page)
    assert pages.take().cursor == "b"


def test_what_two_pages_have_in_common_is_there_once() -> None:
    pages = gathered(100)
    twins = Page([entry(1), entry(1), entry(2)])
    for page in (twins, Page([entry(2), entry(1), {**entry(2), "id": 3}]), Page([entry(3), entry(2)]), twins):
        pages.add(page)
    # The two of one page are both kept, as they are in a page that is saved by itself.
    assert [made["id"] for made in pages.take().entries] == [1, 1, 2, 3, 3]


def test_without_pointers_everything_stays() -> None:
    pages = Gathering(10, None, _core.hash_entry)
    for _ in range(2):
        pages.add(Page([{"id": 1}]))
    assert pages.take().entries == [{"id": 1}, {"id": 1}]


# --- whole runs ---


def counted(serve: Any, pages: list[list[dict[str, Any]]]) -> Any:
    """An API that numbers its pages, and has a token for the next one."""

    def answer(path: str, query: dict[str, str], body: Any) -> Any:
        place = int(query.get("cursor", "0"))
        return {"list": pages[place], "cursor": str(place + 1) if place + 1 < len(pages) else None}

    return serve(answer)


TOKEN = {"entries": "list", "paging": {"type": "token", "path": "cursor", "param": "cursor"}}


@pytest.mark.parametrize(("declared", "given", "expected"), [(None, None, 1), (6, None, 4), (None, 4, 5), (6, 1, 10)])
def test_a_class_or_a_document_says_how_much(
    streams: Streams, serve: Any, declared: int | None, given: int | None, expected: int
) -> None:
    api = counted(serve, [[entry(2 * page), entry(2 * page + 1)] for page in range(10)])
    kind = stream(api, **TOKEN, **({} if declared is None else {"gather": declared}))
    assert run(streams, kind, **({} if given is None else {"gather": given})).outcome == "succeeded"
    assert ids(streams) == list(range(20))
    assert objects(streams) == expected


def test_a_run_that_is_to_stop_after_so_many_entries(streams: Streams, serve: Any) -> None:
    api = counted(serve, [[entry(2 * page), entry(2 * page + 1)] for page in range(10)])
    connector = streams.connector(FIELDS, stream(api, **TOKEN))
    connector.limit = 5
    connector.run()
    assert connector.outcome == "stopped"
    assert ids(streams) == list(range(6))


@pytest.mark.parametrize("order", ["oldest_first", "newest_first"])
@pytest.mark.parametrize("given_up", [False, True])
def test_a_run_that_is_to_stop_keeps_what_has_come(streams: Streams, order: Any, given_up: bool) -> None:
    with PracticeAPI(50, order=order, page_size=10) as api:
        fields = document(api)
        connector = streams.connector(fields)
        # While the third page is asked for, and those before it wait to be saved together with it.
        api.before(3, connector.abandon if given_up else connector.stopping.set)
        connector.run()
        assert connector.outcome == "stopped"
        # That third page may have come before it was heard that nobody waits for it.
        assert len(streams.delivered()) in ((0,) if given_up else (20, 30))
        assert streams.run(fields).outcome == "succeeded"
        report = api.compare(streams.delivered())
    assert report.exact, report


def test_a_document_without_code_says_it_too(streams: Streams) -> None:
    for number, (gather, expected) in enumerate([(1000, 1), (100, 3), (1, 5)]):
        with PracticeAPI(230, order="oldest_first", paging="cursor", page_size=50) as api:
            before = objects(streams)
            assert streams.run({**document(api), "identity": f"{number}", "gather": gather}).outcome == "succeeded"
            assert objects(streams) - before == expected
    with PracticeAPI(3) as api:
        assert "gather: Input should be greater than or equal to 1" in str(
            streams.run({**document(api), "gather": 0}).failure
        )


@pytest.mark.parametrize("order", ["oldest_first", "newest_first"])
@pytest.mark.parametrize("paging", PAGING)
@pytest.mark.parametrize("gather", [7, 33, 1000])
def test_every_order_and_paging(streams: Streams, order: Any, paging: Any, gather: int) -> None:
    with PracticeAPI(90, order=order, paging=paging, page_size=10) as api:
        fields = {**document(api), "gather": gather, "params": {"since": "{since}", "limit": 10}}
        if paging == "offset":
            fields["paging"] = {**PAGING["offset"], "size": 10}
        # Entries that arrive between two pages shift what is paged by offset.
        api.before(3, lambda: api.offer(4, tied=True))
        api.before(6, lambda: api.offer(3))
        assert streams.run(fields).outcome == "succeeded"
        api.fault(14, status(400))
        streams.run(fields)
        api.heal()
        api.offer(12, tied=True)
        api.offer(30)
        assert streams.run(fields).outcome == "succeeded"
        assert streams.run(fields).outcome == "succeeded"
        report = api.compare(streams.delivered())
    assert report.exact, report


@pytest.mark.parametrize("order", [CHRONOLOGICAL, REVERSE_CHRONOLOGICAL])
def test_pages_that_overlap(streams: Streams, serve: Any, order: str) -> None:
    numbers = [[0, 1, 2], [1, 2, 3], [3, 3, 4], [4, 5], [0, 5]]
    pages = [[entry(number) for number in page] for page in numbers]
    if order == REVERSE_CHRONOLOGICAL:
        pages = [page[::-1] for page in pages[3::-1]]
    api = counted(serve, pages)
    for gather in (1, 1000):
        assert run(streams, stream(api, order, gather=gather, **TOKEN), identity=f"{gather}").outcome == "succeeded"
    by_identity: dict[str, list[int]] = {"1": [], "1000": []}
    for made in streams.delivered():
        by_identity[made["_grove"]["identity"]].append(made["id"])
    assert sorted(by_identity["1"]) == sorted(by_identity["1000"])
    assert set(by_identity["1"]) == set(range(6))


def test_nothing_is_committed_before_all_of_it_is_there(streams: Streams, serve: Any) -> None:
    cursors: list[Any] = []

    def answer(path: str, query: dict[str, str], body: Any) -> Any:
        place = int(query.get("cursor", "0"))
        cursors.append(streams.connector(FIELDS, kind).cursor)
        return {"list": [entry(place)], "cursor": str(place + 1), "more": place < 7}

    api = serve(answer)
    token = {"type": "token", "path": "cursor", "param": "cursor", "more": "more", "resume": True}
    kind = stream(api, entries="list", paging=token, gather=4)
    connector = run(streams, kind)
    assert connector.outcome == "succeeded"
    # The fifth page had been asked for before the first four were saved.
    assert cursors[:5] == [None] * 5
    assert connector.cursor == "8"
    assert objects(streams) == 2


@pytest.mark.parametrize(
    "answer",
    [
        lambda cursor: (400, {}),
        lambda cursor: {"list": [], "cursor": "1"},  # in circles
        lambda cursor: (200, {"list": "none"}),
        lambda cursor: (429, {}, {"Retry-After": "9999"}),
    ],
)
def test_what_came_before_a_failure_is_kept(streams: Streams, serve: Any, answer: Callable[[str], Any]) -> None:
    def answered(path: str, query: dict[str, str], body: Any) -> Any:
        place = int(query.get("cursor", "0"))
        return {"list": [entry(place)], "cursor": str(place + 1)} if place < 5 else answer(query["cursor"])

    api = serve(answered)
    assert run(streams, stream(api, **TOKEN)).outcome == "failed"
    assert ids(streams) == [0, 1, 2, 3, 4]
    assert objects(streams) == 1


def test_a_page_does_not_wait_for_a_slow_one(streams: Streams, serve: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gathering, "MOST_SECONDS", 0.05)
    delivered = threading.Event()

    def answer(path: str, query: dict[str, str], body: Any) -> Any:
        place = int(query.get("cursor", "0"))
        # Comes only once the first one has been delivered.
        assert place == 0 or delivered.wait(10)
        return {"list": [entry(place)], "cursor": "1" if place == 0 else None}

    api = serve(answer)

    class Connector(stream(api, **TOKEN)):  # type: ignore[misc]
        def _save_page(self, page: Page) -> None:
            super()._save_page(page)
            delivered.set()

    assert run(streams, Connector).outcome == "succeeded"
    assert objects(streams) == 2


def test_a_page_without_any_pointer_is_seen_by_itself(streams: Streams, serve: Any) -> None:
    api = counted(serve, [[entry(1)], [entry(2)], [{"id": 3}, {"id": 4}], [entry(5)]])
    failed = run(streams, stream(api, **TOKEN))
    assert "None of the 2 entries of a page has a value at POINTER_PATH 'at'" in str(failed.failure)
    assert ids(streams) == [1, 2]


def test_a_snapshot_is_gathered_whole(streams: Streams, serve: Any) -> None:
    api = counted(serve, [[{"id": 1}], [{"id": 1}], [{"id": 2}]])
    assert run(streams, stream(api, snapshot=True, **TOKEN)).outcome == "succeeded"
    assert ids(streams) == [1, 1, 2]
    assert objects(streams) == 1


def test_follow_ups_count_for_the_size(streams: Streams, serve: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gathering, "MOST_BYTES", 2_000)

    def answer(path: str, query: dict[str, str], body: Any) -> Any:
        if path != "/logs":
            return {"text": "x" * 1_500}
        place = int(query.get("cursor", "0"))
        return {"list": [entry(place)], "cursor": str(place + 1) if place < 2 else None}

    api = serve(answer)
    kind = stream(api, **TOKEN, follow_up={"url": f"{api.url}/logs/{{id}}", "into": "details"})
    assert run(streams, kind).outcome == "succeeded"
    assert objects(streams) == 3


def _saves(self: RestConnector, entries: list[Any], cursor: str | None = None) -> None:
    self.seen.append(len(entries))  # type: ignore[attr-defined]
    super(type(self), self).save(entries, cursor)


def _processes(self: RestConnector, entries: list[Any]) -> list[Any]:
    self.seen.append(len(entries))  # type: ignore[attr-defined]
    return entries


def _drops(self: RestConnector, candidates: list[Any]) -> list[Any]:
    self.seen.append(len(candidates))  # type: ignore[attr-defined]
    return candidates


def _finalizes(self: RestConnector) -> None:
    self.seen.append(1)  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("method", "own"),
    [("save", _saves), ("process", _processes), ("deduplicate_by_hash", _drops), ("finalize", _finalizes)],
)
def test_whoever_handles_pages_in_a_way_of_its_own_sees_each(
    streams: Streams, serve: Any, method: str, own: Callable[..., Any]
) -> None:
    api = counted(serve, [[entry(1)], [entry(2)], [entry(3)]])
    seen: list[int] = []
    base = stream(api, **TOKEN)
    kind = type("Connector", (base,), {method: own, "seen": seen})
    assert run(streams, kind).outcome == "succeeded"
    assert seen == [1, 1, 1]


def test_an_entry_is_told_from_others_as_the_connector_says(streams: Streams, serve: Any) -> None:
    # A part of it changes from answer to answer.
    pages = [[{**entry(number), "asked": page} for number in (page, page + 1)] for page in range(5)]
    api = counted(serve, pages)

    class Connector(stream(api, **TOKEN)):  # type: ignore[misc]
        def hash_entry(self, entry: Any) -> str:
            return f"{entry['id']:032x}"

    assert run(streams, Connector).outcome == "succeeded"
    assert ids(streams) == list(range(6))
    assert objects(streams) == 1
