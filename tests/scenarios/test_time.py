"""Clocks that are wrong, zones, spans of years, and entries that are not kept for ever."""

from __future__ import annotations

import gzip
import logging
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from grove.helpers import clock
from grove.testing.practice import PracticeAPI
from grove.testing.practice_faults import status

from .streams import Stream

ORDERS = ["oldest_first", "newest_first"]
MakeStream = Callable[[], Stream]
NOW = datetime(2026, 3, 30, 12, 0, tzinfo=UTC)
DAY = 86_400.0
SPAN = {"since": "{since}", "until": "{until}"}


class Wall:
    """The host's clock, which only the test moves."""

    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture
def wall(monkeypatch: pytest.MonkeyPatch) -> Wall:
    wall = Wall()
    monkeypatch.setattr(clock, "now", wall)
    return wall


def collect(stream: Stream, api: PracticeAPI, **fields: Any) -> None:
    run = stream.run(api, **fields)
    assert run.outcome == "succeeded", run.failure


def check(stream: Stream, api: PracticeAPI) -> None:
    report = stream.compare(api)
    assert report.exact, report


# --- clocks ---


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("skew", [-1.0, 1.0, -24.0, 24.0])
def test_a_host_whose_clock_is_wrong(stream: Stream, wall: Wall, order: Any, skew: float) -> None:
    with PracticeAPI(
        40, order=order, page_size=9, beginning=NOW.timestamp() - 40 * 120, spacing=120, clock=NOW.timestamp
    ) as api:
        wall.now = NOW + timedelta(hours=skew)
        collect(stream, api, params=SPAN)
        stream.check_position(api)
        # A clock that is behind asks for no more than it knows of; once it is right, the rest comes.
        assert len(stream.delivered()) == sum(datetime.fromisoformat(one["at"]) <= wall.now for one in api.offered)
        wall.now = NOW
        api.offer(3, tied=True)
        collect(stream, api, params=SPAN)
        check(stream, api)


@pytest.mark.parametrize("order", ORDERS)
def test_a_clock_that_jumps_during_a_run(stream: Stream, wall: Wall, order: Any) -> None:
    with PracticeAPI(40, order=order, page_size=9, beginning=NOW.timestamp() - 40) as api:
        for number, hours in ((2, -30), (3, 30), (4, -1)):
            api.before(number, lambda hours=hours: setattr(wall, "now", NOW + timedelta(hours=hours)))
        collect(stream, api, params=SPAN)
        check(stream, api)
        wall.now = NOW + timedelta(minutes=1)
        api.offer(5)
        collect(stream, api, params=SPAN)
        check(stream, api)


def test_a_last_run_in_the_future_counts_for_nothing(stream: Stream, wall: Wall) -> None:
    with PracticeAPI(5, beginning=NOW.timestamp() - 5) as api:
        wall.now = NOW + timedelta(days=1)
        collect(stream, api)
        assert stream.connector(api).due() is False
        wall.now = NOW
        assert stream.connector(api).due() is True


@pytest.mark.parametrize("order", ORDERS)
def test_entries_from_the_future(stream: Stream, wall: Wall, order: Any) -> None:
    with PracticeAPI(20, order=order, page_size=9, beginning=NOW.timestamp() - 20) as api:
        api.offer([{"id": "early", "at": "2031-01-01T00:00:00.000Z"}])
        collect(stream, api, params=SPAN)
        # The source gives what it was asked for, which ends now.
        assert "early" not in {entry["id"] for entry in stream.delivered()}
        wall.now = NOW + timedelta(hours=1)
        api.offer([{"id": "later", "at": "2026-03-30T12:30:00.000Z"}])
        collect(stream, api, params=SPAN)
        assert {entry["id"] for entry in stream.compare(api).lost} == {"early"}


# --- zones ---

ZONES = ["Europe/Berlin", "America/New_York", "Asia/Kolkata", "Pacific/Chatham", "Antarctica/Troll", "America/Caracas"]
CHANGES = ["2025-03-09T06:00", "2025-03-30T00:00", "2025-10-26T00:00", "2025-11-02T05:00"]


