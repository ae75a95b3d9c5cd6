"""R7: runs without end, in simulated time but with real state and files: no thread, handle or memory is left over.

R7 and R18 besides, in real time: a soak, for some seconds or for half an hour.
"""

from __future__ import annotations

import gc
import logging
import os
import random
import threading
from collections import deque
from pathlib import Path

import pytest

from grove.connectors import BaseConnector
from grove.exceptions import RequestFailedException
from grove.testing.practice import read_delivered

from .conftest import Stage
from .soak import soak

STREAMS = 50


class Usage:
    """What this process holds at a moment."""

    def __init__(self) -> None:
        gc.collect()
        self.threads = threading.active_count()
        self.handles = len(os.listdir("/proc/self/fd"))
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        self.memory = pages * os.sysconf("SC_PAGE_SIZE")


def test_many_runs_leave_nothing_over(stage: Stage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _soak(stage, tmp_path, monkeypatch, runs=20)


@pytest.mark.long
def test_a_thousand_runs_of_each_stream_leave_nothing_over(
    stage: Stage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _soak(stage, tmp_path, monkeypatch, runs=1000)


def _soak(stage: Stage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, runs: int) -> None:
    saved: list[int] = [0]

    def save(connector: BaseConnector) -> None:
        connector.save([{"id": int(stage.clock.passed * 10)}])
        saved[0] += 1

    def fail(connector: BaseConnector) -> None:
        save(connector)
        raise RequestFailedException("made up")

    def surprise(connector: BaseConnector) -> None:
        raise KeyError("surprise")

    # Whoever captures logs keeps them.
    monkeypatch.setattr(logging.root.manager, "disable", logging.CRITICAL)
    out = tmp_path / "out"
    out.mkdir()
    monkeypatch.setenv("GROVE_CACHE_LOCAL_LMDB_PATH", str(tmp_path / "state"))
    monkeypatch.setenv("GROVE_OUTPUT_LOCAL_FILE_PATH", str(out))
    stage.runs = deque(maxlen=1)  # type: ignore[assignment]
    for number in range(STREAMS):
        stage.document(f"{number}")
        stage.acts[f"{number}"] = (save, save, save, fail, surprise)[number % 5]
    usage: list[Usage] = []
    seconds = 60 * runs
    for moment in (seconds // 4, seconds // 2, seconds - 1):
        stage.at(moment, lambda: usage.append(Usage()))
    assert stage.run(seconds, cache="local_lmdb", output="local_file", config_refresh=300) == 0
    assert stage.left == []
    early, middle, late = usage
    assert saved[0] > runs * STREAMS * 0.6
    assert len({(part.threads, part.handles) for part in usage}) == 1
    # Of what grows by itself (the map of the cache, tables of the allocator) there may be a little.
    assert late.memory - middle.memory < 2 << 20
    assert middle.memory - early.memory < 4 << 20
    # Saved means delivered, in this too.
    assert len(read_delivered(out / "logs")) == saved[0]


@pytest.mark.parametrize(
    ("minutes", "streams", "every", "check"),
    [(0.1, 8, 0.5, 1.0), pytest.param(30, 50, 5.0, 30.0, marks=pytest.mark.long)],
)
def test_nothing_is_lost_or_twice_whatever_goes_wrong(minutes: float, streams: int, every: float, check: float) -> None:
    seed = int(os.environ.get("GROVE_TEST_SEED") or random.SystemRandom().getrandbits(32))
    print(f"GROVE_TEST_SEED={seed}")
    happened = soak(minutes, streams, seed, every=every, check=check)
    print(happened)
    assert happened["delivered"] > 20 * streams
    assert happened["failed"] > 0
