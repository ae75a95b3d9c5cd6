"""How a supervisor and a worker process talk: JSON objects, one on each line, over a pair of sockets.

To a worker: `stop` (the number of a signal), `reload`, and `ask` ("snapshot" or "alive"). From it: `answer` (what was
asked) with `value`, `course` (how far a collection has come), `failure` (its `kind`) with `text`, and `report`.
A worker that finds the link closed has lost its supervisor.
"""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator
from typing import Any

import orjson

__all__ = ["CONFIGURATION", "OTHER", "USAGE", "Link"]

CONFIGURATION, USAGE, OTHER = "configuration", "usage", "other"
"""Kinds of failures that keep a worker from its work."""


class Link:
    """One end. Anyone may send; one thread receives."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._lock = threading.Lock()

    def send(self, **message: Any) -> None:
        """Send `message`; it is lost where the other end is gone."""
        data = orjson.dumps(message) + b"\n"
        with self._lock, contextlib.suppress(OSError):
            self._connection.sendall(data)

    def received(self) -> Iterator[dict[str, Any]]:
        """Messages as they come, until the other end is gone."""
        with contextlib.suppress(OSError), self._connection.makefile("rb") as lines:
            for line in lines:
                # The end of a process may cut its last one short.
                if line.endswith(b"\n"):
                    yield orjson.loads(line)

    def close(self) -> None:
        """Let go of this end, once nobody receives from it."""
        self._connection.close()
