"""Both sizes of entry, and connectors over stores of their own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from benchmarks import baseline, work
from benchmarks.work import Kind, Saver
from grove.caches.local_lmdb import Handler as LMDBCache


@pytest.fixture(params=[work.small, work.large], ids=["0.5KB", "1.9KB"])
def kind(request: pytest.FixtureRequest) -> Kind:
    made: Kind = request.param()
    return made


@pytest.fixture
def cache(tmp_path: Path) -> LMDBCache:
    made = LMDBCache(tmp_path / "cache")
    made.setup()
    return made


@pytest.fixture
def connector(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Saver]:
    """Durable LMDB and durable gzip files, in a folder of their own."""
    # So that it is put back afterwards.
    monkeypatch.setenv("GROVE_OUTPUT_LOCAL_FILE_PATH", str(tmp_path))

    def build(path: str = "at", cls: type[Saver] = Saver, **fields: Any) -> Saver:
        return work.connector(tmp_path / "stream", path, cls, **fields)

    return build


@pytest.fixture
def plain(tmp_path: Path) -> Callable[[str], baseline.Collector]:
    def build(path: str) -> baseline.Collector:
        folder = tmp_path / "plain"
        folder.mkdir(exist_ok=True)
        return baseline.Collector(folder, path)

    return build
