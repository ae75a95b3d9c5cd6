"""A TCP link to a real server that loses requests and replies when it is told to."""

from __future__ import annotations

import contextlib
import re
import selectors
import socket
import struct
import threading
from collections.abc import Iterator

RESET_BEFORE = "reset before"
RESET_AFTER = "reset after"
SILENT_BEFORE = "silent before"
SILENT_AFTER = "silent after"

FAULTS = (RESET_BEFORE, RESET_AFTER, SILENT_BEFORE, SILENT_AFTER)
"""The connection is reset, or nothing comes any more: before the server sees the request, or after it has answered."""

STEP = 1 << 16

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
"""No reply yet: it asks for the rest of the request."""


class Proxy:
    """Forwards new connections to `port` to `server_port`.

    An exchange is a request, in as many pieces as it comes, and its reply.
    """

    def __init__(self, server_port: int) -> None:
        self.server_port = server_port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._guard = threading.Lock()
        self._fault: str | bytes = ""
        self._from = self._until = 0
        self._sockets: set[socket.socket] = set()
        self._threads = [threading.Thread(target=self._accept)]
        self._closed = False
        self.met = 0
        self.exchanges = 0

    def __enter__(self) -> Proxy:
        self._threads[0].start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        with self._guard:
            self._closed = True
            open_now = [self._listener, *self._sockets]
        for end in open_now:
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for thread in self._threads:
            thread.join()

    def fail(self, fault: str | bytes, after: int = 0, times: int = 1) -> None:
        """Let `after` exchanges pass, then let `times` of them meet `fault`. `met` counts those that did.

        Bytes are given as the reply to an HTTP request, which the server does not see.
        """
        with self._guard:
            self._fault, self._from = fault, self.exchanges + after
            self._until, self.met = self._from + times, 0

    def lose(self, exchange: int) -> None:
        """Let so many exchanges pass, and lose the reply of the next one."""
        self.fail(RESET_AFTER, after=exchange)

    @property
    def lost(self) -> bool:
        """Whether the fault has been met."""
        return self.met > 0

    def _next_fault(self) -> str | bytes:
        with self._guard:
            number, self.exchanges = self.exchanges, self.exchanges + 1
            if not self._from <= number < self._until:
                return ""
            self.met += 1
            return self._fault

    # --- connections ---

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            try:
                server = socket.create_connection(("127.0.0.1", self.server_port), timeout=30)
            except OSError:
                _reset(client)
                continue
            thread = threading.Thread(target=self._serve, args=(client, server))
            with self._guard:
                self._sockets |= {client, server}
                self._threads.append(thread)
                if self._closed:
                    client.close()
                    server.close()
                    return
            thread.start()

    def _serve(self, client: socket.socket, server: socket.socket) -> None:
        with client, server:
            with contextlib.suppress(OSError):
                self._forward(client, server)
            with self._guard:
                self._sockets -= {client, server}

    def _forward(self, client: socket.socket, server: socket.socket) -> None:
        replied, request = True, b""
        fault: str | bytes = ""
        for end in _readable(client, server):
            data = end.recv(STEP)
            if not data:
                return
            if end is client:
                if replied:
                    replied, request, fault = False, b"", self._next_fault()
                if isinstance(fault, bytes):
                    request += data
                    if _is_whole(request):
                        client.sendall(fault)
                        replied = True
                    continue
                if fault == RESET_BEFORE:
                    _reset(client)
                    return
                if fault != SILENT_BEFORE:
                    server.sendall(data)
            elif not data.replace(CONTINUE, b""):
                client.sendall(data)
            else:
                replied = True
                if fault == RESET_AFTER:
                    _reset(client)
                    return
                if fault != SILENT_AFTER:
                    client.sendall(data)


def _readable(client: socket.socket, server: socket.socket) -> Iterator[socket.socket]:
    with selectors.DefaultSelector() as selector:
        for end in (client, server):
            selector.register(end, selectors.EVENT_READ)
        while True:
            for key, _ in selector.select():
                found = key.fileobj
                assert isinstance(found, socket.socket)
                yield found


def _is_whole(request: bytes) -> bool:
    """Whether all of an HTTP request has come, or all that comes before a reply."""
    head, end, body = request.partition(b"\r\n\r\n")
    if b"\r\nexpect: 100-continue" in head.lower():
        return bool(end)
    length = re.search(rb"\r\ncontent-length: *(\d+)", head, re.IGNORECASE)
    return bool(end) and len(body) >= (int(length[1]) if length else 0)


def _reset(end: socket.socket) -> None:
    end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    end.close()
