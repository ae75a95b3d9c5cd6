"""A source that takes 100 ms for every page: what collecting adds to its own time.

`python -m benchmarks.slow_source` is the source, in a process of its own as sources are; it prints its address.
"""

from __future__ import annotations

import subprocess
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import orjson

from benchmarks import work
from benchmarks.work import Kind
from grove.caches.local_lmdb import Handler as LMDBCache
from grove.connectors.http_json import Connector
from grove.models import ConnectorConfig
from grove.outputs.local_file import Handler as FileOutput

PAGES = 20
SECONDS = 0.1
KINDS = {"0.5KB": work.small(), "1.9KB": work.large()}


def serve(kind: Kind) -> None:
    """Answer each page of 1,000 entries after 100 ms, on loopback, until this process is ended."""
    bodies = [orjson.dumps({"list": page, "next": number + 1}) for number, page in enumerate(kind.pages(PAGES))]
    bodies[-1] = bodies[-1].replace(b'"next":%d}' % PAGES, b'"next":null}')

    class Answers(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            number = int(parse_qs(urlsplit(self.path).query).get("page", ["0"])[0])
            time.sleep(SECONDS)
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(bodies[number])))
            self.end_headers()
            self.wfile.write(bodies[number])

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Answers)
    print(f"http://127.0.0.1:{server.server_port}/", flush=True)
    server.serve_forever()


def collect(name: str, identity: str, cache: LMDBCache, output: FileOutput) -> float:
    """Seconds for one run over all pages, durably into LMDB and gzip files, of a stream that is new."""
    with subprocess.Popen([sys.executable, "-m", __name__, name], stdout=subprocess.PIPE, text=True) as source:
        assert source.stdout is not None
        document = {
            "name": "slow",
            "identity": identity,
            "connector": "http_json",
            "outputs": {"logs": "raw"},
            "url": source.stdout.readline().strip(),
            "entries": "list",
            "paging": {"type": "token", "path": "next", "param": "page"},
            "pointer_path": KINDS[name].path,
            "order": "oldest_first",
        }
        connector = Connector(ConnectorConfig(**document), {}, cache=cache, output=output)
        started = time.perf_counter()
        connector.run()
        took = time.perf_counter() - started
        source.terminate()
    assert connector.outcome == "succeeded", connector.failure
    return took


if __name__ == "__main__":
    serve(KINDS[sys.argv[1]])
