"""The practice API's HTTP: keep-alive, one thread per connection, and every way to break off an answer."""

from __future__ import annotations

import select
import socket
import struct
import threading
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from grove.testing.practice_faults import Reply

__all__ = ["Answer", "Server"]

Answer = Callable[[str, Mapping[str, str], bytes | None], Reply]
"""A request's target and headers, and the body of a POST, to the reply."""

# Closed with this, a socket sends a reset in place of what was not sent yet.
_NO_LINGER = struct.pack("ii", 1, 0)


class Server:
    """Answers GET and POST requests at a port of 127.0.0.1 (0: a free one), until it is closed.

    OSError where the port cannot be had.
    """

    def __init__(self, answer: Answer, clock: Callable[[], float], port: int = 0) -> None:
        self._http = _HTTPServer(answer, clock, port)
        self._thread = threading.Thread(target=self._http.serve, name="practice-api", daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        """Scheme, host and port."""
        return f"http://127.0.0.1:{self._http.server_port}"

    def close(self) -> None:
        """Stop listening and break every connection off."""
        self._http.over = True
        # Whoever waits for a connection gets one, and looks.
        socket.create_connection(("127.0.0.1", self._http.server_port)).close()
        self._thread.join()
        self._http.server_close()
        self._http.hang_up()


class _HTTPServer(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def __init__(self, answer: Answer, clock: Callable[[], float], port: int) -> None:
        super().__init__(("127.0.0.1", port), _Handler)
        self.answer = answer
        self.clock = clock
        self.resets: set[socket.socket] = set()
        self.over = False
        self.closing, self._closer = socket.socketpair()
        self._open: set[socket.socket] = set()
        self._gone = threading.Condition()

    def serve(self) -> None:
        """Take connections until it is `over`. `serve_forever` would find that out only when it looks."""
        while not self.over:
            self.handle_request()

    def verify_request(self, request: Any, client_address: Any) -> bool:
        """Whether a connection is to be served."""
        return not self.over

    def process_request(self, request: Any, client_address: Any) -> None:
        with self._gone:
            self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        if request in self.resets:
            self.resets.discard(request)
            request.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
            request.close()
        else:
            super().shutdown_request(request)
        with self._gone:
            self._open.discard(request)
            self._gone.notify_all()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Nothing: clients that die or hang up are what this server is for, and the API keeps its own errors."""

    def hang_up(self) -> None:
        """End what is under way; the threads of all connections are on their way out when this returns."""
        # Its other end becomes readable for everyone who waits.
        self._closer.close()
        with self._gone:
            for connection in self._open:
                try:
                    connection.shutdown(socket.SHUT_RDWR)
                except OSError:
                    continue  # The client was faster.
            self._gone.wait_for(lambda: not self._open, timeout=10)
        self.closing.close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # Head and body in one segment, at once.
    wbufsize = -1
    disable_nagle_algorithm = True
    server: _HTTPServer

    def do_GET(self) -> None:
        """Send what the API answers, in the way it says."""
        self._answer(None)

    def do_POST(self) -> None:
        """The same for a form."""
        self._answer(self.rfile.read(int(self.headers.get("Content-Length", 0))))

    def _answer(self, form: bytes | None) -> None:
        headers = {name.title(): value for name, value in self.headers.items()}
        reply = self.server.answer(self.path, headers, form)
        if self._pause(reply.wait):
            self.close_connection = True
            return
        if reply.raw is not None:
            self.wfile.write(reply.raw)
            self.wfile.flush()
        elif not reply.silent:
            self._head(reply)
            self._body(reply)
        if not reply.whole:
            self.close_connection = True
            if reply.end == "reset":
                self.server.resets.add(self.connection)
            elif reply.end == "stall":
                self._pause(None)

    def _head(self, reply: Reply) -> None:
        self.send_response(reply.status)
        for name, value in reply.headers.items():
            self.send_header(name, value)
        if reply.framing == "length":
            self.send_header("Content-Length", str(len(reply.body)))
        elif reply.framing == "chunked":
            self.send_header("Transfer-Encoding", "chunked")
        else:
            # Sets `close_connection` as well.
            self.send_header("Connection", "close")
        self.end_headers()

    def _body(self, reply: Reply) -> None:
        body = reply.body[: reply.cut]
        size = reply.piece or max(1, len(body))
        for start in range(0, len(body), size):
            piece = body[start : start + size]
            if reply.framing == "chunked":
                piece = b"%x\r\n%b\r\n" % (len(piece), piece)
            self.wfile.write(piece)
            if reply.pause and start + size < len(body):
                self.wfile.flush()
                if self._pause(reply.pause):
                    self.close_connection = True
                    return
        if reply.framing == "chunked" and reply.whole:
            self.wfile.write(b"0\r\n\r\n")
        self.wfile.flush()

    def _pause(self, seconds: float | None) -> bool:
        """Wait, for ever with None; True where the client hung up or the server closes meanwhile."""
        if seconds == 0:
            return False
        poll = select.poll()
        # Only the end of the stream: a next request that is here already is no reason to wake up.
        poll.register(self.connection, select.POLLRDHUP)
        poll.register(self.server.closing, select.POLLIN)
        return bool(poll.poll(None if seconds is None else seconds * 1000))

    def date_time_string(self, timestamp: float | None = None) -> str:
        """The Date header, by the API's clock."""
        return super().date_time_string(self.server.clock() if timestamp is None else timestamp)

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: the API keeps its requests."""
