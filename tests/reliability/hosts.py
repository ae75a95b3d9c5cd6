"""Two hosts on one cache: processes with disks of their own, and links to the cache that can be cut one by one."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from grove.caches import BaseCache
from grove.constants import PLUGIN_GROUP_CACHE, PLUGIN_GROUP_CONNECTOR
from grove.helpers import plugin
from grove.testing.practice import TOKEN, PracticeAPI, Report, read_delivered
from tests.distributions import offer
from tests.tables import CREDENTIALS, REGION

__all__ = ["AWS", "HOSTS", "ORDERS", "PAGE", "Hosts"]

HOSTS = ("one", "two")
PAGE = 10
LONG_AGO = "2001-01-01T00:00:00.000000Z"
AWS = {**CREDENTIALS, "AWS_REGION": REGION}

# Nobody waits for a service that the test has cut off, and the clocks of two hosts that are one do not differ much.
BEFORE = "from grove import lease; from grove.helpers import aws; aws.ATTEMPTS = 1; lease.CLOCK_MARGIN = 1.0"
PROGRAMS = {"grove": "from grove.cli import main; main()", "groved": "from grove.cli.daemon import main; main()"}

# Connectors that write down each commit of theirs: stream, epoch, sequence, host.
WITNESSES = """
import os
from grove.testing.practice_connector import NewestFirstConnector, PracticeConnector

class Witness:
    def save(self, *args, **kwargs):
        state = self._run.lease.state
        before = state.sequence
        super().save(*args, **kwargs)
        if state.sequence == before:
            return
        with open(os.environ["WITNESSES"], "a") as file:
            file.write(f"{self.name} {state.epoch} {state.sequence} {os.environ['HOST']}\\n")

class OldestFirst(Witness, PracticeConnector):
    pass

class NewestFirst(Witness, NewestFirstConnector):
    pass
"""
ORDERS = ("oldest_first", "newest_first")
PLUGINS = {"oldest_first": "witnesses:OldestFirst", "newest_first": "witnesses:NewestFirst"}


class Hosts:
    """Two hosts that collect `apis` (by their order), each into a directory of its own, by way of one cache.

    `name` is the cache's, `server` its port, and `links` the ports by which the hosts reach it. `root` is an empty
    directory, whose name no other test has, and that of a table in DynamoDB.
    """

    def __init__(
        self, root: Path, name: str, server: int, apis: dict[str, PracticeAPI], links: Sequence[int] = ()
    ) -> None:
        self.apis = apis
        self._root = root
        self._processes: list[subprocess.Popen[bytes]] = []
        offer(root / "plugins", PLUGIN_GROUP_CONNECTOR, PLUGINS)
        (root / "plugins" / "witnesses.py").write_text(WITNESSES)
        documents = root / "documents"
        documents.mkdir()
        for order, api in apis.items():
            document = {"name": order, "connector": order, "identity": order, "frequency": 1}
            (documents / f"{order}.json").write_text(json.dumps({**document, "url": api.url, "key": TOKEN}))
        self._environment = {
            **os.environ,
            "PYTHONPATH": str(root / "plugins"),
            "WITNESSES": str(root / "witnesses"),
            "GROVE_CONFIG_LOCAL_FILE_PATH": str(documents),
            "GROVE_OUTPUT_HANDLER": "local_file",
            "GROVE_LOCK_DURATION": "2",
            "LOG_LEVEL": "INFO",
        }
        self._links = {
            host: cache_settings(name, port, root.name)
            for host, port in zip(HOSTS, links or (server, server), strict=True)
        }
        for host in HOSTS:
            (root / host).mkdir()
        with pytest.MonkeyPatch.context() as patch:
            for variable, value in cache_settings(name, server, root.name).items():
                patch.setenv(variable, value)
            self.cache: BaseCache = plugin.load_handler(name, PLUGIN_GROUP_CACHE)

    # --- processes ---

    def start(self, host: str, program: str = "grove") -> subprocess.Popen[bytes]:
        """Run `grove` or `groved` on `host`."""
        own = {"HOST": host, "GROVE_OUTPUT_LOCAL_FILE_PATH": str(self._root / host), **self._links[host]}
        with (self._root / f"{host}.log").open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-c", f"{BEFORE}; {PROGRAMS[program]}"],
                env={**self._environment, **own},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=log,
            )
        self._processes.append(process)
        return process

    def signal(self, number: int) -> None:
        """Send a signal to every process that runs."""
        for process in self._processes:
            if process.poll() is None:
                process.send_signal(number)

    def end(self) -> None:
        """Let no process outlive the test."""
        self.signal(signal.SIGKILL)
        for process in self._processes:
            process.wait()

    def let_the_lease_run_out(self) -> None:
        """What some minutes without a renewal do."""
        for key, _ in list(self.cache.scan("execution_lock.")):
            self.cache.set(*key, LONG_AGO)

    def collect_the_rest(self) -> None:
        """Run `grove` until everything has been collected."""
        for _ in range(20):
            self.let_the_lease_run_out()
            assert self.start("one").wait() == 0, self.log()
            if self.is_complete():
                return
        raise AssertionError(f"{self.reports()}\n{self.log()}")

    # --- what they have done ---

    def reports(self) -> list[Report]:
        """What both hosts have delivered of each stream, beside what was offered. An error where a file is damaged."""
        return [
            api.compare(
                entry for host in HOSTS for entry in read_delivered(self._root / host / "logs" / "practice" / order)
            )
            for order, api in self.apis.items()
        ]

    def report(self) -> Report:
        """The same, where there is one stream."""
        (found,) = self.reports()
        return found

    def is_complete(self) -> bool:
        """Whether nothing is missing yet."""
        return not any(report.lost for report in self.reports())

    def commits(self) -> dict[str, list[tuple[int, int, str]]]:
        """Of each stream what its connectors have committed: sequence, epoch, host; in the order of the sequence."""
        found: dict[str, list[tuple[int, int, str]]] = {order: [] for order in self.apis}
        for line in (self._root / "witnesses").read_text().splitlines():
            stream, epoch, sequence, host = line.split()
            found[stream].append((int(sequence), int(epoch), host))
        return {stream: sorted(commits) for stream, commits in found.items()}

    def failures(self) -> int:
        """How many runs their logs call failed."""
        logs = "".join((self._root / f"{host}.log").read_text() for host in HOSTS)
        return logs.count('"outcome":"failed"')

    def log(self) -> str:
        """The last words of both."""
        return "".join((self._root / f"{host}.log").read_text()[-3000:] for host in HOSTS)


def cache_settings(name: str, port: int, own: str) -> dict[str, str]:
    """The environment of a process that keeps its state in the cache called `name`, in a part of this test's own."""
    common = {"GROVE_CACHE_HANDLER": name}
    if name == "redis":
        address = {"GROVE_CACHE_REDIS_URL": f"redis://127.0.0.1:{port}", "GROVE_CACHE_REDIS_TIMEOUT": "1"}
        return {**common, **address, "GROVE_CACHE_REDIS_PREFIX": own}
    place = {"GROVE_CACHE_AWS_DYNAMODB_URL": f"http://127.0.0.1:{port}", "GROVE_CACHE_AWS_DYNAMODB_TABLE": own}
    return {**common, **AWS, **place}
