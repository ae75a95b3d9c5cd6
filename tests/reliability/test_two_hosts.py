"""Two hosts on one cache, each with its own output directory: processes that are killed, paused, or cut off.

Their staged files are out of each other's reach, so a page is published before it is committed: nothing is lost, and
at most one page is there twice for each process that was killed or lost its lease.
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from grove.testing.practice import PracticeAPI
from tests.reliability.hosts import AWS, HOSTS, ORDERS, PAGE, Hosts
from tests.servers import Server, make_redis_server, running
from tests.tables import table
from tests.tcp_proxy import RESET_AFTER, RESET_BEFORE, Proxy

PATIENCE = 120.0
"""Seconds that a test waits for what is certain to come."""


@pytest.fixture(scope="module", params=["redis", "aws_dynamodb"])
def backend(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Server]]:
    """The name of a cache that hosts can share, and the server that it is kept in."""
    if request.param == "aws_dynamodb":
        yield request.param, request.getfixturevalue("moto")
        return
    with running(make_redis_server(tmp_path_factory.mktemp("redis"))) as server:
        yield request.param, server


@pytest.fixture
def hosts(
    backend: tuple[str, Server], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[..., Hosts]]:
    """Makes the two hosts: `hosts(order, ...)` with a source each, `links=` the ports by which they reach the cache."""
    name, server = backend
    for variable, value in AWS.items():
        monkeypatch.setenv(variable, value)
    with contextlib.ExitStack() as stack:
        if name == "aws_dynamodb":
            stack.enter_context(table(server.port, tmp_path.name))

        def make(*orders: str, links: tuple[int, ...] = ()) -> Hosts:
            apis = {order: stack.enter_context(PracticeAPI(150, order=order, page_size=PAGE)) for order in orders}
            made = Hosts(tmp_path, name, server.port, apis, links)
            stack.callback(made.end)
            return made

        yield make


def _seeded() -> random.Random:
    seed = os.environ.get("GROVE_TEST_SEED") or str(random.SystemRandom().getrandbits(32))
    print(f"GROVE_TEST_SEED={seed}")
    return random.Random(seed)


# --- `grove`, again and again ---


def _kill_some(hosts: Hosts, kills: int) -> None:
    """Both collect at once, and are killed at a random request and a random moment after it, again and again."""
    draw, killed, (api,) = _seeded(), 0, hosts.apis.values()
    while killed < kills:
        api.heal()
        kill = threading.Timer(draw.uniform(0.0, 0.03), hosts.signal, (signal.SIGKILL,))
        api.before(draw.randint(1, 8), kill.start)
        ended = [process.wait() for process in [hosts.start(host) for host in HOSTS]]
        if kill.ident is not None:
            kill.join()
        killed += -signal.SIGKILL in ended
        hosts.let_the_lease_run_out()
        api.offer(2 * PAGE)
    api.heal()
    hosts.collect_the_rest()
    report = hosts.report()
    assert report.lost == report.foreign == []
    assert len(report.twice) <= killed * PAGE, report


@pytest.mark.parametrize("order", ORDERS)
def test_killed(hosts: Callable[..., Hosts], order: str) -> None:
    _kill_some(hosts(order), 3)


@pytest.mark.long
@pytest.mark.parametrize("order", ORDERS)
def test_killed_often(hosts: Callable[..., Hosts], order: str) -> None:
    _kill_some(hosts(order), 200)


@pytest.mark.parametrize("order", ORDERS)
def test_paused_while_the_other_goes_on(hosts: Callable[..., Hosts], order: str) -> None:
    both = hosts(order)
    paused = both.start("one")
    stopped = threading.Event()

    def stop() -> None:
        both.signal(signal.SIGSTOP)
        stopped.set()

    both.apis[order].before(6, stop)
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
        both = hosts("oldest_first", links=(link.port, link.port))
        link.fail(RESET_BEFORE, times=10**9)
        assert both.start("one").wait() == 1, both.log()
        assert both.report().delivered == 0
        link.fail("", times=0)
        # In the middle of a run.
        both.apis["oldest_first"].before(4, lambda: link.fail(RESET_BEFORE, times=10**9))
        assert both.start("one").wait() == 1, both.log()
        assert 0 < both.report().delivered < 150
        link.fail("", times=0)
        both.collect_the_rest()
        report = both.report()
        assert report.lost == report.foreign == []
        assert len(report.twice) <= PAGE, report


# --- `groved` on both, for as long as one likes ---


class Daemons:
    """A `groved` on each host, and what may happen to it at any moment."""

    def __init__(self, hosts: Hosts, links: dict[str, Proxy], draw: random.Random) -> None:
        self.hosts = hosts
        self.interrupted = 0
        self._links = links
        self._draw = draw
        self._running = {host: hosts.start(host, "groved") for host in HOSTS}

    def interrupt(self) -> None:
        """Wait for a random request of either, let something happen to one of them, and undo it after a while.

        Meanwhile entries arrive.
        """
        api = self.hosts.apis[self._draw.choice(list(self.hosts.apis))]
        asked = threading.Event()
        api.before(self._draw.randint(1, 6), asked.set)
        api.offer(2 * PAGE)
        assert asked.wait(PATIENCE), self.hosts.log()
        self._pass_time(0.03)
        host = self._draw.choice(HOSTS)
        what = self._draw.choice((self._killed, self._paused, self._cut_off))
        with what(host):
            self.interrupted += 1
            for each in self.hosts.apis.values():
                each.offer(PAGE)
            # Longer than a lease, or not.
            self._pass_time(4.0)

    def _pass_time(self, most: float) -> None:
        threading.Event().wait(self._draw.uniform(0.0, most))

    @contextlib.contextmanager
    def _killed(self, host: str) -> Iterator[None]:
        self._running[host].kill()
        self._running[host].wait()
        yield
        self._running[host] = self.hosts.start(host, "groved")

    @contextlib.contextmanager
    def _paused(self, host: str) -> Iterator[None]:
        self._running[host].send_signal(signal.SIGSTOP)
        yield
        self._running[host].send_signal(signal.SIGCONT)

    @contextlib.contextmanager
    def _cut_off(self, host: str) -> Iterator[None]:
        self._links[host].fail(self._draw.choice((RESET_BEFORE, RESET_AFTER)), times=10**9)
        yield
        self._links[host].fail("", times=0)

    def stop(self) -> None:
        """Ask both to end once they have collected everything."""
        limit = threading.Event()
        timer = threading.Timer(PATIENCE, limit.set)
        timer.start()
        try:
            while not self.hosts.is_complete():
                assert not limit.wait(0.2), f"{self.hosts.reports()}\n{self.hosts.log()}"
        finally:
            timer.cancel()
        self.hosts.signal(signal.SIGTERM)
        codes = [process.wait() for process in self._running.values()]
        # One that was started a moment ago may not listen yet.
        assert {*codes} <= {0, -signal.SIGTERM}, self.hosts.log()


@pytest.mark.parametrize("times", [3, pytest.param(100, marks=pytest.mark.long)])
def test_daemons_that_are_killed_paused_and_cut_off(
    hosts: Callable[..., Hosts], backend: tuple[str, Server], times: int
) -> None:
    with Proxy(backend[1].port) as one, Proxy(backend[1].port) as two:
        both = hosts(*ORDERS, links=(one.port, two.port))
        daemons = Daemons(both, dict(zip(HOSTS, (one, two), strict=True)), _seeded())
        for _ in range(times):
            daemons.interrupt()
        daemons.stop()
    for order, report in zip(ORDERS, both.reports(), strict=True):
        assert report.lost == report.foreign == [], order
        # Whoever was killed, or has failed on the way, held at most one page.
        assert len(report.twice) <= (daemons.interrupted + both.failures()) * PAGE, report
    for commits in both.commits().values():
        assert _have_one_holder_at_a_time(commits)
    assert list(both.cache.scan("execution_lock.")) == []


def _have_one_holder_at_a_time(commits: list[tuple[int, int, str]]) -> bool:
    """Whether no two commits have one sequence, epochs never go back, and each belongs to one host."""
    sequences = [sequence for sequence, _, _ in commits]
    epochs = [epoch for _, epoch, _ in commits]
    holders = {(epoch, host) for _, epoch, host in commits}
    return len(set(sequences)) == len(commits) and epochs == sorted(epochs) and len(holders) == len(set(epochs))


@pytest.mark.parametrize(
    ("commits", "right"),
    [
        ([(1, 1, "one"), (2, 1, "one"), (4, 3, "two")], True),
        ([(1, 1, "one"), (1, 2, "two")], False),
        ([(1, 2, "one"), (2, 1, "two")], False),
        ([(1, 1, "one"), (2, 1, "two")], False),
    ],
)
def test_two_holders_would_be_seen(commits: list[tuple[int, int, str]], right: bool) -> None:
    assert _have_one_holder_at_a_time(commits) is right
