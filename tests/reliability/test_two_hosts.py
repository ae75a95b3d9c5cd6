"""Two hosts on one cache, each with its own output directory: processes that are killed, paused, or cut off.

Their staged files are out of each other's reach, so a page is published before it is committed: nothing is lost, and
at most one page is there twice for each process that was killed or lost its lease.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import boto3
import pytest

from grove.caches import BaseCache
from grove.constants import PLUGIN_GROUP_CACHE
from grove.helpers import plugin
from grove.testing.practice import TOKEN, PracticeAPI, Report, read_delivered
from tests.servers import Server, make_aws_server, make_redis_server, running
from tests.tcp_proxy import RESET_BEFORE, Proxy

HOSTS = ("one", "two")
PAGE = 10
LONG_AGO = "2001-01-01T00:00:00.000000Z"
CONNECTORS = {"oldest_first": "PracticeConnector", "newest_first": "NewestFirstConnector"}
# Nobody waits for a service that the test has cut off.
GROVE = "from grove.helpers import aws; aws.ATTEMPTS = 1; from grove.cli import main; main()"
AWS = {
    "AWS_ACCESS_KEY_ID": "AKIAEXAMPLE",
    "AWS_SECRET_ACCESS_KEY": "no-secret",
    "AWS_REGION": "eu-central-1",
    "AWS_EC2_METADATA_DISABLED": "true",
}


@pytest.fixture(scope="module", params=["redis", "aws_dynamodb"])
def backend(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Server]]:
    """The name of a cache that hosts can share, and the server that it is kept in."""
    make = {"redis": make_redis_server, "aws_dynamodb": make_aws_server}[request.param]
    with running(make(tmp_path_factory.mktemp(request.param))) as server:
        yield request.param, server


class Hosts:
    """Two hosts that collect one stream into a directory each, by way of a cache that they share."""

    def __init__(self, root: Path, name: str, port: int, api: PracticeAPI, order: str) -> None:
        self.api = api
        self._root = root
        self._processes: list[subprocess.Popen[bytes]] = []
        self._environment = {**os.environ, **_settings(name, port, root.name), **_plugin(root, order)}
        document = {"name": "stream", "connector": "practice", "identity": "both", "frequency": 1}
        documents = root / "documents"
        documents.mkdir()
        (documents / "stream.json").write_text(json.dumps({**document, "url": api.url, "key": TOKEN}))
        self._environment |= {"GROVE_CONFIG_LOCAL_FILE_PATH": str(documents), "GROVE_OUTPUT_HANDLER": "local_file"}
        for host in HOSTS:
            (root / host).mkdir()
        with pytest.MonkeyPatch.context() as patch:
            for variable, value in self._environment.items():
                patch.setenv(variable, value)
            self.cache: BaseCache = plugin.load_handler(name, PLUGIN_GROUP_CACHE)

    def start(self, host: str) -> subprocess.Popen[bytes]:
        """Run `grove` on `host`, once."""
        with (self._root / f"{host}.log").open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-c", GROVE],
                env={**self._environment, "GROVE_OUTPUT_LOCAL_FILE_PATH": str(self._root / host)},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=log,
            )
        self._processes.append(process)
        return process

    def signal(self, number: int) -> None:
        """Send a signal to every `grove` that runs."""
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
            if not self.report().lost:
                return
        raise AssertionError(f"{self.report()}\n{self.log()}")

    def report(self) -> Report:
        """What both hosts have delivered, beside what was offered. An error where a file is not whole."""
        return self.api.compare(entry for host in HOSTS for entry in read_delivered(self._root / host))

    def log(self) -> str:
        """The last words of both."""
        return "".join((self._root / f"{host}.log").read_text()[-3000:] for host in HOSTS)


@pytest.fixture
def hosts(
    backend: tuple[str, Server], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[..., Hosts]]:
    """Makes the two hosts: `hosts(order)`, or `hosts(order, port)` for a cache at another port."""
    name, server = backend
    for variable, value in AWS.items():
        monkeypatch.setenv(variable, value)
    with contextlib.ExitStack() as stack:

        def make(order: str, port: int = 0) -> Hosts:
            api = stack.enter_context(PracticeAPI(150, order=order, page_size=PAGE))
            made = Hosts(tmp_path, name, port or server.port, api, order)
            stack.callback(made.end)
            if name == "aws_dynamodb":
                _make_table(server.port, tmp_path.name)
            return made

        yield make


def _kill_some(hosts: Hosts, kills: int) -> None:
    """Both collect at once, and are killed at a random request and a random moment after it, again and again."""
    seed = os.environ.get("GROVE_TEST_SEED") or str(random.SystemRandom().getrandbits(32))
    print(f"GROVE_TEST_SEED={seed}")
    draw, killed = random.Random(seed), 0
    while killed < kills:
        hosts.api.heal()
        kill = threading.Timer(draw.uniform(0.0, 0.03), hosts.signal, (signal.SIGKILL,))
        hosts.api.before(draw.randint(1, 8), kill.start)
        ended = [process.wait() for process in [hosts.start(host) for host in HOSTS]]
        if kill.ident is not None:
            kill.join()
        killed += -signal.SIGKILL in ended
        hosts.let_the_lease_run_out()
        hosts.api.offer(2 * PAGE)
    hosts.api.heal()
    hosts.collect_the_rest()
    report = hosts.report()
    assert report.lost == report.foreign == []
    assert len(report.twice) <= killed * PAGE, report


@pytest.mark.parametrize("order", CONNECTORS)
def test_killed(hosts: Callable[..., Hosts], order: str) -> None:
    _kill_some(hosts(order), 3)


@pytest.mark.long
@pytest.mark.parametrize("order", CONNECTORS)
def test_killed_often(hosts: Callable[..., Hosts], order: str) -> None:
    _kill_some(hosts(order), 200)


@pytest.mark.parametrize("order", CONNECTORS)
def test_paused_while_the_other_goes_on(hosts: Callable[..., Hosts], order: str) -> None:
    both = hosts(order)
    paused = both.start("one")
    stopped = threading.Event()

    def stop() -> None:
        both.signal(signal.SIGSTOP)
        stopped.set()

    both.api.before(6, stop)
    assert stopped.wait(60), both.log()
    both.let_the_lease_run_out()
    assert both.start("two").wait() == 0, both.log()
    assert both.report().lost == []
    # It holds a page in its hands, and does not know that the stream is no longer its own.
    paused.send_signal(signal.SIGCONT)
    assert paused.wait() == 1
    both.collect_the_rest()
    report = both.report()
    assert report.lost == report.foreign == []
    assert len(report.twice) <= PAGE, report


def test_cut_off_from_the_cache(hosts: Callable[..., Hosts], backend: tuple[str, Server]) -> None:
    with Proxy(backend[1].port) as link:
        both = hosts("oldest_first", link.port)
        link.fail(RESET_BEFORE, times=10**9)
        assert both.start("one").wait() == 1, both.log()
        assert both.report().delivered == 0
        link.fail("", times=0)
        # In the middle of a run.
        both.api.before(4, lambda: link.fail(RESET_BEFORE, times=10**9))
        assert both.start("one").wait() == 1, both.log()
        assert 0 < both.report().delivered < 150
        link.fail("", times=0)
        both.collect_the_rest()
        report = both.report()
        assert report.lost == report.foreign == []
        assert len(report.twice) <= PAGE, report


# --- what they need ---


def _settings(name: str, port: int, own: str) -> dict[str, str]:
    """The environment of a process that keeps its state in the cache called `name`, in a part of this test's own."""
    common = {"GROVE_CACHE_HANDLER": name, "LOG_LEVEL": "INFO"}
    if name == "redis":
        return {**common, "GROVE_CACHE_REDIS_URL": f"redis://127.0.0.1:{port}", "GROVE_CACHE_REDIS_PREFIX": own}
    place = {"GROVE_CACHE_AWS_DYNAMODB_URL": f"http://127.0.0.1:{port}", "GROVE_CACHE_AWS_DYNAMODB_TABLE": own}
    return {**common, **place}


def _plugin(root: Path, order: str) -> dict[str, str]:
    """A distribution that offers the connector `practice`."""
    info = root / "plugins" / "practice-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: practice\nVersion: 1.0\n")
    entry = f"practice = grove.testing.practice_connector:{CONNECTORS[order]}"
    (info / "entry_points.txt").write_text(f"[grove.connectors]\n{entry}\n")
    return {"PYTHONPATH": str(info.parent)}


def _make_table(port: int, name: str) -> None:
    keys = {"pk": "HASH", "sk": "RANGE"}
    session = boto3.session.Session(AWS["AWS_ACCESS_KEY_ID"], AWS["AWS_SECRET_ACCESS_KEY"])
    client = session.client("dynamodb", region_name=AWS["AWS_REGION"], endpoint_url=f"http://127.0.0.1:{port}")
    client.create_table(
        TableName=name,
        KeySchema=[{"AttributeName": key, "KeyType": kind} for key, kind in keys.items()],
        AttributeDefinitions=[{"AttributeName": key, "AttributeType": "S"} for key in keys],
        BillingMode="PAY_PER_REQUEST",
    )
    client.close()
