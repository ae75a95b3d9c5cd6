"""Every way in which an answer can go wrong, as a client sees it."""

import random
import time
from email.utils import parsedate_to_datetime

import pytest
import requests

from grove.exceptions import RequestFailedException
from grove.testing.practice import PracticeAPI
from grove.testing.practice_bodies import content, error_body, html
from grove.testing.practice_faults import (
    RATE_LIMIT_HEADERS,
    drip,
    once,
    rate_limited,
    raw,
    redirect,
    reset,
    slow,
    sometimes,
    stalled,
    status,
    truncated,
    until,
    where,
)

NOW = 1_800_000_000.0


@pytest.fixture
def api():
    with PracticeAPI(20, token=None, clock=lambda: NOW) as api:
        yield api


@pytest.fixture
def get(api):
    session = requests.Session()
    session.trust_env = False
    yield lambda timeout=5.0: session.get(api.url, timeout=timeout)
    session.close()


ERRORS = (requests.ConnectionError, requests.exceptions.ChunkedEncodingError)


@pytest.mark.parametrize(
    "fault",
    [reset(), reset(0), reset(50), truncated(0), truncated(50), truncated(50, "chunked")],
    ids=["reset", "reset-head", "reset-body", "cut-head", "cut-body", "cut-chunked"],
)
def test_a_connection_that_breaks_is_an_error_and_the_next_request_works(api, get, fault):
    api.fault(2, fault)
    assert get().status_code == 200
    with pytest.raises(ERRORS):
        get()
    assert len(get().json()["entries"]) == 20
    assert api.served == 40


def test_a_reset_is_no_orderly_end(api, get):
    api.fault(1, reset())
    with pytest.raises(requests.ConnectionError, match="reset by peer"):
        get()
    assert api.requests[0].status == 0


def test_a_cut_body_without_a_length_looks_complete(api, get):
    whole = get().content
    api.fault(1, truncated(50, "close"))
    assert get().content == whole[:50]
    assert get().content == whole


@pytest.mark.parametrize("fault", [stalled(), stalled(0), stalled(50)], ids=["silent", "head", "body"])
def test_a_stalled_answer_times_out(api, get, fault):
    api.fault(1, fault)
    with pytest.raises((requests.Timeout, requests.ConnectionError), match="timed out"):
        get(0.1)
    assert get().status_code == 200


def test_the_end_of_the_api_ends_what_is_stalled():
    with PracticeAPI(1, token=None) as api, requests.Session() as session:
        api.fault(1, stalled(5))
        answer = session.get(api.url, timeout=30, stream=True)
        started = time.monotonic()
        api.__exit__(None, None, None)
        with pytest.raises(ERRORS):
            answer.content  # noqa: B018
    assert time.monotonic() - started < 5


@pytest.mark.parametrize("fault", [slow(0.05), drip(0.001, 40)], ids=["slow", "drip"])
def test_slow_answers_are_whole(api, get, fault):
    whole = get().content
    api.fault(1, fault)
    started = time.monotonic()
    assert get().content == whole
    assert time.monotonic() - started >= 0.04
    assert get().content == whole
    assert api.served == 60


@pytest.mark.parametrize("how", RATE_LIMIT_HEADERS)
def test_rate_limits_say_when_to_come_back(api, get, how):
    api.fault(1, rate_limited(30, how))
    answer = get()
    assert answer.status_code == 429
    expected = {
        "seconds": ("Retry-After", "30"),
        "fraction": ("Retry-After", "30.00"),
        "date": ("Retry-After", "Fri, 15 Jan 2027 08:00:30 GMT"),
        "milliseconds": ("Retry-After-Ms", "30000"),
        "reset_epoch": ("X-RateLimit-Reset", "1800000030"),
        "reset_epoch_ms": ("X-RateLimit-Reset", "1800000030000"),
        "reset_minutes": ("X-RateLimit-Reset", "2027-01-15T08:01Z"),
        "okta": ("X-Rate-Limit-Reset", "1800000030"),
        "reset_seconds": ("RateLimit-Reset", "30"),
        "structured": ("RateLimit", '"default";r=0;t=30'),
        "nonsense": ("Retry-After", "soon"),
        "none": ("Retry-After", None),
    }
    name, value = expected[how]
    assert answer.headers.get(name) == value
    # A client that goes by the server's clock has something to go by.
    assert parsedate_to_datetime(answer.headers["Date"]).timestamp() == NOW