@pytest.fixture
def in_zone() -> Iterator[Callable[[str], None]]:
    """Moves the host there."""
    with pytest.MonkeyPatch.context() as patch:

        def move(zone: str) -> None:
            patch.setenv("TZ", zone)
            time.tzset()

        yield move
    time.tzset()


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("zone", ZONES)
def test_the_zone_of_the_host_changes_nothing(
    make_stream: MakeStream, wall: Wall, in_zone: Callable[[str], None], zone: str, order: Any
) -> None:
    in_zone("UTC")
    expected = _collected(make_stream(), wall, order)
    in_zone(zone)
    assert time.tzname[0] != "UTC"
    assert _collected(make_stream(), wall, order) == expected


def _collected(stream: Stream, wall: Wall, order: Any) -> tuple[list[bytes], list[dict[str, str]]]:
    """What is delivered around each change of clocks, to the byte, and the queries that asked for it."""
    asked = []
    for number, change in enumerate(CHANGES):
        began = datetime.fromisoformat(f"{change}Z")
        tenant = f"tenant-{number}"
        with PracticeAPI(10, order=order, page_size=4, beginning=began.timestamp(), spacing=1_800) as api:
            for hours in (1, 5):
                wall.now = began + timedelta(hours=hours)
                api.clock = wall.now.timestamp
                collect(stream, api, identity=tenant, params=SPAN, delay=60, lookback=3_600)
            asked += [{**request.query, "tenant": tenant} for request in api.requests]
            assert stream.connector(api, identity=tenant).pointer == api.offered[-1]["at"]
    delivered = sorted(gzip.decompress(path.read_bytes()) for path in stream.path.rglob("*.json.gz"))
    assert b"".join(delivered).count(b"\n") == 10 * len(CHANGES)
    return delivered, asked


# --- years ---


@pytest.mark.parametrize("order", ORDERS)
def test_a_first_run_over_years(stream: Stream, wall: Wall, order: Any) -> None:
    years = 5 * 365 * DAY
    with PracticeAPI(200, order=order, page_size=10, beginning=NOW.timestamp() - years, spacing=years / 200) as api:
        declared = {"params": SPAN, "max_span": 90 * DAY, "first_run": years + DAY}
        for number in (3, 5, 8):
            api.fault(number, status(400))
            assert stream.run(api, **declared).outcome == "failed"
            stream.check_position(api)
        collect(stream, api, **declared)
        check(stream, api)
        # No query is for more than it may be.
        for request in api.requests:
            since, until = (datetime.fromisoformat(request.query[name]) for name in ("since", "until"))
            assert until - since <= timedelta(days=90)


# --- what is not kept ---


@pytest.mark.parametrize("order", ORDERS)
def test_a_source_that_was_away_for_longer_than_it_keeps_entries(
    stream: Stream, wall: Wall, caplog: pytest.LogCaptureFixture, order: Any
) -> None:
    caplog.set_level(logging.WARNING)
    with PracticeAPI(50, order=order, page_size=10, beginning=NOW.timestamp() - 50, retention=DAY) as api:
        collect(stream, api, retention=DAY)
        api.fault(None, status(503))
        assert stream.run(api, retention=DAY).outcome == "failed"
        api.heal()
        wall.now = NOW + timedelta(days=3)
        gone = api.offer(7)
        api.offer(30, at="2026-04-02T11:59:00.000Z")
        assert [record for record in caplog.records if getattr(record, "event", "") == "gap_detected"] == []
        collect(stream, api, retention=DAY)
        report = stream.compare(api)
        assert report.exact, report
        assert report.expired == gone
        (gap,) = [record for record in caplog.records if getattr(record, "event", "") == "gap_detected"]
        assert (gap.__dict__["from"], gap.to) == ("2026-03-30T11:59:59Z", "2026-04-01T12:00:00Z")


@pytest.mark.parametrize("order", ORDERS)
def test_entries_that_go_while_they_are_being_collected(stream: Stream, order: Any) -> None:
    with PracticeAPI(60, order=order, page_size=10, paging="next_link") as api:
        for number in (2, 4):
            api.before(number, lambda: api.expire(12))
        collect(stream, api)
        stream.check_position(api)
        report = stream.compare(api)
        assert report.exact, report
        # Oldest first, all but two were collected before they went.
        assert len(report.expired) == (2 if order == "oldest_first" else 24)
