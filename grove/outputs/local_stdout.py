"""Standard output: one JSON line per entry, for a pipe or a container's log."""

from __future__ import annotations

import sys
import threading
from typing import ClassVar

import orjson

from grove.exceptions import AccessException
from grove.helpers import clock
from grove.outputs import BaseOutput

__all__ = ["Handler"]

_lock = threading.Lock()


class Handler(BaseOutput):
    """Writes each page with one write, so that lines of different streams never mix."""

    KIND: ClassVar[str] = ".json"

    def pack(self, ndjson: bytes) -> bytes:
        """As it is: a line has to be readable."""
        return ndjson

    def submit(
        self,
        data: bytes,
        connector: str,
        identity: str,
        operation: str,
        part: int = 0,
        kind: str | None = "json",
        descriptor: str | None = None,
        name: str | None = None,
    ) -> None:
        """Print every entry of `data` as `message`, beside where it came from. AccessException on a broken pipe."""
        head = orjson.dumps(
            {
                "part": part,
                "kind": "json",
                "descriptor": descriptor,
                "connector": connector,
                "identity": identity,
                "operation": operation,
                "datestamp": clock.datestamp(clock.now()),
            }
        )
        # The entries are JSON already: they go in as they are.
        start = head[:-1] + b',"message":'
        lines = [start + line + b"}\n" for line in data.split(b"\n") if line]
        try:
            with _lock:
                _write(b"".join(lines))
        except (OSError, ValueError) as err:
            raise AccessException(f"Standard output cannot be written: {err}.") from err


def _write(data: bytes) -> None:
    raw = getattr(sys.stdout, "buffer", None)
    if raw is None:
        sys.stdout.write(data.decode())
    else:
        raw.write(data)
    sys.stdout.flush()
