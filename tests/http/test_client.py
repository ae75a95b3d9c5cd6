"""What a client sends, which answers it takes, and how long it tries."""

from __future__ import annotations

import logging
import pickle
import socket
import threading
from datetime import timedelta
from typing import Any

import pytest

from grove.exceptions import ConfigurationException, RateLimitException, RequestFailedException, StoppedError
from grove.http import Bearer, Client, Header, RateLimit, Response
from tests.http.conftest import START, Clock, Serve
from tests.http.server import Received, Sent, reply

OK = reply(b'{"ok":true}')


# --- what is sent ---


def test_a_request_carries_the_credentials_and_says_who_asks(serve: Serve) -> None:
    server = serve(OK)
    answer = Client(server.url, Bearer("abcdef")).get("/events", params={"since": "2026-01-01T00:00:00+00:00"})
    assert (answer.status, answer.json(), answer.url) == (
        200,
        {"ok": True},
        f"{server.url}/events?since=2026-01-01T00%3A00%3A00%2B00%3A00",
    )
    [request] = server.received
    assert request.target == "/events?since=2026-01-01T00%3A00%3A00%2B00%3A00"
    assert request.headers["authorization"] == "Bearer abcdef"
    assert request.headers["accept"] == "application/json"
    assert request.headers["accept-encoding"] == "gzip, deflate"
    assert request.headers["user-agent"].startswith("grove/")
    assert "cookie" not in request.headers


@pytest.mark.parametrize(
    ("params", "query"),
    [
        ({"a": 1, "b": None, "c": True}, "a=1&c=true"),
        ({"filter[created_at][]": ["x", "y"]}, "filter%5Bcreated_at%5D%5B%5D=x&filter%5Bcreated_at%5D%5B%5D=y"),
        ([("a", "1"), ("a", "2")], "a=1&a=2"),
        ({"q": "a+b&c=d %é"}, "q=a%2Bb%26c%3Dd+%25%C3%A9"),
        ({}, ""),
    ],
)
def test_parameters(serve: Serve, params: Any, query: str) -> None:
    server = serve(OK)
    Client(server.url).get("events", params=params)
    assert server.received[0].target == ("/events" + (f"?{query}" if query else ""))


def test_parameters_are_added_to_a_query_that_is_there(serve: Serve) -> None:
    server = serve(OK)
    Client(server.url).get("/events?cursor=a%2Bb", params={"limit": 5})
    assert server.received[0].target == "/events?cursor=a%2Bb&limit=5"


@pytest.mark.parametrize(
    "target", ["/p?cursor=a%2Bb%26c%3Dd", "/p?c=%7e%41%2E~", "/p/%2e%2E%2f?x='!*()", "/?q=%C3%A9;a"]
)
def test_a_link_is_asked_for_byte_by_byte(serve: Serve, target: str) -> None:
    server = serve(OK)
    Client(server.url).get(server.url + target)
    # What may change is the case of an escape's digits, which means nothing.
    assert server.received[0].target.lower() == target.lower()


@pytest.mark.parametrize(
    ("given", "content_type", "body"),
    [
        ({"json": {"limit": 2}}, "application/json", b'{"limit": 2}'),
        ({"data": {"grant_type": "x", "n": 1}}, "application/x-www-form-urlencoded", b"grant_type=x&n=1"),
        ({"data": b"raw", "headers": {"Content-Type": "text/plain"}}, "text/plain", b"raw"),
    ],
)
def test_bodies(serve: Serve, given: dict[str, Any], content_type: str, body: bytes) -> None:
    server = serve(OK)
    Client(server.url).post("/search", **given)
    [request] = server.received
    assert (request.method, request.headers["content-type"], request.body) == ("POST", content_type, body)


@pytest.mark.parametrize(
    ("base", "path", "target"),
    [
        ("", "/events", "/events"),
        ("", "events", "/events"),
        ("/api/v3", "/orgs/x", "/api/v3/orgs/x"),
        ("/api/v3/", "orgs/x", "/api/v3/orgs/x"),
        ("/api/v3", "", "/api/v3"),
        ("/api", "?page=2", "/api/?page=2"),
        ("/api", "//evil.example/x", "/api/evil.example/x"),
        ("/api", "@evil.example/x", "/api/@evil.example/x"),
        ("", "/events?link=https://elsewhere.example/", "/events?link=https://elsewhere.example/"),
    ],
)
def test_relative_addresses_lie_below_the_base(serve: Serve, base: str, path: str, target: str) -> None:
    server = serve(OK)
    Client(server.url + base).get(path)
    assert server.received[0].target == target


