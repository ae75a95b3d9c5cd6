"""R12: no server can hold a request for longer than its deadline, whichever way it tries, and no look-up of a name."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from grove.exceptions import RequestFailedException, StoppedError
from grove.http import Client, OAuth2, _sockets
from tests.http.conftest import Serve
from tests.http.server import Received, Sent, reply

DEADLINE = 0.4
OVER = "failed: it took longer than 0.4 seconds."
PAGE = reply(b'{"entries":[' + b"1," * 2_000 + b"1]}")
HEAD = PAGE.data.partition(b"\r\n\r\n")[0]


def client(url: str, **options: Any) -> Client:
    # Each byte comes well before the read time-out, which alone would never end anything.
    return Client(url, **{"timeout_read": 0.8, "timeout_connect": 30.0, "deadline": DEADLINE, **options})


def error_of(ask: Callable[[], object]) -> str:
    """The text of the error that `ask` ends with."""
    with pytest.raises(RequestFailedException) as caught:
        ask()
    return str(caught.value)


@pytest.mark.parametrize(
    "sent",
    [
        pytest.param(Sent(PAGE.data, pause=0.05), id="head and body in drips"),
        pytest.param(Sent(b"HTTP/1.1 200 OK\r\nX: " + b"a" * 5_000, pause=0.05), id="a header without an end"),
        pytest.param(Sent(b"HTTP/1.1 100 Continue\r\n\r\n" * 5_000, pause=0.02), id="continues for ever"),
        pytest.param(Sent(b"", "hang"), id="no answer"),
        pytest.param(Sent(HEAD, "hang"), id="half a head"),
        pytest.param(Sent(PAGE.data[:-5], "hang"), id="all but the end"),
    ],
)
def test_an_answer_that_does_not_come_to_its_end(serve: Serve, sent: Sent) -> None:
    server = serve(sent)
    assert OVER in error_of(lambda: client(server.url, timeout_read=60).get("/"))


LATE = DEADLINE + 1.0
"""Seconds after which a server is done at last: who still listens then gets a whole answer, and no error."""


@pytest.mark.parametrize(
    "sent",
    [
        pytest.param(Sent(PAGE.data, pause=LATE / 30, piece=len(PAGE.data) // 30), id="in drips"),
        pytest.param(Sent(PAGE.data, pause=LATE, piece=len(HEAD) // 2 + 1), id="silence within the head"),
        pytest.param(Sent(PAGE.data, pause=LATE, piece=len(PAGE.data) - 1), id="silence before the last byte"),
        pytest.param(
            Sent(b"HTTP/1.1 100 Continue\r\n\r\n" * 30 + PAGE.data, pause=LATE / 30, piece=25), id="continues"
        ),
    ],
)
def test_nobody_listens_a_second_longer(serve: Serve, sent: Sent) -> None:
    assert OVER in error_of(lambda: client(serve(sent).url, timeout_read=60).get("/"))


def test_nobody_waits_a_second_longer_for_a_name(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    server, real, answered = serve(reply()), socket.getaddrinfo, threading.Event()

    def look_up(host: str, *args: Any, **kwargs: Any) -> Any:
        answered.wait(LATE)
        return real("127.0.0.1", *args, **kwargs)

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    try:
        assert OVER in error_of(lambda: client(f"http://slow.example:{server.port}").get("/"))
    finally:
        answered.set()


def test_a_drip_fed_body(serve: Serve) -> None:
    whole = reply(b'{"entries":[' + b"1," * 2_000 + b"1]}", framing="chunked")
    server = serve(Sent(whole.data, pause=0.01))
    assert OVER in error_of(lambda: client(server.url).get("/"))


def test_a_drip_fed_stream(serve: Serve) -> None:
    server = serve(Sent(PAGE.data, pause=0.05))
    assert OVER in error_of(lambda: list(client(server.url).stream("/")))


def test_silence_ends_with_the_read_time_out(serve: Serve) -> None:
    server = serve(Sent(b"", "hang"))
    text = error_of(lambda: client(server.url, deadline=60, timeout_read=0.2, attempts=1).get("/"))
    assert text.endswith("failed: it sent nothing in time.")


def test_attempts_share_one_deadline(serve: Serve) -> None:
    server = serve(Sent(b"", "hang"))
    assert OVER in error_of(lambda: client(server.url, timeout_read=0.15, attempts=50).get("/"))
    assert 1 <= len(server.received) <= 3


def test_waits_between_attempts_do_not_count(serve: Serve) -> None:
    server = serve(reply(status=429, headers={"Retry-After": "1"}), reply())
    assert client(server.url).get("/").status == 200


def test_the_token_that_a_request_needs_does_not_count(serve: Serve) -> None:
    tokens = serve(reply(status=429, headers={"Retry-After": "1"}), reply(b'{"access_token":"abcdef"}'))
    auth = OAuth2(tokens.url, client_id="me", client_secret="s3cr3t")
    assert Client(serve(reply()).url, auth, deadline=DEADLINE).get("/").status == 200


def test_what_the_reader_of_a_stream_does_meanwhile_does_not_count(serve: Serve) -> None:
    server = serve(reply(bytes(200_000), content_type="text/csv"))
    stream = client(server.url, deadline=0.4).stream("/")
    arrived = 0
    for piece in stream:
        arrived += len(piece)
        threading.Event().wait(0.3)
    assert arrived == 200_000


Silent = Callable[..., int]


@pytest.fixture
def silent() -> Iterator[Silent]:
    """Makes listeners whose connections are never served, and returns their ports."""
    listeners: list[socket.socket] = []

    def start(backlog: int = 5) -> int:
        listener = socket.socket()
        listeners.append(listener)
        listener.bind(("127.0.0.1", 0))
        listener.listen(backlog)
        port: int = listener.getsockname()[1]
        return port

    yield start
    for listener in listeners:
        listener.close()


def test_a_tls_handshake_that_stalls(silent: Silent) -> None:
    port = silent()
    assert OVER in error_of(lambda: client(f"https://127.0.0.1:{port}").get("/"))


def test_a_tls_handshake_in_drips() -> None:
    # The start of a long TLS record.
    listener = socket.create_server(("127.0.0.1", 0))
    ended = threading.Event()

    def drip() -> None:
        connection, _ = listener.accept()
        with connection:
            for byte in b"\x16\x03\x03\x40\x00\x02\x00\x3f\xfc" + bytes(1_000):
                try:
                    connection.sendall(bytes([byte]))
                except OSError:
                    return
                if ended.wait(0.05):
                    return

    thread = threading.Thread(target=drip)
    thread.start()
    try:
        text = error_of(lambda: client(f"https://127.0.0.1:{listener.getsockname()[1]}").get("/"))
        assert OVER in text
    finally:
        ended.set()
        thread.join()
        listener.close()


def test_a_connection_that_is_never_accepted(silent: Silent) -> None:
    port = silent(0)
    fill = [socket.socket() for _ in range(4)]
    try:
        for sock in fill:
            sock.setblocking(False)
            sock.connect_ex(("127.0.0.1", port))
        assert OVER in error_of(lambda: client(f"http://127.0.0.1:{port}").get("/"))
    finally:
        for sock in fill:
            sock.close()


def test_a_name_that_is_not_resolved(monkeypatch: pytest.MonkeyPatch) -> None:
    answered = threading.Event()

    def look_up(*args: Any, **kwargs: Any) -> Any:
        answered.wait(30)
        raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    try:
        assert OVER in error_of(lambda: client("http://slow.example").get("/"))
    finally:
        answered.set()


def test_a_name_that_does_not_exist(monkeypatch: pytest.MonkeyPatch) -> None:
    def look_up(*args: Any, **kwargs: Any) -> Any:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    with pytest.raises(RequestFailedException, match=r"GET nowhere\.example/ failed: its name could not be resolved\."):
        Client("http://nowhere.example", attempts=1).get("/")


def test_the_next_address_of_a_name_is_tried(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    server, closed = serve(reply()), serve(reply())
    closed.close()
    real = socket.getaddrinfo

    def look_up(host: str, port: int, *args: Any, **kwargs: Any) -> Any:
        if host != "two.example":
            return real(host, port, *args, **kwargs)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", at)) for at in (closed.port, server.port)]

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    assert Client(f"http://two.example:{server.port}", attempts=1).get("/").status == 200


@pytest.mark.parametrize("sent", [Sent(b"", "hang"), Sent(PAGE.data[:-5], "hang"), Sent(PAGE.data, pause=0.05)])
def test_a_request_under_way_ends_when_the_process_is_to_stop(serve: Serve, sent: Sent) -> None:
    stop, ended = threading.Event(), threading.Event()

    def answer(request: Received) -> Sent:
        stop.set()
        return sent

    def ask() -> None:
        with pytest.raises(StoppedError):
            Client(serve(answer).url, timeout_read=600, deadline=600, stop=stop).get("/")
        ended.set()

    threading.Thread(target=ask, daemon=True).start()
    assert ended.wait(30)


def test_a_slow_answer_within_its_deadline_is_whole(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    # Every read is begun again several times.
    monkeypatch.setattr(_sockets, "SLICE", 0.02)
    server = serve(Sent(PAGE.data, pause=0.1, piece=len(PAGE.data) // 4))
    assert client(server.url, deadline=30).get("/").body == PAGE.data.partition(b"\r\n\r\n")[2]
