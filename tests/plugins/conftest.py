"""A package of plugins that pip has installed, and a place where they are used by processes."""

from __future__ import annotations

import contextlib
import gzip
import json
import os
import shutil
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from grove.testing.practice import TOKEN, PracticeAPI

SOURCE = Path(__file__).parent / "acme"
LONG_AGO = "2001-01-01T00:00:00.000000Z"
PATIENCE = 60.0
PROGRAMS = {"grove": "from grove.cli import main; main()", "groved": "from grove.cli.daemon import main; main()"}


def pip_install(source: Path, target: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """Install a package as one does without a network, into a directory of its own."""
    offline = ["--no-index", "--no-build-isolation", "--disable-pip-version-check", "--no-cache-dir", "--quiet"]
    command = [sys.executable, "-m", "pip", "install", *offline, *options, "--target", str(target), str(source)]
    return subprocess.run(command, capture_output=True, text=True)


@pytest.fixture(scope="session")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the package's source, to be built in."""
    copy = tmp_path_factory.mktemp("acme") / "source"
    shutil.copytree(SOURCE, copy, ignore=shutil.ignore_patterns("__pycache__"))
    return copy


@pytest.fixture(scope="session")
def installed(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory that pip has installed the package into, past its pin."""
    target = tmp_path_factory.mktemp("installed")
    done = pip_install(source, target, "--no-deps")
    assert done.returncode == 0, done.stderr
    return target


class Site:
    """A host on which every part but Grove itself is Acme's: documents, secrets, state and output."""

    def __init__(self, root: Path, installed: Path) -> None:
        self.root = root
        self.spool = root / "spool"
        self.spool.mkdir()
        self.lines = root / "lines"
        self.state = root / "state.sqlite"
        (root / "keyring").write_text(f"door-token={TOKEN}\nother=x\n")
        self.environment = {
            **os.environ,
            "PYTHONPATH": str(installed),
            "GROVE_CONFIG_HANDLER": "acme_inventory",
            "ACME_INVENTORY": str(root / "inventory.json"),
            "GROVE_SECRET_HANDLER": "acme_keyring",
            "ACME_KEYRING": str(root / "keyring"),
            "GROVE_CACHE_HANDLER": "acme_sqlite",
            "ACME_STATE": str(self.state),
            "GROVE_OUTPUT_HANDLER": "acme_spool",
            "ACME_SPOOL": str(self.spool),
            "GROVE_OUTPUT_ACME_LINES_PATH": str(self.lines),
        }
        self._processes: list[subprocess.Popen[str]] = []

    def documents(self, *documents: dict[str, Any]) -> None:
        (self.root / "inventory.json").write_text(json.dumps(documents))

    def document(self, api: PracticeAPI, connector: str, **fields: Any) -> dict[str, Any]:
        """One that collects `api`, with its token in the keyring."""
        return {
            "name": connector,
            "connector": connector,
            "identity": "acme",
            "url": api.url,
            "secrets": {"key": "door-token"},
            "frequency": 1,
            **fields,
        }

    def start(self, program: str = "grove", *arguments: str) -> subprocess.Popen[str]:
        """Start `grove` or `groved`. Its logs go to the file `log`."""
        with (self.root / "log").open("a") as log:
            process = subprocess.Popen(
                [sys.executable, "-c", PROGRAMS[program], *arguments],
                env=self.environment,
                cwd=self.root,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        self._processes.append(process)
        return process

    def run(self, *arguments: str) -> tuple[int, str]:
        """The exit code of `grove`, and what it has printed."""
        process = self.start("grove", *arguments)
        out, _ = process.communicate()
        return process.returncode, out

    def end(self) -> None:
        """Let no process outlive the test."""
        for process in self._processes:
            process.kill()
            process.wait()
            if process.stdout is not None:
                process.stdout.close()

    def until(self, what: Callable[[], bool], process: subprocess.Popen[str]) -> None:
        """Wait for `what`, as long as the process runs."""
        deadline = time.monotonic() + PATIENCE
        while not what():
            assert process.poll() is None and time.monotonic() < deadline, self.log()
            time.sleep(0.02)

    def log(self) -> str:
        return (self.root / "log").read_text()

    def logged(self, message: str) -> list[dict[str, Any]]:
        """The lines of the log that say that."""
        lines = [json.loads(line) for line in self.log().splitlines()]
        return [line for line in lines if line["message"] == message]

    def delivered(self) -> list[dict[str, Any]]:
        """Every entry in the spool, or among the raw lines."""
        texts = [gzip.decompress(path.read_bytes()) for path in self.spool.glob("acme_*")]
        texts += [path.read_bytes() for path in (self.lines / "logs").glob("*.json")]
        return [json.loads(line) for text in texts for line in text.splitlines() if line]

    def processed(self) -> list[dict[str, Any]]:
        """Every entry among the processed lines."""
        files = (self.lines / "masked").glob("*.json")
        return [json.loads(line) for path in files for line in path.read_bytes().splitlines()]

    # --- state ---

    def stored(self) -> dict[str, str]:
        """What the cache holds, by kind."""
        with sqlite3.connect(self.state) as connection:
            found = connection.execute("SELECT pk, data FROM state").fetchall()
        connection.close()
        return {pk.partition(".")[0]: data for pk, data in found}

    def is_locked(self) -> bool:
        """Whether somebody is changing the state."""
        with contextlib.closing(sqlite3.connect(self.state, timeout=0)) as connection:
            try:
                connection.execute("BEGIN IMMEDIATE")
            except sqlite3.OperationalError:
                return True
            connection.rollback()
        return False

    def let_time_pass(self) -> None:
        """What some minutes do: leases that nobody renews run out, and every stream is due."""
        with sqlite3.connect(self.state) as connection:
            connection.execute("UPDATE state SET data = ? WHERE pk LIKE 'execution_lock.%'", (LONG_AGO,))
            connection.execute("DELETE FROM state WHERE pk LIKE 'last_run.%'")
        connection.close()


@pytest.fixture
def site(tmp_path: Path, installed: Path) -> Iterator[Site]:
    made = Site(tmp_path, installed)
    yield made
    made.end()


@pytest.fixture
def api() -> Iterator[PracticeAPI]:
    """Acme's API: 100 events of the last hour in pages of 10, oldest first unless a test says else."""
    with PracticeAPI(100, page_size=10, beginning=time.time() - 3600) as served:
        yield served