def test_absolute_addresses_must_be_on_the_bases_origin(serve: Serve) -> None:
    own, other = serve(OK), serve(OK)
    client = Client(own.url, Bearer("abcdef"))
    assert client.get(f"{own.url}/elsewhere").status == 200
    with pytest.raises(RequestFailedException, match="only origin that may see the credentials"):
        client.get(f"{other.url}/events")
    assert other.received == []


def test_without_a_base_the_first_address_binds_the_credentials(serve: Serve) -> None:
    own, other = serve(OK), serve(OK)
    client = Client(None, Bearer("abcdef"))
    assert client.get(f"{own.url}/events").status == 200
    assert client.get(f"{own.url}/other").status == 200
    with pytest.raises(RequestFailedException, match=r"is not asked: these credentials belong to 127\.0\.0\.1"):
        client.get(f"{other.url}/events")
    assert other.connections == 0


def test_without_credentials_and_base_every_address_may_be_asked(serve: Serve) -> None:
    client = Client(None)
    assert [client.get(serve(OK).url).status for _ in range(2)] == [200, 200]
    with pytest.raises(ConfigurationException, match="is relative, and the client has no base address"):
        client.get("/events")


@pytest.mark.parametrize(
    "base",
    [
        "",
        "api.example.com",
        "ftp://api.example.com",
        "https://",
        "https://user:pw@api.example.com",
        "https://a b.example",
        "https://api.example.com?x=1",
        "https://api.example.com#x",
        "https://api.example.com:99999",
        "https://[::1",
        "https://zürich.example",
    ],
)
def test_an_address_that_cannot_be_asked_is_an_error_of_the_document(base: str) -> None:
    with pytest.raises(ConfigurationException) as caught:
        Client(base)
    assert "pw" not in str(caught.value)


def test_connections_are_shared_by_all_clients(serve: Serve) -> None:
    server = serve(OK)
    for _ in range(5):
        Client(server.url, Bearer("abcdef")).get("/")
    assert server.connections == 1


def test_cookies_are_not_kept(serve: Serve) -> None:
    server = serve(reply(headers={"Set-Cookie": "tenant=one; Path=/"}))
    client = Client(server.url)
    client.get("/")
    client.get("/")
    assert "cookie" not in server.received[1].headers


def test_a_client_is_safe_for_threads(serve: Serve) -> None:
    server = serve(lambda request: reply(b'"%s"' % request.target.encode()))
    client = Client(server.url)
    wrong: list[str] = []

    def ask(number: int) -> None:
        for turn in range(20):
            target = f"/{number}/{turn}"
            if client.get(target).json() != target:
                wrong.append(target)

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert len(server.received) == 160


# --- what is tried again ---


@pytest.mark.parametrize("status", [500, 502, 503, 504, 599, 408, 425])
def test_a_failure_of_the_server_is_tried_again(serve: Serve, still: Clock, status: int) -> None:
    server = serve(reply(status=status), reply(status=status), OK)
    assert Client(server.url, stop=still.stop).get("/").json() == {"ok": True}
    assert len(server.received) == 3
    assert len(still.waits) == 2
    assert still.waits[0] <= 1
    assert still.waits[1] <= 2


@pytest.mark.parametrize("end", ["reset", "close"])
def test_a_connection_that_breaks_is_tried_again(serve: Serve, still: Clock, end: Any) -> None:
    server = serve(Sent(b"", end), Sent(b"HTTP/1.1 200 OK\r\nContent-Le", end), OK)
    assert Client(server.url, stop=still.stop).get("/").json() == {"ok": True}
    assert len(server.received) == 3


