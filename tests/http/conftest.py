"""Servers, a clock that only waiting moves, and none of the state that a process keeps about hosts and secrets."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from grove.helpers import clock
from grove.http import _tokens, client
from grove.http._breaker import Breaker
from grove.logging import forget_secrets
from tests.http.server import Answer, Sent, Server, script

PROXY_VARIABLES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy")

START = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)


@pytest.fixture(autouse=True)
def _nothing_remembered(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in (*PROXY_VARIABLES, "requests_ca_bundle", "curl_ca_bundle"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.setattr(client, "_breaker", Breaker())
    _tokens._slots.clear()
    forget_secrets()
    yield
    forget_secrets()


Serve = Callable[..., Server]


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Starts a server that sends the given answers in turn, or what one function makes of each request."""
    servers: list[Server] = []

    def start(*answers: Sent | Answer, **options: Any) -> Server:
        answer = answers[0] if callable(answers[0]) else script(*answers)  # type: ignore[arg-type]
        servers.append(Server(answer, **options))
        return servers[-1]

    yield start
    for server in servers:
        server.close()


class Clock:
    """Stands still but for the waits, which it keeps; `stop` is what a client is to be given."""

    def __init__(self) -> None:
        self.elapsed = 0.0
        self.waits: list[float] = []
        self.stop = _Stop(self)

    def now(self) -> datetime:
        return START + timedelta(seconds=self.elapsed)

    def monotonic(self) -> float:
        return 1_000.0 + self.elapsed


class _Stop(threading.Event):
    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self._clock = clock

    def wait(self, timeout: float | None = None) -> bool:
        if timeout is not None and not self.is_set():
            self._clock.waits.append(timeout)
            self._clock.elapsed += timeout
        return self.is_set()


@pytest.fixture
def still(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Grove's two clocks, in the test's hands."""
    fake = Clock()
    monkeypatch.setattr(clock, "now", fake.now)
    monkeypatch.setattr(clock, "monotonic", fake.monotonic)
    return fake
