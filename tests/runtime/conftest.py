"""A `grove` in a process of its own, with connectors that behave badly."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

PROBES = """
import sys
import threading

from grove.connectors import BaseConnector
from grove.exceptions import RequestFailedException

class Connector(BaseConnector):
    CONNECTOR = "probe"
    POINTER_PATH = "id"
    LOG_ORDER = "CHRONOLOGICAL"

    def collect(self):
        self.save([{"id": 1}])
        getattr(self, self.configuration.behaviour)()

    def good(self):
        pass

    def failing(self):
        raise RequestFailedException(f"The vendor refused {self.key}.")

    def surprised(self):
        {}[self.key]

    def exiting(self):
        sys.exit(3)

    def hanging(self):
        threading.Event().wait()

    def waiting(self):
        self.wait(3600)

class OldConnector(Connector):
    def __init__(self, config, context):
        super().__init__(config, context)
"""


class Grove:
    """Documents, an environment, and ways to run `grove` with them."""

    def __init__(self, root: Path) -> None:
        self.documents = root / "documents"
        self.documents.mkdir()
        plugins = root / "plugins"
        info = plugins / "probes-1.0.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: probes\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(
            "[grove.connectors]\nprobe = probes:Connector\nprobe_old = probes:OldConnector\n"
        )
        (plugins / "probes.py").write_text(PROBES)
        self.environment = {
            **os.environ,
            "PYTHONPATH": str(plugins),
            "GROVE_CONFIG_LOCAL_FILE_PATH": str(self.documents),
            "GROVE_CACHE_LOCAL_LMDB_PATH": str(root / "state"),
        }
        self._processes: list[subprocess.Popen[str]] = []

    def document(self, name: str, connector: str = "local_heartbeat", **fields: Any) -> None:
        text = json.dumps({"name": name, "identity": name, "connector": connector, **fields})
        (self.documents / f"{name}.json").write_text(text)

    def probe(self, name: str, behaviour: str, **fields: Any) -> None:
        self.document(name, "probe", behaviour=behaviour, **fields)

    def start(self, *arguments: str, code: str = "") -> subprocess.Popen[str]:
        """Start `grove`, after `code`, and do not wait for it."""
        process = subprocess.Popen(
            [sys.executable, "-c", f"from grove.cli import main\n{code}\nmain()", *arguments],
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            stdin=subprocess.DEVNULL,
            text=True,
        )
        self._processes.append(process)
        return process

    def run(self, *arguments: str) -> "Finished":
        """Run `grove` to its end."""
        return Finished(self.start(*arguments))

    def close(self) -> None:
        for process in self._processes:
            process.kill()
            # Shown where the test has failed.
            print(process.communicate()[1])


class Finished:
    """What a process that has ended left behind."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.stdout, self.stderr = process.communicate(timeout=60)
        self.code = process.returncode

    @property
    def entries(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.stdout.splitlines()]

    @property
    def logs(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.stderr.splitlines()]

    def log(self, message: str) -> dict[str, Any]:
        """The one log line with this message."""
        (found,) = (line for line in self.logs if line["message"] == message)
        return found


@pytest.fixture
def grove(tmp_path: Path) -> Iterator[Grove]:
    grove = Grove(tmp_path)
    yield grove
    grove.close()