def test_attempts_are_bounded(serve: Serve, still: Clock) -> None:
    server = serve(reply(b'{"error":"out of order"}', 500))
    with pytest.raises(RequestFailedException) as caught:
        Client(server.url, attempts=4, stop=still.stop).get("/events?token=hidden")
    assert str(caught.value) == (
        f'GET 127.0.0.1:{server.port}/events answered status 500, saying: {{"error":"out of order"}}. '
        "It was asked 4 times."
    )
    assert caught.value.status == 500
    assert len(server.received) == 4


def test_nobody_there(serve: Serve, still: Clock) -> None:
    server = serve(OK)
    server.close()
    with pytest.raises(RequestFailedException, match=r"failed: connection refused\. It was asked 5 times\.$") as caught:
        Client(server.url, stop=still.stop).get("/")
    assert caught.value.status is None
    assert len(still.waits) == 4


def test_what_is_not_idempotent_is_not_repeated(serve: Serve, still: Clock) -> None:
    server = serve(reply(status=500))
    with pytest.raises(RequestFailedException, match="status 500"):
        Client(server.url, stop=still.stop).post("/", json={}, idempotent=False)
    assert len(server.received) == 1


def test_what_is_not_idempotent_is_repeated_after_a_rate_limit(serve: Serve, still: Clock) -> None:
    server = serve(reply(status=429), OK)
    assert Client(server.url, stop=still.stop).post("/", json={}, idempotent=False).status == 200


def test_a_post_is_repeated_with_the_same_body(serve: Serve, still: Clock) -> None:
    server = serve(reply(status=502), Sent(b"", "reset"), OK)
    Client(server.url, stop=still.stop).post("/", json={"cursor": "c"})
    assert {request.body for request in server.received} == {b'{"cursor": "c"}'}
    assert len(server.received) == 3


def test_a_status_that_the_vendor_means_as_later(serve: Serve, still: Clock) -> None:
    server = serve(reply(status=409), OK)
    assert Client(server.url, retry_statuses=[409], stop=still.stop).get("/").status == 200
    with pytest.raises(RequestFailedException, match="status 409"):
        Client(serve(reply(status=409)).url, stop=still.stop).get("/")


@pytest.mark.parametrize("status", [400, 402, 404, 410, 422])
def test_a_mistake_of_ours_is_not_repeated(serve: Serve, status: int) -> None:
    server = serve(reply(b'{"message":"no such thing"}', status))
    with pytest.raises(
        RequestFailedException, match=f'status {status}, saying: {{"message":"no such thing"}}'
    ) as caught:
        Client(server.url).get("/")
    assert caught.value.status == status
    assert len(server.received) == 1


def test_statuses_that_the_caller_accepts(serve: Serve) -> None:
    server = serve(reply(b'{"error":"reset"}', 409))
    answer = Client(server.url).post("/", json={}, accept=[409])
    assert (answer.status, answer.json()) == (409, {"error": "reset"})


# --- rate limits ---

AT = int(START.timestamp())


@pytest.mark.parametrize(
    ("limit", "headers"),
    [
        (RateLimit(), {"Retry-After": "40"}),
        (RateLimit(), {"Retry-After": "40.0"}),
        (RateLimit(), {"Retry-After": "Tue, 24 Nov 2026 12:00:40 GMT"}),
        (RateLimit("X-RateLimit-Reset", "epoch"), {"X-RateLimit-Reset": str(AT + 40)}),
        (RateLimit("X-RateLimit-Reset", "epoch_ms"), {"X-RateLimit-Reset": str((AT + 40) * 1000)}),
        (RateLimit("x-ratelimit-reset", "delta"), {"X-RateLimit-Reset": "40.0"}),
        (RateLimit("X-RateLimit-Reset", "iso"), {"X-RateLimit-Reset": "2026-11-24T13:00:40+01"}),
        (RateLimit(default=40), {}),
    ],
)
def test_each_way_to_say_when(serve: Serve, still: Clock, limit: RateLimit, headers: dict[str, str]) -> None:
    server = serve(reply(status=429, headers=headers), OK)
    assert Client(server.url, rate_limit=limit, stop=still.stop).get("/").status == 200
    [wait] = still.waits
    assert 40 <= wait <= 44


