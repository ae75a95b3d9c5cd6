"""A server that sends exactly the bytes a test says, and keeps exactly the bytes it received."""

from __future__ import annotations

import contextlib
import select
import socket
import ssl
import struct
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

Framing = Literal["length", "chunked", "close"]


@dataclass(slots=True)
class Received:
    """A request as it came in; header names in lower case."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes
    raw: bytes = field(repr=False)
    connection: int = 0


@dataclass(frozen=True, slots=True)
class Sent:
    """What is sent, and what becomes of the connection then: kept, closed, reset, or left hanging.

    With `pause`, `piece` bytes are sent at a time, that many seconds apart.
    """

    data: bytes
    end: Literal["keep", "close", "reset", "hang"] = "keep"
    pause: float = 0.0
    piece: int = 1


def reply(
    body: bytes = b"{}",
    status: int = 200,
    headers: Mapping[str, str] | None = None,
    *,
    framing: Framing = "length",
    content_type: str = "application/json",
    cut: int | None = None,
) -> Sent:
    """An answer; `cut` bytes of it are sent, head included, and then the connection is closed."""
    lines = [f"HTTP/1.1 {status} Scripted", f"Content-Type: {content_type}"]
    lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
    if framing == "length":
        lines.append(f"Content-Length: {len(body)}")
    elif framing == "chunked":
        lines.append("Transfer-Encoding: chunked")
        half = len(body) // 2 or 1
        pieces = [piece for piece in (body[:half], body[half:]) if piece]
        body = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"
    else:
        lines.append("Connection: close")
    data = "\r\n".join(lines).encode() + b"\r\n\r\n" + body
    return Sent(data if cut is None else data[:cut], "close" if cut is not None or framing == "close" else "keep")


Answer = Callable[[Received], Sent]


class Server:
    """Answers on a free port of 127.0.0.1, one thread per connection, until it is closed."""

    def __init__(self, answer: Answer, context: ssl.SSLContext | None = None, host: str = "127.0.0.1") -> None:
        self.answer = answer
        self.received: list[Received] = []
        self.connections = 0
        self._context = context
        self._listener = socket.create_server((host, 0))
        self.port: int = self._listener.getsockname()[1]
        self.url = f"{'https' if context else 'http'}://{host}:{self.port}"
        self._closed, self._close = socket.socketpair()
        self._threads: list[threading.Thread] = []
        self._start(self._accept)

    def close(self) -> None:
        """Break everything off; its threads have ended when this returns."""
        self._close.close()
        for thread in self._threads:
            thread.join(10)
        self._listener.close()
        self._closed.close()

    @property
    def bytes_received(self) -> bytes:
        """Everything that clients sent."""
        return b"".join(request.raw for request in self.received)

    def _start(self, work: Callable[[], None]) -> None:
        thread = threading.Thread(target=work, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while self._readable(self._listener):
            connection, _ = self._listener.accept()
            self.connections += 1
            number = self.connections
            self._start(lambda connection=connection, number=number: self._serve(connection, number))

    def _serve(self, connection: socket.socket, number: int) -> None:
        with contextlib.suppress(OSError), contextlib.ExitStack() as stack:
            stack.enter_context(connection)
            # A segment per send: bytes are seen one at a time.
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self._context is not None:
                connection.settimeout(10)
                connection = stack.enter_context(self._context.wrap_socket(connection, server_side=True))
            while (request := self._read(connection, number)) is not None:
                self.received.append(request)
                sent = self.answer(request)
                if not self._send(connection, sent):
                    return
                if sent.end == "hang":
                    self._wait(connection, None)
                if sent.end == "reset":
                    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                if sent.end != "keep":
                    return

    def _send(self, connection: socket.socket, sent: Sent) -> bool:
        if not sent.pause:
            connection.sendall(sent.data)
            return True
        for start in range(0, len(sent.data), sent.piece):
            connection.sendall(sent.data[start : start + sent.piece])
            if self._wait(connection, sent.pause):
                return False
        return True

    def _read(self, connection: socket.socket, number: int) -> Received | None:
        raw = b""
        while b"\r\n\r\n" not in raw:
            piece = self._receive(connection)
            if not piece:
                return None
            raw += piece
        head, _, body = raw.partition(b"\r\n\r\n")
        lines = head.decode("latin-1").split("\r\n")
        method, target, _ = lines[0].split(" ", 2)
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])}
        while len(body) < int(headers.get("content-length", "0")):
            piece = self._receive(connection)
            body += piece
            raw += piece
        return Received(method, target, headers, body, raw, number)

    def _receive(self, connection: socket.socket) -> bytes:
        pending = isinstance(connection, ssl.SSLSocket) and connection.pending()
        return connection.recv(65536) if pending or self._readable(connection) else b""

    def _readable(self, sock: socket.socket) -> bool:
        """Wait until something can be read; False once the server is being closed."""
        poll = select.poll()
        poll.register(sock, select.POLLIN)
        poll.register(self._closed, select.POLLIN)
        return self._closed.fileno() not in dict(poll.poll())

    def _wait(self, connection: socket.socket, seconds: float | None) -> bool:
        """Wait; True where the client hung up or the server is being closed meanwhile."""
        poll = select.poll()
        poll.register(connection, select.POLLRDHUP)
        poll.register(self._closed, select.POLLIN)
        return bool(poll.poll(None if seconds is None else seconds * 1000))


def script(*answers: Sent) -> Answer:
    """Each of `answers` once, in turn, and the last one for ever."""
    remaining = list(answers)
    lock = threading.Lock()

    def answer(request: Received) -> Sent:
        with lock:
            return remaining.pop(0) if len(remaining) > 1 else remaining[0]

    return answer
