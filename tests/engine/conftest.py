"""A connector over a list of pages, with a real cache and real files."""

import gzip
import json
from collections import Counter
from datetime import UTC, datetime
from types import SimpleNamespace

import pytest

from grove import lease
from grove.caches.local_memory import Handler as MemoryCache
from grove.connectors import BaseConnector
from grove.constants import CHRONOLOGICAL, REVERSE_CHRONOLOGICAL
from grove.helpers import clock
from grove.models import ConnectorConfig
from grove.outputs.local_file import Handler as FileOutput
from tests.reliability.world import Clock

CONTEXT = {"runtime": "test", "runtime_id": "1", "runtime_host": "host"}


class Scripted(BaseConnector):
    """Saves the pages it is given; a page that is an exception is raised, one that is callable is called."""

    CONNECTOR = "scripted"
    POINTER_PATH = "at"
    LOG_ORDER = CHRONOLOGICAL
    pages = ()

    def collect(self):
        for page in self.pages:
            if isinstance(page, BaseException):
                raise page
            if callable(page):
                page(self)
            else:
                self.save(page)


class Newest(Scripted):
    LOG_ORDER = REVERSE_CHRONOLOGICAL


def read_objects(folder):
    """Every delivered entry below a folder, in the order of delivery; fails on a file that is not whole."""
    entries = []
    for path in sorted(folder.rglob("*.json.gz"), key=lambda path: path.stat().st_mtime_ns):
        data = gzip.decompress(path.read_bytes())
        assert data.endswith(b"\n")
        entries.extend(json.loads(line) for line in data.splitlines())
    return entries


def plain(entries):
    return [{key: value for key, value in entry.items() if key != "_grove"} for entry in entries]


def multiset(entries):
    return Counter(json.dumps(entry, sort_keys=True) for entry in entries)


@pytest.fixture
def cache():
    handler = MemoryCache()
    handler.setup()
    handler.reset()
    yield handler
    handler.reset()


@pytest.fixture
def output(tmp_path, monkeypatch):
    folder = tmp_path / "out"
    folder.mkdir()
    monkeypatch.setenv("GROVE_OUTPUT_LOCAL_FILE_PATH", str(folder))
    handler = FileOutput()
    handler.setup()
    return handler


@pytest.fixture
def delivered(tmp_path):
    def read(descriptor="logs"):
        return read_objects(tmp_path / "out" / descriptor)

    return read


@pytest.fixture
def make(cache, output):
    def build(cls=Scripted, pages=(), run=True, **fields):
        config = ConnectorConfig(**{"name": "test", "identity": "corp", "connector": "scripted", "key": "k", **fields})
        connector = cls(config, CONTEXT, cache=cache, output=output)
        connector.pages = pages
        if run:
            connector.run()
        return connector

    return build


@pytest.fixture
def frozen(monkeypatch):
    """Both clocks move only when told, and nobody renews a lease."""
    hands = Clock(datetime(2025, 3, 4, 10, 11, 12, tzinfo=UTC))
    monkeypatch.setattr(clock, "now", hands.now)
    monkeypatch.setattr(clock, "monotonic", hands.monotonic)
    monkeypatch.setattr(lease, "_renewer", SimpleNamespace(add=lambda lease: None, remove=lambda lease: None))
    return hands
