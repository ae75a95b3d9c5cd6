"""Streams of `http_json` and other REST connectors, in a cache and a folder of their own."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from grove.caches.local_memory import Handler as MemoryCache
from grove.connectors import BaseConnector
from grove.connectors.http_json import Connector as HttpJson
from grove.connectors.rest import DAY
from grove.models import ConnectorConfig
from grove.outputs.local_file import Handler as FileOutput
from grove.testing.practice import TOKEN, PracticeAPI, read_delivered

CONTEXT = {"runtime": "test"}

PAGING: dict[str, dict[str, Any]] = {
    "cursor": {"type": "token", "path": "next_cursor", "param": "cursor"},
    "next_link": {"type": "link"},
    "offset": {"type": "offset", "size": 50, "size_param": "limit"},
    "keyset": {"type": "keyset", "path": "id", "param": "after", "more": "has_more"},
}


def document(api: PracticeAPI, **fields: Any) -> dict[str, Any]:
    """A configuration document for the practice API."""
    return {
        "name": "practice",
        "identity": "corp",
        "connector": "http_json",
        "key": TOKEN,
        "outputs": {"logs": "raw"},
        "pointer_path": "at",
        "order": api.order,
        "url": api.url,
        "auth": {"type": "header"},
        "params": {"since": "{since}", "limit": 50},
        "entries": "entries",
        "first_run": 10 * 365 * DAY,
        "paging": PAGING[api.paging],
        **fields,
    }


class Streams:
    """Runs streams one after the other, as a host would, and reads what they delivered."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.cache = MemoryCache()
        self.cache.setup()
        self.cache.reset()
        self.output = FileOutput()
        self.output.setup()

    def connector(self, fields: dict[str, Any], kind: type[BaseConnector] = HttpJson) -> BaseConnector:
        return kind(ConnectorConfig(**fields), CONTEXT, cache=self.cache, output=self.output)

    def run(self, fields: dict[str, Any], kind: type[BaseConnector] = HttpJson) -> BaseConnector:
        """One run; the connector tells how it ended."""
        connector = self.connector(fields, kind)
        connector.run()
        return connector

    def delivered(self) -> list[dict[str, Any]]:
        return read_delivered(self.path)


@pytest.fixture
def streams(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Streams]:
    path = tmp_path / "out"
    path.mkdir()
    monkeypatch.setenv("GROVE_OUTPUT_LOCAL_FILE_PATH", str(path))
    made = Streams(path)
    yield made
    made.cache.reset()
