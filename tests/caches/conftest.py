"""Servers and folders that the tests of this folder share."""

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.servers import Server, make_redis_server, running


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A running Redis server. Tests keep apart by prefix."""
    folder: Path = tmp_path_factory.mktemp("redis")
    with running(make_redis_server(folder)) as server:
        yield server


@pytest.fixture
def shm() -> Iterator[Path]:
    """A folder in memory, where there is some to be had, for tests that would wait for the disk thousands of times."""
    memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with tempfile.TemporaryDirectory(dir=memory, prefix="grove-") as folder:
        yield Path(folder)
