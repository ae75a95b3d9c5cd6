"""A host that is down does not hold up every stream that wants something of it."""

from __future__ import annotations

import os

import pytest

from grove.exceptions import RequestFailedException
from grove.http import Client, client
from grove.http._breaker import Breaker
from tests.http.conftest import Clock, Serve
from tests.http.server import Sent, reply

HOST = "https://api.example.com:443"


def down(breaker: Breaker) -> None:
    for _ in range(10):
        breaker.failed(HOST, "failed: connection refused.")


def test_ten_failures_in_a_row_are_enough(still: Clock) -> None:
    breaker = Breaker()
    assert [breaker.failed(HOST, "failed: x.") for _ in range(11)] == [False] * 9 + [True] * 2
    assert breaker.refusal(HOST) == (
        "was not sent, because the host failed 11 times in a row; the last time it failed: x. "
        "It is asked again in 30 seconds."
    )
    assert breaker.refusal("https://other.example.com:443") is None


def test_one_answer_in_between_is_enough_to_be_trusted(still: Clock) -> None:
    breaker = Breaker()
    for _ in range(5):
        for _ in range(9):
            breaker.failed(HOST, "")
        breaker.answered(HOST)
    assert breaker.refusal(HOST) is None


def test_one_at_a_time_sees_whether_it_is_back(still: Clock) -> None:
    breaker = Breaker()
    down(breaker)
    still.elapsed = 29
    assert breaker.refusal(HOST) is not None
    still.elapsed = 30
    assert breaker.refusal(HOST) is None
    assert breaker.refusal(HOST) is not None
    # The one that was let through has not come back yet, or never will.
    still.elapsed = 60
    assert breaker.refusal(HOST) is None
    breaker.answered(HOST)
    assert [breaker.refusal(HOST) for _ in range(3)] == [None] * 3


def test_a_failure_after_the_pause_begins_the_next_one(still: Clock) -> None:
    breaker = Breaker()
    down(breaker)
    still.elapsed = 30
    assert breaker.refusal(HOST) is None
    assert breaker.failed(HOST, "")
    still.elapsed = 59
    assert breaker.refusal(HOST) is not None


def test_old_failures_are_forgotten(still: Clock) -> None:
    breaker = Breaker()
    down(breaker)
    still.elapsed = 300
    assert [breaker.refusal(HOST) for _ in range(3)] == [None] * 3
    down(breaker)
    still.elapsed = 600
    assert not breaker.failed(HOST, "")


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_a_child_process_begins_without_failures(still: Clock) -> None:
    breaker = Breaker()
    down(breaker)
    child = os.fork()
    if child == 0:
        os._exit(0 if breaker.refusal(HOST) is None else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert breaker.refusal(HOST) is not None


def test_many_streams_of_a_host_that_is_down(serve: Serve, still: Clock) -> None:
    server = serve(reply(status=500))
    errors = []
    for _ in range(50):
        with pytest.raises(RequestFailedException) as caught:
            Client(server.url, stop=still.stop).get("/events")
        errors.append(str(caught.value))
    assert len(server.received) == 10
    assert sum(still.waits) <= 30
    assert "status 500" in errors[1]
    assert errors[2].startswith(
        f"GET 127.0.0.1:{server.port}/events was not sent, because the host failed 10 times in a row; the last time it "
        "answered status 500"
    )


def test_a_host_that_comes_back(serve: Serve, still: Clock) -> None:
    server = serve(*[Sent(b"", "reset")] * 10, reply(b'{"ok":true}'))
    for _ in range(3):
        with pytest.raises(RequestFailedException):
            Client(server.url, stop=still.stop).get("/")
    still.elapsed += 31
    assert Client(server.url, stop=still.stop).get("/").json() == {"ok": True}
    assert len(server.received) == 11


def test_a_host_that_stumbles_is_not_down(serve: Serve, still: Clock) -> None:
    server = serve(*[*[reply(status=500)] * 4, reply(b'{"ok":true}')] * 5)
    for _ in range(5):
        assert Client(server.url, stop=still.stop).get("/").json() == {"ok": True}
    assert len(server.received) == 25


def test_other_hosts_are_not_affected(serve: Serve, still: Clock) -> None:
    broken, fine = serve(reply(status=500)), serve(reply())
    for _ in range(5):
        with pytest.raises(RequestFailedException):
            Client(broken.url, stop=still.stop).get("/")
        assert Client(fine.url, stop=still.stop).get("/").status == 200


@pytest.mark.parametrize("status", [400, 401, 404, 429])
def test_a_host_that_refuses_is_not_down(serve: Serve, still: Clock, status: int) -> None:
    server = serve(reply(status=status))
    for _ in range(12):
        with pytest.raises(Exception, match=f"answered status {status}"):
            Client(server.url, attempts=1, stop=still.stop).get("/")
    assert len(server.received) == 12
    assert client._breaker.refusal(server.url) is None


def test_a_request_that_nobody_can_send_says_nothing_about_the_host(serve: Serve) -> None:
    server = serve(reply())
    broken = Client(server.url, headers={"X-Trace": "a\nb"})
    for _ in range(12):
        with pytest.raises(RequestFailedException, match="cannot be sent"):
            broken.get("/")
    assert Client(server.url).get("/").status == 200