@pytest.mark.parametrize(
    ("fault", "code", "kind", "body"),
    [
        (status(503), 503, "application/json", b'{"error":"scripted, status 503"}'),
        (status(500, b""), 500, "application/json", b""),
        (status(302, headers={"Location": "http://127.0.0.1:9/"}), 302, "application/json", None),
        (html(), 200, "text/html; charset=utf-8", None),
        (error_body(), 200, "application/json", b'{"ok":false,"error":"internal_error"}'),
        (content(b"[1,", "text/plain", 206), 206, "text/plain", b"[1,"),
    ],
    ids=["unavailable", "empty", "redirect", "html", "error", "content"],
)
def test_wrong_answers(api, get, fault, code, kind, body):
    api.fault(1, fault)
    answer = requests.get(api.url, timeout=5, allow_redirects=False)
    assert (answer.status_code, answer.headers["Content-Type"]) == (code, kind)
    assert body is None or answer.content == body
    assert api.requests[0].status == code
    assert api.served == 0


def test_the_script_counts_from_the_next_request(api, get):
    get()
    api.fault([2, 3], status(500))
    api.fault(range(3, 5), slow(0.001), status(502))
    assert [get().status_code for _ in range(5)] == [200, 500, 502, 502, 200]
    api.fault(None, status(503))
    api.fault(2, status(504))
    assert [get().status_code for _ in range(3)] == [503, 503, 503]
    api.heal()
    assert get().status_code == 200
    with pytest.raises(ValueError, match="number 1"):
        api.fault(0, status(500))


def test_the_same_script_runs_without_http():
    api = PracticeAPI(5, page_size=2)
    api.fault(1, status(503))
    api.fault(2, reset())
    api.fault(3, slow(5))
    api.fault(4, html())
    api.before(3, lambda: api.offer(1))
    for expected in ("503", "status 200", None, "status 200"):
        if expected is None:
            assert len(api.page().entries) == 2
        else:
            with pytest.raises(RequestFailedException, match=expected):
                api.page()
    assert [request.status for request in api.requests] == [503, 0, 200, 200]
    assert (len(api.offered), api.served) == (6, 2)


def test_a_mistake_of_the_scenario_is_not_swallowed():
    with pytest.raises(ZeroDivisionError), PracticeAPI(1, token=None) as api:
        api.before(1, lambda: 1 / 0)
        assert requests.get(api.url, timeout=5).status_code == 500


@pytest.mark.parametrize("data", [b"", b"SSH-2.0-OpenSSH_9.2\r\n", b"HTTP/1.1 2"])
def test_something_else_than_an_answer(api, get, data):
    api.fault(1, raw(data))
    with pytest.raises(requests.ConnectionError):
        get()
    assert get().status_code == 200
    assert [request.status for request in api.requests] == [0, 200]


def test_a_redirect(api, get):
    api.fault(1, redirect(f"{api.url}?limit=1", 307))
    assert len(get().json()["entries"]) == 1
    assert [request.status for request in api.requests] == [307, 200]


def test_some_answers_go_wrong(api, get):
    api.fault(None, sometimes(0.3, random.Random(5), status(502), status(503)))
    found = [get().status_code for _ in range(100)]
    assert 15 < found.count(502) + found.count(503) < 45
    assert min(found.count(502), found.count(503)) > 3


def test_faults_for_a_page_and_not_for_a_request(api, get):
    last = b'"id":"%b"' % api.offered[-1]["id"].encode()
    api.fault(None, where(last, status(503), slow(0.001)))
    assert get().status_code == 503
    api.expire(20)
    assert get().status_code == 200


def test_a_fault_that_happens_once(api, get):
    api.fault(None, once(where(b"e-0000019", status(502))), once(status(503)))
    # The second one changes what the first made of it.
    assert [get().status_code for _ in range(3)] == [503, 200, 200]
    api.heal()
    api.fault(None, once(where(b"no such text", status(502))))
    assert [get().status_code for _ in range(3)] == [200, 200, 200]


def test_faults_until_a_moment(api, get):
    api.fault(None, until(NOW + 10, status(503)))
    assert get().status_code == 503
    api.clock = lambda: NOW + 10
    assert get().status_code == 200
