"""Real servers on loopback, each a process of its own with a directory of its own, for the tests that need one."""

from __future__ import annotations

import contextlib
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
START_LIMIT = 30.0


def free_port() -> int:
    """A TCP port of loopback that nobody uses at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class Server:
    """A process that listens on `port` of loopback. `command` makes its command line, from the port.

    It is ready once it accepts connections and, where there is a `question`, does not answer it with `not_yet`.
    """

    def __init__(
        self, folder: Path, command: Callable[[int], list[str]], question: bytes = b"", not_yet: bytes = b""
    ) -> None:
        self.folder = folder
        self._question = question
        self._not_yet = not_yet
        self.port = 0
        self._command = command
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, on the port it had before or on a free one, and return once it is ready."""
        fixed = self.port
        for _ in range(5):
            port = fixed or free_port()
            with (self.folder / "server.log").open("ab") as log:
                self._process = subprocess.Popen(
                    self._command(port), cwd=ROOT, stdin=subprocess.DEVNULL, stdout=log, stderr=log
                )
            if self._gets_ready(port):
                self.port = port
                return
            self.kill()
        raise AssertionError(f"the server does not start: {(self.folder / 'server.log').read_text()[-2000:]}")

    def _gets_ready(self, port: int) -> bool:
        assert self._process is not None
        limit = time.monotonic() + START_LIMIT
        while time.monotonic() < limit and self._process.poll() is None:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1) as link:
                if self._question:
                    link.sendall(self._question)
                if not self._question or not link.recv(1024).startswith(self._not_yet):
                    # Another process may have taken the port meanwhile; ours has then ended.
                    return self._process.poll() is None
            time.sleep(0.02)
        return False

    def kill(self) -> None:
        """End it as `kill -9` does."""
        if self._process is not None:
            self._process.send_signal(signal.SIGKILL)
            self._process.wait()
            self._process = None

    def pause(self) -> None:
        """Let it do nothing until `resume`."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on."""
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)


def make_redis_server(folder: Path, *options: str) -> Server:
    """A Redis server, not started, that writes an append-only file. `options` are more of its command line."""
    program = shutil.which("redis-server") or shutil.which("valkey-server")
    if program is None:
        pytest.skip("no redis-server: install Debian's package redis-server to run this test")
    durable = ("--appendonly", "yes", "--appendfsync", "everysec", "--save", "")

    def command(port: int) -> list[str]:
        place = ("--bind", "127.0.0.1", "--port", str(port), "--dir", str(folder))
        return [program, *place, *durable, *options]

    return Server(folder, command, question=b"PING\r\n", not_yet=b"-LOADING")


def make_aws_server(folder: Path) -> Server:
    """A stand-in for AWS, not started."""
    return Server(folder, lambda port: [sys.executable, "-m", "tests.aws_server", str(port)])


@contextlib.contextmanager
def running(server: Server) -> Iterator[Server]:
    """`server`, started, and killed afterwards."""
    server.start()
    try:
        yield server
    finally:
        server.kill()
