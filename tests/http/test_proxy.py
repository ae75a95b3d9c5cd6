"""Proxies and certificate authorities from the environment; passwords from `.netrc` never."""

from __future__ import annotations

import base64
import contextlib
import socket
import threading
from pathlib import Path

import pytest

from grove.exceptions import ConfigurationException, RequestFailedException
from grove.http import Bearer, Client
from grove.logging import redact
from tests.http.certificates import Authority
from tests.http.conftest import Clock, Serve
from tests.http.server import Received, Sent, reply
from tests.waiting import readable


class Proxy:
    """Tunnels CONNECT to wherever it is told, for one connection at a time; keeps what clients ask of it."""

    def __init__(self, target: int) -> None:
        self.heads: list[bytes] = []
        self._target = target
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._closed, self._close = socket.socketpair()
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._close.close()
        self._thread.join(10)
        self._listener.close()
        self._closed.close()

    def _run(self) -> None:
        while self._closed not in readable([self._listener, self._closed]):
            client, _ = self._listener.accept()
            with contextlib.suppress(OSError), client:
                head = b""
                while b"\r\n\r\n" not in head:
                    head += client.recv(65536)
                self.heads.append(head)
                with socket.create_connection(("127.0.0.1", self._target)) as server:
                    client.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
                    self._relay(client, server)

    def _relay(self, client: socket.socket, server: socket.socket) -> None:
        while True:
            ready = readable([client, server, self._closed])
            if self._closed in ready:
                return
            for source in ready:
                data = source.recv(65536)
                if not data:
                    return
                (server if source is client else client).sendall(data)


def test_a_plain_request_goes_through_the_proxy(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    proxy = serve(reply(b'{"via":"proxy"}'))
    monkeypatch.setenv("HTTP_PROXY", proxy.url)
    answer = Client("http://api.example.com:8080").get("/events", params={"a": 1})
    assert answer.json() == {"via": "proxy"}
    assert proxy.received[0].target == "http://api.example.com:8080/events?a=1"
    assert proxy.received[0].headers["host"] == "api.example.com:8080"


def test_a_tls_request_is_tunnelled(serve: Serve, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    server = serve(reply(b'{"ok":true}'), context=authority.server("api.example.com"))
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(authority.path))
    with contextlib.closing(Proxy(server.port)) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", proxy.url.replace("//", "//me:p%40ss-word@"))
        assert Client("https://api.example.com", Bearer("abcdef")).get("/events").json() == {"ok": True}
    [head] = proxy.heads
    assert head.startswith(b"CONNECT api.example.com:443 HTTP/1")
    assert base64.b64encode(b"me:p@ss-word") in head
    # The proxy sees neither the credentials nor the path, and the server nothing of the proxy's password.
    assert b"abcdef" not in head
    assert b"events" not in head
    assert b"proxy-authorization" not in server.bytes_received.lower()
    assert redact("p@ss-word p%40ss-word") == "[redacted] [redacted]"


@pytest.mark.parametrize("excepted", ["127.0.0.1", "*", ".example.com, 127.0.0.0/8"])
def test_no_proxy(serve: Serve, monkeypatch: pytest.MonkeyPatch, excepted: str) -> None:
    server, proxy = serve(reply(b'{"via":"none"}')), serve(reply(b'{"via":"proxy"}'))
    monkeypatch.setenv("ALL_PROXY", proxy.url)
    monkeypatch.setenv("HTTP_PROXY", proxy.url)
    monkeypatch.setenv("NO_PROXY", excepted)
    assert Client(server.url).get("/").json() == {"via": "none"}
    assert proxy.received == []


def test_a_proxy_that_refuses(serve: Serve, still: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    proxy = serve(Sent(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n", "close"))
    monkeypatch.setenv("HTTPS_PROXY", proxy.url)
    with pytest.raises(RequestFailedException) as caught:
        Client("https://api.example.com", stop=still.stop).get("/events?token=hidden")
    assert str(caught.value) == (
        "GET api.example.com/events failed: Tunnel connection failed: 407 Proxy Authentication Required. "
        "This was at the proxy. It was asked 5 times."
    )


def test_a_proxy_that_is_not_there(serve: Serve, still: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    proxy = serve(reply())
    proxy.close()
    monkeypatch.setenv("HTTPS_PROXY", proxy.url)
    with pytest.raises(RequestFailedException, match=r"failed: connection refused\. This was at the proxy\."):
        Client("https://api.example.com", stop=still.stop).get("/")


def test_a_proxy_that_stalls(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    proxy = serve(Sent(b"HTTP/1.1 200 Conn", "hang"))
    monkeypatch.setenv("HTTPS_PROXY", proxy.url)
    with pytest.raises(RequestFailedException, match=r"took longer than 0\.3 seconds"):
        Client("https://api.example.com", deadline=0.3).get("/")


@pytest.mark.parametrize(
    "proxy", ["http://", "socks5://127.0.0.1:1", "http://[::1", "http://127.0.0.1:x", "http://me:s3cr3t@"]
)
def test_a_proxy_that_is_no_address(monkeypatch: pytest.MonkeyPatch, proxy: str) -> None:
    monkeypatch.setenv("HTTPS_PROXY", proxy)
    with pytest.raises(ConfigurationException, match="is no address like http://host:3128") as caught:
        Client("https://api.example.com").get("/")
    assert "s3cr3t" not in str(caught.value)


def test_a_proxy_without_a_scheme(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    proxy = serve(reply(b'{"via":"proxy"}'))
    monkeypatch.setenv("HTTP_PROXY", f"127.0.0.1:{proxy.port}")
    assert Client("http://api.example.com").get("/").json() == {"via": "proxy"}


def test_netrc_is_not_read(serve: Serve, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    netrc = tmp_path / ".netrc"
    netrc.write_text("machine 127.0.0.1 login me password netrc-password\ndefault login me password netrc-password\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("NETRC", str(netrc))

    def answer(request: Received) -> Sent:
        return reply(b"{}", 401) if request.target == "/closed" else reply()

    server = serve(answer)
    Client(server.url).get("/")
    with pytest.raises(RequestFailedException, match="401"):
        Client(server.url).get("/closed")
    Client(server.url, Bearer("abcdef")).get("/")
    assert [request.headers.get("authorization") for request in server.received] == [None, None, "Bearer abcdef"]
