"""A large event log file, made while it is sent, and a collection in a process of its own that says what that took.

`python -m tests.sources.event_log_memory URL` collects what is at URL, with the environment's cache and output; it
prints how many entries it delivered, and by how many KiB its memory grew.
"""

from __future__ import annotations

import json
import resource
import sys
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from types import TracebackType
from urllib.parse import urlsplit

ROW = 2_000
"""About the size of a row, in bytes."""

DATA = "/services/data/v64.0"


class LargeFile:
    """An org with a single event log file of that many rows; a context manager."""

    def __init__(self, rows: int) -> None:
        self.sent = 0
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                self.rfile.read(int(self.headers["Content-Length"]))
                self._answer({"access_token": "tok3n", "instance_url": outer.url})

            def do_GET(self) -> None:
                if urlsplit(self.path).path == f"{DATA}/query":
                    self._answer({"done": True, "records": [outer.file]})
                    return
                self.send_response(200)
                self.send_header("Content-Type", "text/csv")
                self.send_header("Transfer-Encoding", "chunked")
                self.end_headers()
                for piece in content(rows):
                    outer.sent += len(piece)
                    self.wfile.write(b"%x\r\n%b\r\n" % (len(piece), piece))
                self.wfile.write(b"0\r\n\r\n")

            def _answer(self, document: object) -> None:
                body = json.dumps(document).encode()
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                """Nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self.file = {
            "Id": "0AT1",
            "EventType": "URI",
            "Interval": "Daily",
            "CreatedDate": "2026-11-24T03:00:00.000+0000",
            "LogDate": "2026-11-23T00:00:00.000+0000",
            "LogFile": f"{DATA}/sobjects/EventLogFile/0AT1/LogFile",
        }

    def __enter__(self) -> LargeFile:
        self._thread = Thread(target=self._server.serve_forever)
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, err: BaseException | None, at: TracebackType | None) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def content(rows: int) -> Iterator[bytes]:
    """The file, in pieces."""
    yield b'"EVENT_TYPE","REQUEST_ID","TEXT","TIMESTAMP_DERIVED"\n'
    text = "x, " * (ROW // 3)
    for start in range(0, rows, 100):
        part = range(start, min(start + 100, rows))
        yield "".join(
            f'"URI","{number}","{number} {text}","2026-11-23T10:{number // 60_000 % 60:02}:{number // 1000 % 60:02}'
            f'.{number % 1000:03}Z"\n'
            for number in part
        ).encode()


def main(url: str) -> None:
    """Collect it."""
    from grove.caches.local_lmdb import Handler as Cache
    from grove.connectors.sf.event_log import Connector
    from grove.models import ConnectorConfig
    from grove.outputs.local_file import Handler as Output

    cache, output = Cache(), Output()
    cache.setup()
    output.setup()
    document = {"client_id": "app", "client_secret": "s3cret", "instance_url": url, "outputs": {"logs": "raw"}}
    config = ConnectorConfig(name="large", identity="corp", connector="sf_event_log", **document)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    connector = Connector(config, {}, cache=cache, output=output)
    connector.run()
    assert connector.outcome == "succeeded", connector.failure
    print(connector._saved["logs"], resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)


if __name__ == "__main__":
    main(sys.argv[1])
