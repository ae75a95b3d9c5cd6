"""Every simulated vendor in turn, and a stream that collects it."""

from __future__ import annotations

import importlib
import pkgutil
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from grove.caches.local_memory import Handler as MemoryCache
from grove.connectors.rest import RestConnector
from grove.helpers import clock
from grove.http import _tokens, client
from grove.http._breaker import Breaker
from grove.logging import forget_secrets
from grove.models import ConnectorConfig
from grove.outputs.local_file import Handler as FileOutput
from grove.testing.practice import read_delivered

from . import vendors
from .vendor import NOW, Vendor, relocated

VENDORS: dict[str, type[Vendor]] = {
    kind.connector.CONNECTOR: kind
    for module in pkgutil.iter_modules(vendors.__path__)
    for kind in vars(importlib.import_module(f"{vendors.__name__}.{module.name}")).values()
    if isinstance(kind, type) and issubclass(kind, Vendor) and hasattr(kind, "connector")
}


class Impatient(threading.Event):
    """Waits for nothing."""

    def wait(self, timeout: float | None = None) -> bool:
        return self.is_set()


class Stream:
    """One stream of a vendor, with a state and a folder of its own."""

    def __init__(self, vendor: Vendor, path: Path) -> None:
        self.vendor = vendor
        self.path = path
        self.kind = relocated(vendor.connector, vendor.url)
        self.cache = MemoryCache()
        self.cache.setup()
        self.cache.reset()
        self.output = FileOutput()
        self.output.setup()

    def connector(self, kind: type[RestConnector] | None = None, **fields: Any) -> RestConnector:
        document = {
            "name": "test",
            "identity": "corp",
            "connector": self.vendor.connector.CONNECTOR,
            "outputs": {"logs": "raw"},
            **self.vendor.document,
            **fields,
        }
        made = (kind or self.kind)(ConnectorConfig(**document), {}, cache=self.cache, output=self.output)
        made.stopping = Impatient()
        return made

    def run(self, kind: type[RestConnector] | None = None, **fields: Any) -> RestConnector:
        """One run; the connector tells how it ended."""
        connector = self.connector(kind, **fields)
        connector.run()
        return connector

    def delivered(self) -> list[int]:
        """The numbers of what has arrived."""
        return sorted(self.vendor.number_of(entry) for entry in read_delivered(self.path))


@pytest.fixture(params=sorted(VENDORS))
def vendor(request: pytest.FixtureRequest) -> Iterator[Vendor]:
    made = VENDORS[request.param]()
    yield made
    made.close()


@pytest.fixture
def stream(vendor: Vendor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stream]:
    path = tmp_path / "out"
    path.mkdir()
    monkeypatch.setenv("GROVE_OUTPUT_LOCAL_FILE_PATH", str(path))
    monkeypatch.setattr(clock, "now", lambda: NOW)
    monkeypatch.setattr(client, "_breaker", Breaker())
    _tokens._slots.clear()
    made = Stream(vendor, path)
    yield made
    made.cache.reset()
    forget_secrets()
