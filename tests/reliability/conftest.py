"""Folders in memory, where there is some to be had: a simulated disk need not wait for a real one."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from .world import FOLDER


@pytest.fixture
def shm() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(dir=FOLDER, prefix="grove-") as folder:
        yield Path(folder)
