"""One JSON line per entry on standard output, for a pipe or the log of a container."""

import errno
import io
import json
import select
import sys
import threading
from typing import ClassVar, TextIO

from grove.exceptions import AccessException
from grove.helpers import clock, turns
from grove.outputs import BaseOutput

__all__ = ["Handler"]


class Handler(BaseOutput):
    """Writes each page as a whole, so that the lines of streams that run side by side never mix."""

    KIND: ClassVar[str] = "json"

    def pack(self, ndjson: bytes) -> bytes:
        """The lines as they are."""
        return ndjson

    def submit(
        self,
        data: bytes,
        connector: str,
        identity: str,
        operation: str,
        part: int = 0,
        kind: str = "json",
        descriptor: str = "",
        name: str | None = None,
    ) -> None:
        """Print each entry in `data` as the `message` of a line that says where it came from.

        AccessException where standard output cannot be written; some of the lines may be out by then.
        """
        origin = {
            "part": part,
            "kind": kind,
            "descriptor": descriptor,
            "connector": connector,
            "identity": identity,
            "operation": operation,
            "datestamp": clock.datestamp(clock.now()),
        }
        # The entries are JSON already: what surrounds them is written once, and put around each.
        start = json.dumps(origin, separators=(",", ":"))[:-1].encode() + b',"message":'
        pieces: list[bytes] = []
        for raw in data.split(b"\n"):
            if line := raw.strip():
                pieces += (start, line, b"}\n")
        try:
            _stdout.write(b"".join(pieces))
        except BrokenPipeError as err:
            raise AccessException(
                "Standard output was closed by whatever reads it. See why that ended, then run again."
            ) from err
        except (OSError, ValueError, AttributeError) as err:
            raise AccessException(
                f"Standard output cannot be written: {err}. Check where it leads, then run again."
            ) from err


class _Stdout:
    """Whole writes to whatever `sys.stdout` is at that moment."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        # The stream on which a failed write has left part of a line.
        self._torn: object = None

    def write(self, data: bytes) -> None:
        """Write and flush `data`; OSError, ValueError or AttributeError where that fails. No two calls mix."""
        with self._lock, turns.turn(turns.STDOUT, len(data)) as torn:
            stream = sys.stdout
            if torn or (self._torn is not None and self._torn is stream):
                # It must not run into the next line.
                data = b"\n" + data
            self._torn = stream
            _write(stream, data)
            self._torn = None


def _write(stream: TextIO, data: bytes) -> None:
    stream.flush()
    binary = getattr(stream, "buffer", None)
    if binary is None:
        # Something that takes text only has been put in its place.
        stream.write(data.decode("utf-8", "replace"))
        stream.flush()
        return
    # With PYTHONUNBUFFERED there is nothing around the raw stream, and that may write less than it is given.
    raw = binary if isinstance(binary, io.RawIOBase) else getattr(binary, "raw", None)
    if not isinstance(raw, io.RawIOBase):
        binary.write(data)
        binary.flush()
        return
    # Past the buffer: it would keep what it could not write, and print that later.
    rest = memoryview(data)
    while rest:
        written = raw.write(rest)
        if written is None:
            # A terminal or pipe that somebody has made non-blocking.
            select.select([], [raw], [])
        elif not written:
            raise OSError(errno.EIO, "nothing was written")
        else:
            rest = rest[written:]


_stdout = _Stdout()
