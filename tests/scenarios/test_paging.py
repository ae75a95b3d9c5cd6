"""Pages that are short, empty, repeated, shifted or lead in circles, and cursors that are not known any longer."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from grove.connectors.rest.paging import MAX_EMPTY_PAGES
from grove.testing.practice import PracticeAPI
from grove.testing.practice_bodies import encoded
from grove.testing.practice_faults import Fault, truncated

from .streams import Stream

ORDERS = ["oldest_first", "newest_first"]
PAGINGS = ["cursor", "next_link", "offset", "keyset"]


def collect(stream: Stream, api: PracticeAPI, **fields: Any) -> None:
    run = stream.run(api, **fields)
    assert run.outcome == "succeeded", run.failure


def check(stream: Stream, api: PracticeAPI) -> None:
    report = stream.compare(api)
    assert report.exact, report


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("paging", PAGINGS)
def test_partial_pages(stream: Stream, order: Any, paging: Any) -> None:
    with PracticeAPI(60, order=order, paging=paging, page_size=10) as api:
        api.short([2, 5], 1)
        api.short(3, 9)
        collect(stream, api)
        assert len(api.requests) > 7
        check(stream, api)


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("paging", ["cursor", "next_link"])
def test_empty_pages_with_a_cursor(stream: Stream, order: Any, paging: Any) -> None:
    with PracticeAPI(30, order=order, paging=paging, page_size=10) as api:
        api.short([1, *range(3, 3 + MAX_EMPTY_PAGES - 1)], 0)
        collect(stream, api)
        assert len(api.requests) == 1 + MAX_EMPTY_PAGES - 1 + 3
        check(stream, api)


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("paging", ["cursor", "next_link"])
def test_empty_pages_without_end(stream: Stream, order: Any, paging: Any) -> None:
    with PracticeAPI(30, order=order, paging=paging, page_size=10) as api:
        api.short(range(2, 1_000), 0)
        run = stream.run(api)
        assert "empty pages in a row" in str(run.failure)
        assert len(api.requests) <= MAX_EMPTY_PAGES + 3
        stream.check_position(api)
        api.heal()
        collect(stream, api)
        check(stream, api)


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("paging", ["cursor", "next_link", "keyset"])
@pytest.mark.parametrize("rows", [1, 5, 10])
def test_overlapping_pages(stream: Stream, order: Any, paging: Any, rows: int) -> None:
    with PracticeAPI(45, order=order, paging=paging, page_size=10) as api:
        api.offer(15, tied=True)
        api.overlap(None, rows)
        collect(stream, api)
        api.offer(5, tied=True)
        api.offer(5)
        collect(stream, api)
        check(stream, api)


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("paging", ["cursor", "next_link"])
def test_repeated_pages(stream: Stream, order: Any, paging: Any) -> None:
    with PracticeAPI(45, order=order, paging=paging, page_size=10) as api:
        api.offer(15, tied=True)
        api.repeat([2, 3, 5, 8])
        collect(stream, api)
        assert len(api.requests) == 6 + 4
        check(stream, api)


@pytest.mark.parametrize("arrivals", [1, 7, 10, 13])
def test_offsets_that_shift_by_arrivals(stream: Stream, arrivals: int) -> None:
    with PracticeAPI(50, order="newest_first", paging="offset", page_size=10) as api:
        for number in (2, 3, 5):
            api.before(number, lambda: api.offer(arrivals))
        collect(stream, api)
        stream.check_position(api)
        collect(stream, api)
        check(stream, api)


@pytest.mark.parametrize("arrivals", [1, 10])
def test_offsets_that_shift_by_late_arrivals(stream: Stream, arrivals: int) -> None:
    with PracticeAPI(50, order="oldest_first", paging="offset", page_size=10) as api:
        api.before(3, lambda: api.offer(arrivals, late=45))
        collect(stream, api, lookback=60)
        collect(stream, api, lookback=60)
        check(stream, api)


def test_offsets_that_skip_entries_because_others_went(stream: Stream) -> None:
    with PracticeAPI(50, paging="offset", page_size=10) as api:
        api.before(3, lambda: api.expire(5))
        collect(stream, api, lookback=60)
        # What moved up was not seen, but the lookback asks for it again.
        assert len(stream.compare(api).lost) == 5
        collect(stream, api, lookback=60)
        check(stream, api)


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("paging", ["cursor", "next_link"])
@pytest.mark.parametrize("length", [1, 2, 3, 4, 5])
def test_cursor_loops(stream: Stream, order: Any, paging: Any, length: int) -> None:
    with PracticeAPI(90, order=order, paging=paging, page_size=10) as api:
        api.loop(7, length)
        run = stream.run(api)
        assert "leads back to a page that it gave before (cursor_loop)" in str(run.failure)
        assert len(api.requests) == 7
        # What came until then is kept.
        assert len(stream.delivered()) == 70
        stream.check_position(api)
        api.offer(5)
        api.heal()
        collect(stream, api)
        check(stream, api)


@pytest.mark.parametrize("length", [1, 3])
def test_a_loop_that_stays_is_left_behind(stream: Stream, length: int) -> None:
    with PracticeAPI(90, page_size=10) as api:
        api.loop(7, length)
        assert stream.run(api).outcome == "failed"
        # The next run asks from the pointer on, and so for other pages.
        collect(stream, api)
        check(stream, api)


@pytest.mark.parametrize("order", ORDERS)
def test_a_last_page_that_leads_to_itself(stream: Stream, order: Any) -> None:
    with PracticeAPI(30, order=order, paging="next_link", page_size=10) as api:
        api.loop(3, 1)
        collect(stream, api, paging={"type": "link", "path": "next", "repeat_ends": True})
        assert len(api.requests) == 3
        check(stream, api)


@pytest.mark.parametrize("order", ORDERS)
def test_an_empty_page_without_a_cursor_although_there_is_more(stream: Stream, order: Any) -> None:
    with PracticeAPI(50, order=order, paging="keyset", page_size=10) as api:
        api.short(3, 0)
        run = stream.run(api)
        assert "gave an empty page and promises more" in str(run.failure)
        assert len(stream.delivered()) == 20
        stream.check_position(api)
        collect(stream, api)
        check(stream, api)


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("paging", ["cursor", "next_link"])
@pytest.mark.parametrize("status", [400, 404, 410])
def test_cursors_that_expire_within_a_run(stream: Stream, order: Any, paging: Any, status: int) -> None:
    with PracticeAPI(50, order=order, paging=paging, page_size=10) as api:
        api.before(4, lambda: api.expire_cursors(status))
        run = stream.run(api)
        assert f"answered status {status}, saying: " in str(run.failure)
        assert "the cursor has expired" in str(run.failure)
        assert len(stream.delivered()) == 30
        stream.check_position(api)
        api.offer(15)
        collect(stream, api)
        check(stream, api)


RESUMED = {"paging": {"type": "token", "path": "next_cursor", "param": "cursor", "resume": True}}


@pytest.mark.parametrize("status", [400, 410])
def test_cursors_that_expire_between_runs(stream: Stream, caplog: pytest.LogCaptureFixture, status: int) -> None:
    caplog.set_level(logging.WARNING)
    with PracticeAPI(50, page_size=10) as api:
        api.fault(4, truncated(10))
        api.fault(range(5, 9), truncated(10))
        assert stream.run(api, **RESUMED).outcome == "failed"
        cursor = stream.connector(api, **RESUMED).cursor
        assert cursor
        api.expire_cursors(status)
        api.offer(15)
        collect(stream, api, **RESUMED)
        check(stream, api)
        assert [record.event for record in caplog.records if hasattr(record, "event")] == ["cursor_expired"]


def test_a_run_goes_on_at_the_cursor_of_the_one_before(stream: Stream) -> None:
    with PracticeAPI(50, page_size=10) as api:
        api.fault(range(4, 9), truncated(10))
        assert stream.run(api, **RESUMED).outcome == "failed"
        before = len(api.requests)
        collect(stream, api, **RESUMED)
        # Not one page is asked for twice.
        assert len(api.requests) - before == 2
        assert "cursor" in api.requests[before].query
        check(stream, api)


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("framing", ["length", "chunked", "close"])
def test_a_page_cut_at_every_byte(stream: Stream, order: Any, framing: Any) -> None:
    def cut_at(size: int) -> Fault:
        return lambda reply: truncated(min(size, len(reply.body) - 1), framing)(reply)

    with PracticeAPI(190, order=order, page_size=1) as api:
        longest = max(len(encoded({"entries": [entry], "next_cursor": "x" * 60})) for entry in api.offered)
        # Every page is cut one byte later than the one before, and then asked for again.
        for size in range(longest):
            api.fault(1 + 2 * size, cut_at(size))
        collect(stream, api)
        assert len(api.requests) == 190 + longest
        check(stream, api)
