"""A receiver of logs on loopback that does to each request what a test has told it."""

from __future__ import annotations

import contextlib
import gzip
import json
import socket
import ssl
import struct
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass(frozen=True)
class Request:
    """One request as it arrived; `kept` says whether the receiver has stored it."""

    headers: Message
    body: bytes
    connection: tuple[str, int]
    kept: bool

    @property
    def key(self) -> str:
        return self.headers["Idempotency-Key"]

    def entries(self) -> list[Any]:
        body = gzip.decompress(self.body) if self.headers["Content-Encoding"] == "gzip" else self.body
        return [json.loads(line) for line in body.splitlines()]


@dataclass(frozen=True)
class Answer:
    """What happens to a request.

    `kept`: its page is stored. `cut`: the connection is reset instead of an answer. `silent`: there is no answer
    either, until the sender gives up. `endless`: the body of the answer never ends.
    """

    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    kept: bool = False
    cut: bool = False
    silent: bool = False
    endless: bool = False


OK = Answer(kept=True)
REFUSED = Answer(cut=True)
LOST = Answer(kept=True, cut=True)
SILENT = Answer(kept=True, silent=True)


class Receiver:
    """Answers requests according to `plan` (number of the request, from 0), and well where that says nothing.

    With `remembers`, a page whose Idempotency-Key was stored before is accepted and not stored again.
    """

    def __init__(self, server: ThreadingHTTPServer) -> None:
        scheme = "https" if isinstance(server.socket, ssl.SSLSocket) else "http"
        self.url = f"{scheme}://127.0.0.1:{server.server_port}/ingest"
        self.plan: dict[int, Answer] = {}
        self.always: Answer | None = None
        self.remembers = False
        self.requests: list[Request] = []
        self._lock = threading.Lock()

    def entries(self) -> list[Any]:
        """Everything that was stored, in the order of its arrival."""
        return [entry for request in self.requests if request.kept for entry in request.entries()]

    def take(self, headers: Message, body: bytes, connection: tuple[str, int]) -> Answer:
        with self._lock:
            answer = self.plan.get(len(self.requests), self.always or OK)
            known = self.remembers and any(one.kept and one.key == headers["Idempotency-Key"] for one in self.requests)
            self.requests.append(Request(headers, body, connection, answer.kept and not known))
            return answer


def _handler(receiver: Callable[[], Receiver]) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            answer = receiver().take(self.headers, body, self.client_address)
            if answer.silent:
                # It ends when the sender closes its side.
                self.rfile.read(1)
                self.close_connection = True
            elif answer.cut:
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                self.close_connection = True
            else:
                self._send(answer)

        def _send(self, answer: Answer) -> None:
            self.send_response(answer.status)
            for name, value in answer.headers.items():
                self.send_header(name, value)
            if not answer.endless:
                self.send_header("Content-Length", str(len(answer.body)))
                self.end_headers()
                self.wfile.write(answer.body)
                return
            self.end_headers()
            with contextlib.suppress(OSError):
                while True:
                    self.wfile.write(b"x" * 4096)

        do_GET = do_POST

        def finish(self) -> None:
            with contextlib.suppress(OSError):
                super().finish()

        def log_message(self, *args: Any) -> None:
            """Nothing: the tests look at what arrived."""

    return Handler


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def shutdown_request(self, request: Any) -> None:
        # Without saying so first: a connection that is to be reset must not end properly.
        self.close_request(request)

    def handle_error(self, *args: Any) -> None:
        """Nothing: connections are broken off on purpose."""


@contextlib.contextmanager
def running_receiver(context: ssl.SSLContext | None = None) -> Iterator[Receiver]:
    """A receiver that listens until the block ends; over TLS with a `context`."""
    found: list[Receiver] = []
    server = _Server(("127.0.0.1", 0), _handler(lambda: found[0]))
    if context is not None:
        server.socket = context.wrap_socket(server.socket, server_side=True)
    found.append(Receiver(server))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield found[0]
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
