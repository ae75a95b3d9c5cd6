"""Deterministic pages of both sizes, and the connector that saves them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from benchmarks import baseline
from grove.caches.local_lmdb import Handler as LMDBCache
from grove.connectors import BaseConnector
from grove.constants import CHRONOLOGICAL, REVERSE_CHRONOLOGICAL
from grove.models import ConnectorConfig
from grove.outputs.local_file import Handler as FileOutput
from grove.testing.entries import github_entries, okta_entries

PAGE = 1_000
METADATA = {
    "connector": "grove.connectors.example.audit_log",
    "identity": "corp",
    "operation": "all",
    "pointer": "1741083072345",
    "previous_pointer": "1741083000000",
    "collection_time": "2025-03-04T10:11:12Z",
    "runtime": {"runtime": "/usr/bin/grove", "runtime_id": "4242", "runtime_host": "collector-1"},
    "version": "3.0.0",
}


class Kind:
    """One size of entry: its pointer path, and as many fresh pages of it as a test asks for."""

    def __init__(self, name: str, path: str, make: Callable[..., list[dict[str, Any]]]) -> None:
        self.name = name
        self.path = path
        self._make = make
        self._next = 0

    def page(self) -> list[dict[str, Any]]:
        page = self._make(PAGE, start=self._next)
        self._next += PAGE
        return page

    def pages(self, count: int) -> list[list[dict[str, Any]]]:
        return [self.page() for _ in range(count)]


@pytest.fixture(params=["0.5KB", "1.9KB"])
def kind(request: pytest.FixtureRequest) -> Kind:
    if request.param == "0.5KB":
        return Kind("0.5KB", '"@timestamp"', github_entries)
    return Kind("1.9KB", "published", okta_entries)


class Saver(BaseConnector):
    """Collects nothing by itself: the benchmark calls save()."""

    CONNECTOR = "benchmark"
    LOG_ORDER = CHRONOLOGICAL

    def collect(self) -> None:
        """Nothing to do: an idle source."""


class NewestSaver(Saver):
    LOG_ORDER = REVERSE_CHRONOLOGICAL


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[LMDBCache, FileOutput]]:
    """A durable LMDB and a durable file output, in a folder of their own."""
    (tmp_path / "out").mkdir()
    monkeypatch.setenv("GROVE_CACHE_LOCAL_LMDB_PATH", str(tmp_path / "cache"))
    monkeypatch.setenv("GROVE_OUTPUT_LOCAL_FILE_PATH", str(tmp_path / "out"))
    cache, output = LMDBCache(), FileOutput()
    cache.setup()
    output.setup()
    yield cache, output


@pytest.fixture
def connector(store: tuple[LMDBCache, FileOutput]) -> Callable[..., BaseConnector]:
    def build(path: str = "at", cls: type[BaseConnector] = Saver, **fields: Any) -> BaseConnector:
        cache, output = store
        config = ConnectorConfig(name="bench", identity="corp", connector="benchmark", key="k", **fields)
        made = cls(config, METADATA["runtime"], cache=cache, output=output)  # type: ignore[arg-type]
        made.POINTER_PATH = path
        return made

    return build


@pytest.fixture
def plain(tmp_path: Path) -> Callable[[str], baseline.Collector]:
    def build(path: str) -> baseline.Collector:
        folder = tmp_path / "plain"
        folder.mkdir(exist_ok=True)
        return baseline.Collector(folder, path)

    return build
