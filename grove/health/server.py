"""The daemon's HTTP port: metrics, health, status as JSON, and a page to look at. Read only.

It runs in threads of its own, answers a bounded number of connections for a bounded time, and asks the deciding thread
for nothing but a sign of life: a client that stalls, or asks too often, costs the streams nothing.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import importlib.resources
import ipaddress
import logging
import re
import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs

import orjson

from grove.constants import ENV_GROVE_STATUS_ADDRESS
from grove.exceptions import ConfigurationException
from grove.health.metrics import MetricsMissing, Renderer
from grove.health.snapshot import Snapshot
from grove.helpers import clock

__all__ = ["MOST_CONNECTIONS", "Ping", "StatusServer", "parse_address"]

logger = logging.getLogger(__name__)

MOST_CONNECTIONS = 16
"""Connections that are answered at a time; one more is told to come back."""

SILENCE = 5.0
"""Seconds that a client may neither send nor take a byte."""

LONGEST = 20.0
"""Seconds that a connection may last, whatever its client does."""

PATIENCE = 5.0
"""Seconds within which the deciding thread has to give a sign of life."""

FRESH = 1.0
"""Seconds for which one snapshot serves everybody."""

MOST_SEARCH = 200

_BUSY = b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"

_HEADERS = {
    "Cache-Control": "no-store",
    "Connection": "close",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}

_NO_CONTENT_POLICY = "default-src 'none'; frame-ancestors 'none'"


@dataclass(frozen=True, slots=True)
class Ping:
    """A message to the deciding thread, which sets `heard`."""

    heard: threading.Event = field(default_factory=threading.Event)


def parse_address(text: str) -> tuple[str, int]:
    """Host and port of GROVE_STATUS_ADDRESS: "9464", ":9464", "127.0.0.1:9464" or "[::1]:9464".

    Without a host it is 127.0.0.1. ConfigurationException where it is none of these.
    """
    found = re.fullmatch(r"(?:(?:\[([0-9A-Fa-f:.]+)\]|([^\[\]:/\s]*)):)?(\d{1,5})", text.strip())
    if found is None or int(found[3]) > 65_535:
        raise ConfigurationException(
            f"{ENV_GROVE_STATUS_ADDRESS} is {text!r}; it has to be host:port, such as 127.0.0.1:9464."
        )
    return found[1] or found[2] or "127.0.0.1", int(found[3])


class StatusServer:
    """Listens on `address` from when it is made, and answers once it is started.

    `snapshot` is called from other threads; `send` puts a `Ping` where the deciding thread finds it.
    ConfigurationException where the address is none, or cannot be listened on.
    """

    def __init__(self, address: str, snapshot: Callable[[], Snapshot], send: Callable[[Ping], Any]) -> None:
        host, port = parse_address(address)
        self._answers = _Answers(snapshot, send)
        try:
            family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
            self._server = _Server((host, port), family, self._answers)
        except OSError as err:
            raise ConfigurationException(
                f"{ENV_GROVE_STATUS_ADDRESS} is {address!r}, and nothing can listen there: {err.strerror or err}. "
                "Choose another port, or leave it unset."
            ) from err
        self._host = host
        self._thread = threading.Thread(target=self._serve, name="grove-status", daemon=True)

    @property
    def url(self) -> str:
        """Where it is to be found."""
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"http://{host}:{self._server.server_address[1]}/"

    def start(self) -> None:
        """Answer from now on. A port that others can reach is warned about."""
        if not _is_loopback(str(self._server.server_address[0])):
            logger.warning(
                "The status page can be reached from other hosts; it shows the names and pointers of all streams.",
                extra={"address": self.url},
            )
        self._thread.start()

    def close(self) -> None:
        """Stop listening."""
        if self._thread.is_alive():
            self._server.shutdown()
        self._server.server_close()

    def _serve(self) -> None:
        self._server.serve_forever(poll_interval=0.25)


# --- what is answered ---


@dataclass(frozen=True, slots=True)
class _Answer:
    status: HTTPStatus
    kind: str
    body: bytes
    policy: str = _NO_CONTENT_POLICY


def _text(status: HTTPStatus, text: str) -> _Answer:
    return _Answer(status, "text/plain; charset=utf-8", f"{text}\n".encode())


class _Answers:
    """What each path answers. For any number of threads."""

    def __init__(self, snapshot: Callable[[], Snapshot], send: Callable[[Ping], Any]) -> None:
        self._take = snapshot
        self._send = send
        self._lock = threading.Lock()
        self._rendering = threading.Lock()
        self._pinging = threading.Lock()
        self._ping: Ping | None = None
        self._taken = -FRESH
        self._snapshot: Snapshot | None = None
        self._renderer: Renderer | None = None
        self._page: _Answer | None = None
        self._routes: dict[str, Callable[[str, str], _Answer]] = {
            "/": self._html,
            "/status.json": self._json,
            "/metrics": self._metrics,
            "/healthz": self._healthz,
            "/readyz": self._readyz,
        }

    def answer(self, target: str, accept: str) -> _Answer:
        """The answer to a request for `target`."""
        path, _, query = target.partition("?")
        route = self._routes.get(path)
        if route is None:
            return _text(HTTPStatus.NOT_FOUND, f"There is nothing here. Try {', '.join(self._routes)}.")
        return route(query, accept)

    def _current(self) -> Snapshot:
        with self._lock:
            if self._snapshot is None or clock.monotonic() - self._taken >= FRESH:
                self._snapshot, self._taken = self._take(), clock.monotonic()
            return self._snapshot

    def _html(self, query: str, accept: str) -> _Answer:
        if self._page is None:
            html = importlib.resources.files("grove.health").joinpath("page.html").read_text("utf-8")
            self._page = _Answer(HTTPStatus.OK, "text/html; charset=utf-8", html.encode(), _page_policy(html))
        return self._page

    def _json(self, query: str, accept: str) -> _Answer:
        wanted = parse_qs(query[:1000])
        search, limit = wanted.get("search", [""])[0][:MOST_SEARCH], wanted.get("limit", [""])[0]
        if limit and not re.fullmatch(r"\d{1,9}", limit):
            return _text(HTTPStatus.BAD_REQUEST, "`limit` has to be a number.")
        document = self._current().as_json(search, int(limit) if limit else None)
        return _Answer(HTTPStatus.OK, "application/json", orjson.dumps(document))

    def _metrics(self, query: str, accept: str) -> _Answer:
        snapshot = self._current()
        with self._rendering:
            try:
                if self._renderer is None:
                    self._renderer = Renderer()
            except MetricsMissing as err:
                return _text(HTTPStatus.NOT_IMPLEMENTED, str(err))
            body, kind = self._renderer.render(snapshot, accept)
        return _Answer(HTTPStatus.OK, kind, body)

    def _healthz(self, query: str, accept: str) -> _Answer:
        with self._pinging:
            # One that was not heard yet is asked about again, so that they do not pile up.
            if self._ping is None or self._ping.heard.is_set():
                self._ping = Ping()
                self._send(self._ping)
            ping = self._ping
        if ping.heard.wait(PATIENCE):
            return _text(HTTPStatus.OK, "ok")
        return _text(HTTPStatus.SERVICE_UNAVAILABLE, f"The deciding thread has not answered for {PATIENCE:g} seconds.")

    def _readyz(self, query: str, accept: str) -> _Answer:
        waiting_for = self._current().waiting_for
        if not waiting_for:
            return _text(HTTPStatus.OK, "ready")
        return _text(HTTPStatus.SERVICE_UNAVAILABLE, "\n".join(waiting_for))


def _page_policy(html: str) -> str:
    """What the page may do: run its own script and style, and ask this server."""
    script, style = (_digest(html, tag) for tag in ("script", "style"))
    return (
        f"default-src 'none'; script-src {script}; style-src {style}; connect-src 'self'; img-src data:; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )


def _digest(html: str, tag: str) -> str:
    found = re.search(rf"<{tag}>(.*?)</{tag}>", html, re.DOTALL)
    assert found is not None, f"the page has a {tag}"
    return f"'sha256-{base64.b64encode(hashlib.sha256(found[1].encode()).digest()).decode()}'"


# --- connections ---


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 32

    def __init__(self, address: tuple[str, int], family: int, answers: _Answers) -> None:
        self.address_family = family
        self.answers = answers
        self._free = threading.BoundedSemaphore(MOST_CONNECTIONS)
        self._open: dict[socket.socket, float] = {}
        super().__init__(address, _Handler)

    def server_bind(self) -> None:
        # Not the parent's, which asks the name service what this host is called.
        socket.socket.setsockopt(self.socket, socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(self.server_address)
        self.server_address = self.socket.getsockname()
        self.server_name, self.server_port = str(self.server_address[0]), int(self.server_address[1])

    def process_request(self, request: Any, client_address: Any) -> None:
        if not self._free.acquire(blocking=False):
            with contextlib.suppress(OSError):
                request.settimeout(0)
                request.send(_BUSY)
            self.shutdown_request(request)
            return
        self._open[request] = clock.monotonic()
        try:
            super().process_request(request, client_address)
        except BaseException:
            self._let_go(request)
            raise

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._let_go(request)

    def _let_go(self, request: Any) -> None:
        self._open.pop(request, None)
        self._free.release()

    def service_actions(self) -> None:
        """Called several times a second: end what has lasted too long."""
        oldest = clock.monotonic() - LONGEST
        for request, began in list(self._open.items()):
            if began < oldest:
                with contextlib.suppress(OSError):
                    request.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: Any, client_address: Any) -> None:
        logger.debug("A client of the status page went away.", exc_info=True)


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    timeout = SILENCE

    def version_string(self) -> str:
        """What the header `Server` says."""
        return "grove"

    def do_GET(self) -> None:
        """Answer."""
        if not _is_ours(self.headers.get("Host"), str(self.server.server_address[0])):
            # Another site's name leads here: its script would read what this host shows (DNS rebinding).
            self._send(_text(HTTPStatus.MISDIRECTED_REQUEST, "Ask by an IP address, or by localhost."))
            return
        try:
            answer = self.server.answers.answer(self.path, self.headers.get("Accept") or "")
        except Exception:
            logger.exception("The status page failed in a way that no one expected.")
            answer = _text(HTTPStatus.INTERNAL_SERVER_ERROR, "This is a defect; the log says more.")
        self._send(answer)

    def _send(self, answer: _Answer) -> None:
        self.send_response(answer.status)
        for name, value in {**_HEADERS, "Content-Security-Policy": answer.policy}.items():
            self.send_header(name, value)
        self.send_header("Content-Type", answer.kind)
        self.send_header("Content-Length", str(len(answer.body)))
        self.end_headers()
        self.wfile.write(answer.body)

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """Errors of the protocol, other methods among them, as a line of text."""
        if code == HTTPStatus.NOT_IMPLEMENTED:
            code, message = HTTPStatus.METHOD_NOT_ALLOWED, "Only GET is answered."
        self._send(_text(HTTPStatus(code), message or HTTPStatus(code).phrase))

    def end_headers(self) -> None:
        """With what a refused method has to be told."""
        if self.command not in (None, "GET"):
            self.send_header("Allow", "GET")
        super().end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        """Requests are no news."""


def _is_ours(host: str | None, listening: str) -> bool:
    """Whether a Host header names this server in a way that no other site can: by address, or as localhost."""
    found = re.fullmatch(r"(?:\[([0-9A-Fa-f:.]+)\]|([\w.-]+))(?::\d{1,5})?", host or "")
    if found is None:
        return False
    name = (found[1] or found[2]).lower().rstrip(".")
    if name == "localhost" or name.endswith(".localhost") or name in (listening, socket.gethostname().lower()):
        return True
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _is_loopback(address: str) -> bool:
    return ipaddress.ip_address(address).is_loopback
