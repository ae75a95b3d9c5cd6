"""What is measured: deterministic pages of both sizes, and the connectors that save them."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson

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
    """One size of entry: its pointer path, and as many fresh pages of it as are asked for."""

    def __init__(self, name: str, path: str, make: Callable[..., list[dict[str, Any]]]) -> None:
        self.name = name
        self.path = path
        self._make = make
        self._next = 0

    def page(self, size: int = PAGE) -> list[dict[str, Any]]:
        page = self._make(size, start=self._next)
        self._next += size
        return page

    def pages(self, count: int) -> list[list[dict[str, Any]]]:
        return [self.page() for _ in range(count)]

    def bodies(self, count: int, size: int = PAGE) -> list[bytes]:
        """Pages as a source sends them: each a JSON list, compact."""
        return [orjson.dumps(self.page(size)) for _ in range(count)]


def small() -> Kind:
    """Flat entries of 0.5 KB, with an integer as the pointer."""
    return Kind("0.5 KB", '"@timestamp"', github_entries)


def large() -> Kind:
    """Nested entries of 1.9 KB, with a text as the pointer."""
    return Kind("1.9 KB", "published", okta_entries)


class Saver(BaseConnector):
    """Collects nothing by itself: the benchmark calls save()."""

    CONNECTOR = "benchmark"
    LOG_ORDER = CHRONOLOGICAL

    def collect(self) -> None:
        """Nothing to do: an idle source."""


class NewestSaver(Saver):
    LOG_ORDER = REVERSE_CHRONOLOGICAL


class PipelinedSaver(Saver):
    """Commits each page beside the next one."""

    PIPELINED = True


def connector(
    folder: Path,
    path: str,
    cls: type[Saver] = Saver,
    *,
    cache: Path | None = None,
    identity: str = "corp",
    **fields: Any,
) -> Saver:
    """A connector that delivers below `folder`, where its LMDB is as well unless `cache` says another place."""
    (folder / "out").mkdir(parents=True)
    os.environ["GROVE_OUTPUT_LOCAL_FILE_PATH"] = str(folder / "out")
    store, output = LMDBCache(cache or folder / "cache"), FileOutput()
    store.setup()
    output.setup()
    config = ConnectorConfig(name="bench", identity=identity, connector="benchmark", key="k", **fields)
    made = cls(config, METADATA["runtime"], cache=store, output=output)  # type: ignore[arg-type]
    made.POINTER_PATH = path
    return made


def surroundings(folder: Path, **connectors: str) -> dict[str, str]:
    """The environment of a Grove that lives in `folder`, and has these connectors: names and entry points.

    Documents are read from `documents`, which is there; output goes to `out`.
    """
    info = folder / "plugins" / "benchmarked-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: benchmarked\nVersion: 1.0\n")
    lines = [f"{name} = {place}" for name, place in connectors.items()]
    (info / "entry_points.txt").write_text("\n".join(["[grove.connectors]", *lines, ""]))
    (folder / "documents").mkdir()
    (folder / "out").mkdir()
    return {
        **{name: value for name, value in os.environ.items() if not name.startswith(("GROVE_", "LOG_"))},
        "PYTHONPATH": os.pathsep.join([str(info.parent), str(Path(__file__).parent.parent)]),
        "GROVE_CONFIG_LOCAL_FILE_PATH": str(folder / "documents"),
        "GROVE_CACHE_LOCAL_LMDB_PATH": str(folder / "state"),
        "GROVE_OUTPUT_HANDLER": "local_file",
        "GROVE_OUTPUT_LOCAL_FILE_PATH": str(folder / "out"),
    }
