"""Streams of its own for each test, and nothing that a process remembers about hosts and tokens."""

import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from grove.http import _tokens, client
from grove.http._breaker import Breaker

from .streams import Stream


@pytest.fixture(autouse=True)
def _nothing_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "_breaker", Breaker())
    _tokens._slots.clear()


@pytest.fixture
def folder() -> Iterator[Path]:
    # In memory where that is possible: what a disk may do to files has tests of its own.
    with tempfile.TemporaryDirectory(dir="/dev/shm" if os.access("/dev/shm", os.W_OK) else None) as name:
        yield Path(name)


@pytest.fixture
def make_stream(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Stream]]:
    made: list[Stream] = []

    def make(kind: str = "http_json") -> Stream:
        path = folder / str(len(made))
        (path / "out").mkdir(parents=True)
        monkeypatch.setenv("GROVE_OUTPUT_LOCAL_FILE_PATH", str(path / "out"))
        made.append(Stream(path, kind))
        return made[-1]

    yield make
    for stream in made:
        stream.close()


@pytest.fixture
def stream(make_stream: Callable[..., Stream]) -> Stream:
    return make_stream()
