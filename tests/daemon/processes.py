"""`groved` in a process of its own, with documents, real state and files, and connectors that behave badly."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from grove.caches.local_lmdb import Handler as LmdbCache
from grove.testing.practice import read_delivered
from tests.runtime.conftest import Finished, Grove
from tests.waiting import readable

PLUGINS = """
import ctypes
import os

from grove.outputs.local_file import Handler as FileOutput
from probes import Connector as Probe


class Connector(Probe):
    def crashing(self):
        ctypes.string_at(0)

    def patient(self):
        while True:
            self.wait(3600)


class AnnouncedOutput(FileOutput):
    '''Tells stdout once a page is staged, and goes on when stdin says so.'''

    def stage(self, name, data):
        staged = super().stage(name, data)
        os.write(1, b"staged\\n")
        os.read(0, 1)
        return staged
"""

PATIENCE = 60.0
"""Seconds that a test waits for what is certain to come."""


class Daemon(Grove):
    """Documents, an environment, and ways to run `groved` with them. Entries go to files unless a test says else."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        plugins = root / "plugins"
        info = plugins / "daemon_probes-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: daemon-probes\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(
            "[grove.connectors]\ndaemon_probe = daemon_probes:Connector\n"
            "[grove.outputs]\nannounced = daemon_probes:AnnouncedOutput\n"
        )
        (plugins / "daemon_probes.py").write_text(PLUGINS)
        self.out = root / "out"
        self.out.mkdir()
        self.state = root / "state"
        self.environment |= {"GROVE_OUTPUT_HANDLER": "local_file", "GROVE_OUTPUT_LOCAL_FILE_PATH": str(self.out)}

    def probe(self, name: str, behaviour: str, **fields: Any) -> None:
        self.document(name, "daemon_probe", behaviour=behaviour, **fields)

    def start_daemon(self, *arguments: str, code: str = "") -> Running:
        """Start `groved`, after `code`."""
        process = subprocess.Popen(
            [sys.executable, "-c", f"from grove.cli.daemon import main\n{code}\nmain()", *arguments],
            env=self.environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self._processes.append(process)
        return Running(process)

    def delivered(self) -> list[dict[str, Any]]:
        """Every entry that is there, without what Grove has added."""
        found = read_delivered(self.out)
        return [{key: value for key, value in entry.items() if key != "_grove"} for entry in found]

    def leases(self) -> list[str]:
        """The streams whose lock is held, after the process has ended."""
        return [key.pk for key, _ in LmdbCache(self.state).scan("execution_lock.")]


class Running:
    """A `groved` that runs, and what it has logged so far."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.logs: list[dict[str, Any]] = []
        self._unread = b""

    def until(self, message: str, **detail: Any) -> dict[str, Any]:
        """Wait for a log line: the first from here on with that message, and those details."""
        deadline = time.monotonic() + PATIENCE
        while (line := self._line(deadline)) is not None:
            found = json.loads(line)
            self.logs.append(found)
            if found["message"] == message and detail.items() <= found["detail"].items():
                return dict(found)
        raise AssertionError(f"{message!r} was not logged, but {[line['message'] for line in self.logs]}")

    def _line(self, deadline: float) -> bytes | None:
        """The next line of stderr; None at its end, or after the deadline."""
        assert self.process.stderr is not None
        while b"\n" not in self._unread:
            # Not through the stream, whose buffer may hold the line that is waited for.
            ready = readable([self.process.stderr], max(0.0, deadline - time.monotonic()))
            data = os.read(self.process.stderr.fileno(), 65536) if ready else b""
            if not data:
                return None
            self._unread += data
        line, _, self._unread = self._unread.partition(b"\n")
        return line

    def until_told(self, text: str) -> None:
        """Wait for a line on stdout."""
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == f"{text}\n"

    def go_on(self) -> None:
        """Let it go on where it waits for stdin, now and from here on."""
        assert self.process.stdin is not None
        self.process.stdin.close()

    def send(self, number: signal.Signals) -> None:
        os.kill(self.process.pid, number)

    def end(self, number: signal.Signals = signal.SIGTERM) -> Finished:
        """Ask it to end, and wait until it has."""
        self.send(number)
        return self.finish()

    def finish(self) -> Finished:
        """What it has left behind, once it has ended. All that it has logged is in there."""
        self.go_on()
        self.process.stdin = None
        done = Finished(self.process)
        seen = "".join(json.dumps(line) + "\n" for line in self.logs)
        done.stderr = seen + self._unread.decode() + done.stderr
        return done
