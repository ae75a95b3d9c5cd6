"""A shell for the command line's tests: a place with documents, output and state, and `grove` in it as a process.

Commands run in a pipe, or in a terminal of their own (a pty), as they would under somebody's hands.
"""

from __future__ import annotations

import contextlib
import json
import os
import pty
import re
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from grove.models import ConnectorConfig
from grove.testing.practice import PracticeAPI, read_delivered
from grove.testing.practice_documents import http_json
from tests.waiting import readable

GROVE = [sys.executable, "-P", "-W", "error", "-c", "from grove.cli import main; main()"]

_LIMIT = 60.0
_CONTROL = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")


@dataclass(frozen=True)
class Done:
    """What a process that has ended left behind. In a terminal, `out` has everything, colours and all."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)

    @property
    def plain(self) -> str:
        """What was shown in the terminal, without colours, and without the lines of progress that were written over."""
        lines = self.out.replace("\r\n", "\n").split("\n")
        return "\n".join(_CONTROL.sub("", line.rpartition("\r")[2]) for line in lines)


class Shell:
    """A directory with `conf`, `out` and `state`, and the environment in which commands are run."""

    def __init__(self, root: Path) -> None:
        self.root = root
        for name in ("conf", "out"):
            (root / name).mkdir()
        self.environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(root),
            "TERM": "xterm",
            "PYTHONPATH": os.environ.get("PYTHONPATH", ""),
            "GROVE_CONFIG_LOCAL_FILE_PATH": str(root / "conf"),
            "GROVE_CACHE_LOCAL_LMDB_PATH": str(root / "state"),
            "GROVE_OUTPUT_HANDLER": "local_file",
            "GROVE_OUTPUT_LOCAL_FILE_PATH": str(root / "out"),
        }

    # --- what is there ---

    def document(self, name: str, **fields: Any) -> None:
        """Write a document; a heartbeat where `fields` do not say otherwise."""
        document = {"name": name, "identity": name, "connector": "local_heartbeat", "count": 1, "interval": 0, **fields}
        (self.root / "conf" / f"{name}.json").write_text(json.dumps(document))

    def collects(self, api: PracticeAPI, name: str = "practice", **fields: Any) -> None:
        """Write the document that collects a practice API."""
        document = http_json(api, **{"name": name, "identity": name, **fields})
        (self.root / "conf" / f"{name}.json").write_text(json.dumps(document))

    def config(self, name: str) -> ConnectorConfig:
        """The document as it is read."""
        return ConnectorConfig(**json.loads((self.root / "conf" / f"{name}.json").read_text()))

    def plugin(self, name: str, code: str, group: str = "connectors") -> None:
        """Install a plugin of the `group`: the class `Connector` of a module with this `code`."""
        folder = self.root / "plugins"
        info = folder / f"{name}-1.0.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(f"[grove.{group}]\n{name} = {name}:Connector\n")
        (folder / f"{name}.py").write_text(code)
        path = self.environment["PYTHONPATH"]
        self.environment["PYTHONPATH"] = os.pathsep.join(filter(None, [str(folder), path]))

    @property
    def delivered(self) -> list[dict[str, Any]]:
        return read_delivered(self.root / "out")

    # --- commands ---

    def start(self, *arguments: str, **environment: str) -> subprocess.Popen[str]:
        """Start `grove`, and do not wait for it."""
        return subprocess.Popen(
            [*GROVE, *arguments],
            env={**self.environment, **environment},
            cwd=self.root,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *arguments: str, **environment: str) -> Done:
        """Run `grove` in a pipe."""
        with self.start(*arguments, **environment) as process:
            try:
                out, err = process.communicate(timeout=_LIMIT)
            except BaseException:
                process.kill()
                raise
        return Done(process.returncode, out, err)

    def terminal(self, *arguments: str, typed: str = "", **environment: str) -> Done:
        """Run `grove` in a terminal of its own, 120 columns wide, in which these lines are `typed`."""
        return run_in_terminal([*GROVE, *arguments], {**self.environment, **environment}, self.root, typed)


def run_in_terminal(command: list[str], environment: dict[str, str], folder: Path, typed: str = "") -> Done:
    """Run `command` with a terminal as its stdin, stdout and stderr, in which these lines are `typed`."""
    pid, fd = pty.fork()
    if pid == 0:
        os.chdir(folder)
        os.execvpe(command[0], command, {**environment, "COLUMNS": "120"})
    os.write(fd, typed.encode())
    deadline, data = time.monotonic() + _LIMIT, b""
    try:
        while True:
            if not readable([fd], max(0.0, deadline - time.monotonic())):
                os.kill(pid, signal.SIGKILL)
                raise AssertionError(f"it does not end: {data.decode(errors='replace')}")
            # At the end of a terminal there is an error rather than nothing.
            with contextlib.suppress(OSError):
                if piece := os.read(fd, 65536):
                    data += piece
                    continue
            break
    finally:
        os.close(fd)
        _, status = os.waitpid(pid, 0)
    return Done(os.waitstatus_to_exitcode(status), data.decode(), "")