def test_a_403_with_nothing_remaining_is_a_rate_limit(serve: Serve, still: Clock) -> None:
    limit = RateLimit("X-RateLimit-Reset", remaining_header="X-RateLimit-Remaining")
    headers = {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": str(AT + 40)}
    server = serve(reply(status=403, headers=headers), OK)
    assert Client(server.url, rate_limit=limit, stop=still.stop).get("/").status == 200
    assert 40 <= still.waits[0] <= 44


def test_a_longer_wait_ends_the_run_and_says_when_it_is_due(serve: Serve, still: Clock) -> None:
    server = serve(reply(b'{"error":"slow down"}', 429, {"Retry-After": "600"}))
    with pytest.raises(RateLimitException, match=r"It may be asked again at 2026-11-24T12:10:00Z\.$") as caught:
        Client(server.url, stop=still.stop).get("/")
    assert caught.value.until == START + timedelta(seconds=600)
    assert still.waits == []
    assert len(server.received) == 1


def test_the_longest_wait_in_place(serve: Serve, still: Clock) -> None:
    server = serve(reply(status=429, headers={"Retry-After": "180"}), OK)
    assert Client(server.url, stop=still.stop).get("/").status == 200
    assert 180 <= still.waits[0] <= 185


def test_all_waits_of_a_request_together_are_bounded(serve: Serve, still: Clock) -> None:
    server = serve(reply(status=429, headers={"Retry-After": "70"}))
    with pytest.raises(RateLimitException) as caught:
        Client(server.url, stop=still.stop).get("/")
    assert len(still.waits) == 2
    assert caught.value.until == still.now() + timedelta(seconds=70)


def test_maintenance_with_an_end_is_waited_for_like_a_rate_limit(serve: Serve, still: Clock) -> None:
    server = serve(reply(status=503, headers={"Retry-After": "3600"}))
    with pytest.raises(RateLimitException) as caught:
        Client(server.url, stop=still.stop).get("/")
    assert caught.value.until == START + timedelta(hours=1)


def test_a_storm_of_rate_limits_is_sat_out_over_several_runs(serve: Serve, still: Clock) -> None:
    server = serve(*[reply(status=429, headers={"Retry-After": "1"})] * 1_000, OK)
    client = Client(server.url, stop=still.stop)
    runs = 0
    while True:
        runs += 1
        try:
            answer = client.get("/")
            break
        except RateLimitException as err:
            assert err.until is not None
            # The scheduler's part: the stream is due again at the reset.
            still.elapsed += (err.until - still.now()).total_seconds()
    assert answer.json() == {"ok": True}
    assert len(server.received) == 1_001
    assert runs == 201
    assert 1_000 <= still.elapsed <= 1_100
    assert min(still.waits) >= 1


def test_a_rate_limit_in_an_error_body(serve: Serve, still: Clock) -> None:
    limited = reply(b'[{"errorCode":"REQUEST_LIMIT_EXCEEDED"}]', 403)
    server = serve(limited, limited, OK)

    def retry(answer: Response) -> bool:
        return answer.status == 403 and answer.json()[0]["errorCode"] == "REQUEST_LIMIT_EXCEEDED"

    assert Client(server.url, retry=retry, stop=still.stop).get("/").status == 200
    assert len(still.waits) == 2


def test_a_body_that_is_no_json_is_no_rate_limit(serve: Serve) -> None:
    server = serve(reply(b"<html>", 403, content_type="text/html"))
    with pytest.raises(RequestFailedException, match="status 403, saying: an HTML page"):
        Client(server.url, retry=lambda answer: answer.json()["limited"]).get("/")


def test_a_wait_ends_when_the_process_is_to_stop(serve: Serve) -> None:
    stop = threading.Event()

    def answer(request: Received) -> Sent:
        stop.set()
        return reply(status=429, headers={"Retry-After": "170"})

    with pytest.raises(StoppedError):
        Client(serve(answer).url, stop=stop).get("/")


def test_nothing_is_sent_once_the_process_is_to_stop(serve: Serve) -> None:
    server, stop = serve(OK), threading.Event()
    stop.set()
    with pytest.raises(StoppedError):
        Client(server.url, stop=stop).get("/")
    assert server.received == []


def test_every_repetition_is_logged(serve: Serve, still: Clock, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "grove")
    server = serve(reply(status=500), OK)
    Client(server.url, stop=still.stop).get("/events?cursor=hidden")
    [record] = [record for record in caplog.records if record.message == "A request is made again."]
    assert vars(record)["address"] == f"127.0.0.1:{server.port}/events"
    assert (vars(record)["attempt"], vars(record)["wait"]) == (1, round(still.waits[0], 3))


# --- what is refused ---


@pytest.mark.parametrize(
    ("status", "check"), [(401, "complete, in force, and of this tenant"), (403, "may read this log")]
)
def test_refused_credentials(serve: Serve, status: int, check: str) -> None:
    server = serve(reply(b'{"error":"denied"}', status))
    with pytest.raises(RequestFailedException, match=check) as caught:
        Client(server.url, Bearer("abcdef")).get("/events")
    assert str(caught.value).startswith(f"GET 127.0.0.1:{server.port}/events answered status {status}, saying: ")
    assert caught.value.status == status
    assert len(server.received) == 1


def test_an_error_under_status_200(serve: Serve) -> None:
    server = serve(reply(b'{"ok":false,"error":"not_allowed"}'))
    with pytest.raises(RequestFailedException, match=r"answered with an error: not_allowed$"):
        Client(server.url).get("/", error=lambda answer: None if answer.json()["ok"] else answer.json()["error"])


@pytest.mark.parametrize(
    "content_type", ["text/html", "text/html; charset=utf-8", "TEXT/HTML", "application/xhtml+xml"]
)
def test_a_login_page(serve: Serve, content_type: str) -> None:
    server = serve(reply(b"\n <!doctype html><title>Sign in</title>", content_type=content_type))
    with pytest.raises(RequestFailedException, match="answered with an HTML page, perhaps to sign in") as caught:
        Client(server.url).get("/")
    assert "doctype" not in str(caught.value)
    assert len(server.received) == 1


def test_json_under_a_wrong_type_is_json(serve: Serve) -> None:
    assert Client(serve(reply(b'{"a":1}', content_type="text/html")).url).get("/").json() == {"a": 1}


def test_html_may_be_asked_for(serve: Serve) -> None:
    server = serve(reply(b"<html>", content_type="text/html"))
    assert Client(server.url).get("/", headers={"accept": "text/html"}).body == b"<html>"


def test_a_credential_that_no_header_can_carry_is_not_shown() -> None:
    for value in ("abcdef\n", " abcdef", "abc\r\nX-Evil: 1", "abcdéf"):
        with pytest.raises(ConfigurationException, match="line break, a space around it, or a character") as caught:
            Header("X-Api-Key", value)
        assert "abc" not in str(caught.value)


def test_a_header_that_cannot_be_sent_is_not_shown(serve: Serve) -> None:
    with pytest.raises(RequestFailedException, match=r"cannot be sent \(InvalidHeader\)") as caught:
        Client(serve(OK).url, headers={"X-Trace": "abc\r\ndef"}).get("/")
    assert "abc" not in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None


@pytest.mark.parametrize(
    ("url", "warned"),
    [
        ("http://127.0.0.1:{port}/", False),
        ("http://localhost:{port}/", False),
        ("http://[::1]:{port}/", False),
        ("http://api.example.com:{port}/", True),
        ("http://127.0.0.1.example.com:{port}/", True),
    ],
)
def test_credentials_without_tls_are_warned_about(
    serve: Serve, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, url: str, warned: bool
) -> None:
    server = serve(OK)
    here = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", server.port))]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *args, **kwargs: here)
    client = Client(url.format(port=server.port), Bearer("abcdef"))
    for _ in range(2):
        client.get("")
    Client(url.format(port=server.port)).get("")
    assert [vars(record)["event"] for record in caplog.records] == ["insecure"] * warned


def test_errors_keep_their_fields_when_pickled() -> None:
    limited = pickle.loads(pickle.dumps(RateLimitException("later", until=START)))  # noqa: S301
    assert (str(limited), limited.until) == ("later", START)
    failed = pickle.loads(pickle.dumps(RequestFailedException("no", status=404)))  # noqa: S301
    assert (str(failed), failed.status) == ("no", 404)
