"""Certificates are checked, always; a server that cannot prove who it is sees nothing of the request."""

from __future__ import annotations

import os
import socket
import ssl
import threading
from pathlib import Path
from typing import Any

import pytest

from grove.exceptions import ConfigurationException, RequestFailedException, StoppedError
from grove.http import Bearer, Client, _sockets
from tests.http.certificates import Authority
from tests.http.conftest import Clock, Serve
from tests.http.server import Sent, reply

TOKEN = "abcdefghij"


@pytest.fixture
def authority(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Authority:
    authority = Authority(tmp_path)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(authority.path))
    return authority


def test_a_server_that_the_authority_vouches_for(serve: Serve, authority: Authority) -> None:
    server = serve(reply(b'{"ok":true}'), context=authority.server("127.0.0.1"))
    client = Client(server.url, Bearer(TOKEN))
    assert client.get("/").json() == {"ok": True}
    assert client.get("/").json() == {"ok": True}
    assert server.connections == 1


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"host": "127.0.0.1", "expired": True}, "certificate has expired"),
        ({"host": "127.0.0.2"}, "IP address mismatch, certificate is not valid for '127.0.0.1'"),
        ({"host": "api.example.com"}, "certificate is not valid for '127.0.0.1'"),
        ({"host": "127.0.0.1", "self_signed": True}, "self-signed certificate"),
    ],
)
def test_certificates_that_prove_nothing(serve: Serve, authority: Authority, options: Any, why: str) -> None:
    server = serve(reply(), context=authority.server(**options))
    with pytest.raises(RequestFailedException) as caught:
        Client(server.url, Bearer(TOKEN)).get("/events?token=hidden")
    assert str(caught.value).startswith(f"GET 127.0.0.1:{server.port}/events failed: its certificate is refused: ")
    assert why in str(caught.value)
    # Asking again would change nothing.
    assert server.connections == 1
    assert server.bytes_received == b""


def test_an_authority_that_nobody_named(serve: Serve, authority: Authority, monkeypatch: pytest.MonkeyPatch) -> None:
    server = serve(reply(), context=authority.server("127.0.0.1"))
    monkeypatch.delenv("REQUESTS_CA_BUNDLE")
    with pytest.raises(RequestFailedException, match="unable to get local issuer certificate"):
        Client(server.url, Bearer(TOKEN)).get("/")
    monkeypatch.setenv("CURL_CA_BUNDLE", str(authority.path))
    assert Client(server.url).get("/").status == 200


def test_a_folder_of_authorities(
    serve: Serve, authority: Authority, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    # An empty one: nobody is vouched for.
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "authorities"))
    (tmp_path / "authorities").mkdir()
    server = serve(reply(), context=authority.server("127.0.0.1"))
    with pytest.raises(RequestFailedException, match="unable to get local issuer certificate"):
        Client(server.url).get("/")


@pytest.mark.parametrize("content", [None, "no certificate"])
def test_a_bundle_that_cannot_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: str | None) -> None:
    path = tmp_path / "bundle.pem"
    if content is not None:
        path.write_text(content)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(path))
    with pytest.raises(ConfigurationException, match=r"bundle\.pem' \(from REQUESTS_CA_BUNDLE or"):
        Client("https://127.0.0.1:1").get("/")


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion:DeprecationWarning")
def test_old_versions_of_tls_are_refused(serve: Serve, still: Clock, authority: Authority) -> None:
    server = serve(reply(), context=authority.server("127.0.0.1", most=ssl.TLSVersion.TLSv1_1))
    with pytest.raises(RequestFailedException, match="failed: TLS failed: "):
        Client(server.url, Bearer(TOKEN), stop=still.stop).get("/")
    assert server.bytes_received == b""


def test_plain_http_where_tls_is_expected() -> None:
    received: list[bytes] = []

    def answer(listener: socket.socket) -> None:
        connection, _ = listener.accept()
        with connection:
            received.append(connection.recv(65536))
            connection.sendall(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=answer, args=(listener,))
        thread.start()
        with pytest.raises(RequestFailedException, match="failed: TLS failed: WRONG_VERSION_NUMBER"):
            Client(f"https://127.0.0.1:{listener.getsockname()[1]}", Bearer(TOKEN), attempts=1).get("/events")
        thread.join()
    assert TOKEN.encode() not in received[0]
    assert b"events" not in received[0]


def test_a_slow_answer_is_whole(serve: Serve, authority: Authority, monkeypatch: pytest.MonkeyPatch) -> None:
    # Every read is begun again several times, in the middle of records too.
    monkeypatch.setattr(_sockets, "SLICE", 0.02)
    page = reply(b'{"entries":[' + b"1," * 20_000 + b"1]}")
    server = serve(Sent(page.data, pause=0.1, piece=len(page.data) // 4), context=authority.server("127.0.0.1"))
    assert len(Client(server.url).get("/").json()["entries"]) == 20_001


def test_drips_end_with_the_deadline(serve: Serve, authority: Authority) -> None:
    server = serve(Sent(reply(b"[" + b"1," * 2_000).data, pause=0.02), context=authority.server("127.0.0.1"))
    with pytest.raises(RequestFailedException, match=r"took longer than 0\.4 seconds"):
        Client(server.url, deadline=0.4).get("/")


def test_a_stalled_answer_ends_when_the_process_is_to_stop(serve: Serve, authority: Authority, still: Clock) -> None:
    def answer(request: object) -> Sent:
        still.stop.set()
        return Sent(b"HTTP/1.1 200 OK\r\n", "hang")

    server = serve(answer, context=authority.server("127.0.0.1"))
    with pytest.raises(StoppedError):
        Client(server.url, stop=still.stop).get("/")


@pytest.mark.parametrize("after", [0, 20, 400])
def test_a_connection_that_breaks_off(serve: Serve, authority: Authority, still: Clock, after: int) -> None:
    page = reply(b'{"a":"' + b"x" * 500 + b'"}')
    server = serve(Sent(page.data[:after], "close"), page, context=authority.server("127.0.0.1"))
    assert len(Client(server.url, stop=still.stop).get("/").json()["a"]) == 500
    assert server.connections == 2


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_a_child_process_opens_connections_of_its_own(serve: Serve, authority: Authority) -> None:
    server = serve(reply(b'{"ok":true}'), context=authority.server("127.0.0.1"))
    client = Client(server.url)
    client.get("/")
    child = os.fork()
    if child == 0:
        code = 1
        try:
            code = 0 if client.get("/").json() == {"ok": True} else 2
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert server.connections == 2
    assert client.get("/").json() == {"ok": True}
    assert server.connections == 2
