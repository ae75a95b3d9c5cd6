"""Sources that want patience, are down, drip, or send too much; and the other streams meanwhile."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any

import pytest

from grove.exceptions import RateLimitException
from grove.http import _breaker
from grove.testing.practice import PracticeAPI, compare
from grove.testing.practice_bodies import content, html, packed
from grove.testing.practice_faults import (
    Fault,
    drip,
    rate_limited,
    reset,
    status,
    until,
)

from .streams import Stream

ORDERS = ["oldest_first", "newest_first"]
MakeStream = Callable[..., Stream]


def api_for(order: Any, stream: Stream, **how: Any) -> PracticeAPI:
    return PracticeAPI(45, order=order, page_size=10, paging="next_link", clock=stream.clock, **how)


def collect(stream: Stream, api: PracticeAPI, **fields: Any) -> None:
    run = stream.run(api, **fields)
    assert run.outcome == "succeeded", run.failure
    report = stream.compare(api)
    assert report.exact, report


HEADERS: list[tuple[str, dict[str, str]]] = [
    ("seconds", {}),
    ("fraction", {}),
    ("date", {}),
    ("reset_epoch", {"reset_header": "X-RateLimit-Reset"}),
    ("okta", {"reset_header": "X-Rate-Limit-Reset"}),
    ("reset_epoch_ms", {"reset_header": "X-RateLimit-Reset", "form": "epoch_ms"}),
    ("reset_seconds", {"reset_header": "RateLimit-Reset", "form": "delta"}),
    ("reset_minutes", {"reset_header": "X-RateLimit-Reset", "form": "iso"}),
]


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("skew", [0.0, -3_600.0, 3_600.5])
@pytest.mark.parametrize(("how", "limit"), HEADERS, ids=[how for how, _ in HEADERS])
def test_a_rate_limit_is_waited_for(stream: Stream, order: Any, skew: float, how: str, limit: dict[str, str]) -> None:
    with api_for(order, stream) as api:
        # The server's clock is wrong, and says so in its answers.
        api.clock = lambda: stream.clock() + skew
        api.fault(None, until(api.clock() + 20, rate_limited(20, how)))
        collect(stream, api, rate_limit=limit)
        assert 20 <= sum(stream.clock.waits) <= 90
        assert [request.status for request in api.requests[:2]] == [429, 200]


@pytest.mark.parametrize("how", ["milliseconds", "structured", "nonsense", "none"])
def test_a_rate_limit_that_does_not_say_until_when(stream: Stream, how: str) -> None:
    with api_for("oldest_first", stream) as api:
        api.fault([3, 4], rate_limited(1, how))
        collect(stream, api)
        # Two waits, each as long as chance would have it.
        assert len(stream.clock.waits) == 2
        assert sum(stream.clock.waits) <= 3


@pytest.mark.parametrize("code", [403, 503])
def test_a_rate_limit_by_another_status(stream: Stream, code: int) -> None:
    with api_for("oldest_first", stream) as api:
        api.fault(None, until(stream.clock() + 20, rate_limited(20, "seconds", code)))
        collect(stream, api)


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("how", ["seconds", "date"])
def test_a_rate_limit_that_outlasts_a_run(stream: Stream, order: Any, how: str) -> None:
    with api_for(order, stream) as api:
        ends = stream.clock() + 3_600
        api.fault(range(3, 10), until(ends, rate_limited(3_600, how)))
        run = stream.run(api)
        assert isinstance(run.failure, RateLimitException)
        assert run.failure.until is not None
        assert re.search(r"answered status 429.*It may be asked again at \d{4}-", str(run.failure))
        assert stream.clock.waits == []
        stream.check_position(api)
        stream.clock.now = ends
        api.offer(5)
        collect(stream, api)


@pytest.mark.parametrize("order", ORDERS)
def test_a_storm_of_rate_limits(stream: Stream, order: Any) -> None:
    with api_for(order, stream) as api:
        api.fault(range(3, 1_003), rate_limited(1))
        runs = 0
        while stream.run(api).outcome != "succeeded":
            runs += 1
            assert len(api.requests) <= 5 * (runs + 1)
            stream.check_position(api)
        assert 190 <= runs <= 260
        # Within a run, as long as it was told before every request but the first.
        assert len(stream.clock.waits) >= 4 * runs
        assert min(stream.clock.waits) >= 1
        assert stream.compare(api).exact


@pytest.mark.parametrize("order", ORDERS)
def test_a_host_that_is_down_is_left_alone_and_others_are_not(
    stream: Stream, monkeypatch: pytest.MonkeyPatch, order: Any
) -> None:
    moment = SimpleNamespace(now=0.0)
    monkeypatch.setattr(_breaker, "clock", SimpleNamespace(monotonic=lambda: moment.now))
    with api_for(order, stream) as down, PracticeAPI(30, order=order) as other:
        down.fault(range(3, 1_000), status(503))
        for _ in range(20):
            run = stream.run(down)
            assert run.outcome == "failed"
        assert "was not sent, because the host failed 10 times in a row; the last time it answered status 503" in str(
            run.failure
        )
        assert len(down.requests) == 2 + 10
        before = stream.delivered()
        assert stream.run(other, identity="other").outcome == "succeeded"
        assert len(stream.delivered()) == len(before) + 30
        # One attempt after a while, and then all is as it was.
        moment.now = 30.0
        assert stream.run(down).outcome == "failed"
        assert len(down.requests) == 2 + 10 + 1
        down.heal()
        moment.now = 60.0
        assert stream.run(down).outcome == "succeeded"
        report = compare([*down.offered, *other.offered], stream.delivered())
        assert report.exact, report


@pytest.mark.parametrize("order", ORDERS)
def test_nobody_is_there(stream: Stream, order: Any) -> None:
    with api_for(order, stream) as api:
        before = stream.connector(api)
    run = stream.collect(before)
    assert "failed: connection refused. It was asked 5 times." in str(run.failure)
    with api:
        collect(stream, api)


# --- too slow ---


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("pieces", [(0.02, 1), (0.2, 10)], ids=["bytes", "pieces"])
def test_a_drip_feed_ends_with_the_deadline(make_stream: MakeStream, order: Any, pieces: tuple[float, int]) -> None:
    stream = make_stream("written")
    with api_for(order, stream) as api:
        api.fault(range(3, 10), drip(*pieces))
        run = stream.run(api, deadline=0.6)
        assert "took longer than 0.6 seconds" in str(run.failure)
        stream.check_position(api)
        api.heal()
        api.offer(5)
        collect(stream, api)


@pytest.mark.parametrize("order", ORDERS)
def test_a_drip_feed_within_the_deadline(stream: Stream, order: Any) -> None:
    with api_for(order, stream) as api:
        api.fault([2, 4], drip(0.001, 50))
        collect(stream, api)


# --- too much ---


@pytest.mark.parametrize("order", ORDERS)
def test_a_page_that_is_too_long(make_stream: MakeStream, order: Any) -> None:
    stream = make_stream("written")
    with api_for(order, stream) as api:
        api.before(3, lambda: setattr(api, "page_size", 1_000))
        run = stream.run(api, max_response_bytes=1_500)
        assert "failed: its body is longer than 1,500 bytes. Ask for smaller pages." in str(run.failure)
        assert len(stream.delivered()) == 20
        stream.check_position(api)
        api.page_size = 10
        collect(stream, api, max_response_bytes=1_500)


@pytest.mark.parametrize("how", ["gzip", "deflate"])
def test_a_page_that_unpacks_without_end(stream: Stream, how: str) -> None:
    bomb = content(b'{"entries":[' + b" " * 20_000_000)
    with api_for("oldest_first", stream) as api:
        api.fault(3, bomb, packed(how))
        run = stream.run(api)
        assert "grows to more than 200 times its size" in str(run.failure)
        assert len(stream.delivered()) == 20
        collect(stream, api)


# --- the others ---


def test_one_stream_keeps_no_other_from_its_work(stream: Stream) -> None:
    apis = [PracticeAPI(25, page_size=10) for _ in range(5)]
    faults: list[Fault] = [status(500), html(), reset(), content(b"[" * 100_000)]
    released = threading.Event()
    apis[0].before(2, released.wait)
    for api, fault in zip(apis[1:], faults, strict=False):
        api.fault(range(2, 20), fault)
    with ThreadPoolExecutor(5) as pool:
        for api in apis:
            api.__enter__()
        try:
            runs = [
                pool.submit(stream.connector(api, identity=f"tenant-{number}", gather=1).run)
                for number, api in enumerate(apis)
            ]
            for run in runs[1:]:
                run.result(60)
            # All others are done, and the first one still waits for its second page.
            assert not runs[0].done()
            assert [len(_of(stream, number)) for number in range(5)] == [10, 10, 10, 10, 10]
            released.set()
            runs[0].result(60)
            for number, api in enumerate(apis):
                api.heal()
                assert stream.run(api, identity=f"tenant-{number}").outcome == "succeeded"
                assert api.compare(_of(stream, number)).exact
        finally:
            released.set()
            for api in apis:
                api.__exit__(None, None, None)


def _of(stream: Stream, number: int) -> list[dict[str, Any]]:
    return [entry for entry in stream.delivered() if entry["_grove"]["identity"] == f"tenant-{number}"]
