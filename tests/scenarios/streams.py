"""A stream that real connectors collect from a practice API, with its state in LMDB and its entries in files."""

from __future__ import annotations

import contextlib
import threading
from pathlib import Path
from typing import Any

from grove.caches._lmdb_environment import close
from grove.caches.local_lmdb import Handler as LmdbCache
from grove.connectors import BaseConnector
from grove.connectors.http_json import Connector as HttpJson
from grove.constants import CHRONOLOGICAL, REVERSE_CHRONOLOGICAL
from grove.exceptions import NotFoundException, RequestFailedException
from grove.http import Bearer, Client, Response, next_link
from grove.models import ConnectorConfig
from grove.outputs.local_file import Handler as FileOutput
from grove.testing.practice import TOKEN, PracticeAPI, Report, read_delivered
from grove.testing.practice_documents import http_json

# Seconds after which a run that has not ended counts as hanging; none takes a tenth of it.
_PATIENCE = 60
# Seconds of silence after which a connector asks again, unless a test says otherwise.
_TIMEOUT = 20.0


class Clock:
    """The API's clock, which moves only when somebody waits. `waits` are those that a run made, in seconds."""

    def __init__(self) -> None:
        self.now = 1_800_000_000.0
        self.waits: list[float] = []

    def __call__(self) -> float:
        return self.now


class Impatient(threading.Event):
    """In place of the event that asks a run to stop: who waits for it, waits on that clock and so not at all."""

    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self._clock = clock

    def wait(self, timeout: float | None = None) -> bool:
        if timeout is not None and not self.is_set():
            self._clock.waits.append(timeout)
            self._clock.now += timeout
        return self.is_set()


class Written(BaseConnector):
    """A connector as somebody writes it: a loop around `grove.http.Client`, for the API's links."""

    CONNECTOR = "written"
    POINTER_PATH = "at"
    LOG_ORDER = CHRONOLOGICAL

    def collect(self) -> None:
        config: Any = self.configuration
        client = Client(
            None,
            Bearer(self.key),
            timeout_read=config.read_timeout,
            deadline=config.deadline,
            max_response_bytes=config.max_response_bytes,
            stop=self.stopping,
        )
        query: dict[str, str] | None = {}
        try:
            query = {"since": self.since}
        except NotFoundException:
            self.logger.debug("This is the first run.")
        url: str | None = config.url
        while url:
            response = client.get(url, query, error=_error_in)
            entries = _entries_in(response)
            self.save(entries)
            link = response.json().get("next")
            url, query = next_link(response.url, link) if link else None, None
        self.complete()


class WrittenNewestFirst(Written):
    LOG_ORDER = REVERSE_CHRONOLOGICAL


def _error_in(response: Response) -> str | None:
    body = response.json()
    return str(body["error"]) if isinstance(body, dict) and body.get("error") else None


def _entries_in(response: Response) -> list[dict[str, Any]]:
    body = response.json()
    entries = body.get("entries") if isinstance(body, dict) else None
    if not isinstance(entries, list) or not all(entry is None or isinstance(entry, dict) for entry in entries):
        raise RequestFailedException(f"The answer has no list of entries. It begins: {response.excerpt()}")
    return entries


class Stream:
    """One stream, of the connector `http_json` or `written`; collects in a thread, so that a hang is a failure."""

    def __init__(self, path: Path, kind: str = "http_json") -> None:
        self.path = path
        self.kind = kind
        self.cache = LmdbCache(path / "state")
        self.cache.setup()
        self.output = FileOutput()
        self.output.setup()
        self.clock = Clock()

    def close(self) -> None:
        """Close the cache: a process has room for so many."""
        close(self.cache._environment())

    def connector(self, api: PracticeAPI, **fields: Any) -> BaseConnector:
        """For one run; its waits take no time."""
        kind: type[BaseConnector]
        if self.kind == "http_json":
            kind = HttpJson
            document = http_json(api, **{"error": "error", "read_timeout": _TIMEOUT, **fields})
        else:
            kind = WrittenNewestFirst if api.order == "newest_first" else Written
            document = {
                "name": "practice",
                "identity": "practice",
                "connector": "written",
                "key": TOKEN,
                "outputs": {"logs": "raw"},
                "url": api.url,
                "read_timeout": _TIMEOUT,
                "deadline": 120.0,
                "max_response_bytes": 10**8,
                **fields,
            }
        made = kind(ConnectorConfig(**document), {"runtime": "test"}, cache=self.cache, output=self.output)
        made.stopping = Impatient(self.clock)
        return made

    def run(self, api: PracticeAPI, **fields: Any) -> BaseConnector:
        """One run; the connector tells how it ended."""
        return self.collect(self.connector(api, **fields))

    def collect(self, connector: BaseConnector) -> BaseConnector:
        """One run of this connector."""
        thread = threading.Thread(target=connector.run, daemon=True)
        thread.start()
        thread.join(_PATIENCE)
        assert not thread.is_alive(), "the run hangs"
        return connector

    def delivered(self) -> list[dict[str, Any]]:
        return read_delivered(self.path / "out")

    def check_position(self, api: PracticeAPI) -> None:
        """What the stored state counts as delivered has been delivered."""
        stored = self.connector(api)
        spans = [(stored.window_end, stored.window_start)] if stored.window_start else []
        with contextlib.suppress(NotFoundException):
            spans.append(("", stored.pointer))
        passed = [
            entry
            for entry in api.available
            if entry.get("at") and any((not low or entry["at"] > low) and entry["at"] < high for low, high in spans)
        ]
        report = api.compare(self.delivered())
        missed = [entry for entry in report.lost if entry in passed]
        assert missed == [], f"the state is at {spans}"

    def compare(self, api: PracticeAPI) -> Report:
        return api.compare(self.delivered())
