"""`grove` and `groved` in several processes."""

from __future__ import annotations

import os
import signal
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from grove.loader import stream_key
from grove.models import ConnectorConfig
from grove.processes.share import Share
from tests.daemon.processes import PATIENCE, Daemon, Running
from tests.waiting import readable

COUNT = 2

DYING = '''
import os

from grove.outputs import local_file


class Handler(local_file.Handler):
    """Does not live to see its page published, where DIE is set."""

    def publish(self, staged):
        if "DIE" in os.environ:
            os._exit(9)
        return super().publish(staged)
'''


class Several(Daemon):
    """Documents, and ways to run what collects them in two processes."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.environment["GROVE_PROCESSES"] = str(COUNT)
        plugins = root / "plugins"
        info = plugins / "dying-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: dying\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text("[grove.outputs]\ndying = dying:Handler\n")
        (plugins / "dying.py").write_text(DYING)

    def names(self, number: int, connector: str, count: int = 1) -> list[str]:
        """Names for streams of `connector` that are collected by the worker with this number."""
        found = (f"s{index}" for index in range(1000) if worker_of(f"s{index}", connector) == number)
        return [next(found) for _ in range(count)]

    def start_several(self, code: str = "") -> tuple[Running, dict[int, int]]:
        """A `groved` that has loaded its documents everywhere, and the ids of its workers by their number."""
        self.environment |= {"LOG_LEVEL": "DEBUG", "GROVE_STATUS_ADDRESS": "127.0.0.1:0"}
        running = self.start_daemon(code=code)
        found = [running.until("A worker process was started.")["detail"] for _ in range(COUNT)]
        pids = {int(about["worker"].split()[0]): about["worker_id"] for about in found}
        self.url = running.until("Grove has started its worker processes.")["detail"]["status"]
        for _ in range(COUNT):
            running.until("The configuration is loaded.")
        # Once they have answered, none of them is in the middle of a log line.
        assert fetch(f"{self.url}healthz") == (200, "ok\n")
        return running, pids


def fetch(url: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(url, timeout=30) as answer:
            return int(answer.status), str(answer.read().decode())
    except urllib.error.HTTPError as err:
        with err:
            return err.code, err.read().decode()


def worker_of(name: str, connector: str) -> int:
    """The number of the worker that collects a stream."""
    key = stream_key(ConnectorConfig(name=name, identity=name, connector=connector))
    (number,) = (n for n in range(1, COUNT + 1) if Share(n, COUNT).has(key))
    return number


class Watched:
    """A process that is no child of this one: whether it has ended."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self._descriptor = os.pidfd_open(pid)

    def has_ended(self, within: float = PATIENCE) -> bool:
        """Whether it does so within that many seconds."""
        return bool(readable([self._descriptor], within))

    def close(self) -> None:
        if not self.has_ended(0):
            signal.pidfd_send_signal(self._descriptor, signal.SIGKILL)
        os.close(self._descriptor)


@pytest.fixture
def several(tmp_path: Path) -> Iterator[Several]:
    several = Several(tmp_path)
    yield several
    several.close()


@pytest.fixture
def watched() -> Iterator[Any]:
    """Makes a `Watched` of a process id."""
    made: list[Watched] = []

    def watch(pid: int) -> Watched:
        made.append(Watched(pid))
        return made[-1]

    yield watch
    for one in made:
        one.close()
