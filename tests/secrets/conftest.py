"""Servers of scripted answers, and none of what a process keeps about hosts, clients and secrets."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

pytest.register_assert_rewrite("grove.testing.secret_contract")

from grove.http import client  # noqa: E402
from grove.http._breaker import Breaker  # noqa: E402
from grove.logging import forget_secrets  # noqa: E402
from tests.http.server import Answer, Server  # noqa: E402

Serve = Callable[[Answer], Server]


@pytest.fixture(autouse=True)
def _nothing_remembered(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.setattr(client, "_breaker", Breaker())
    yield
    forget_secrets()


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Starts a server that answers with what one function makes of each request."""
    servers: list[Server] = []

    def start(answer: Answer, **options: Any) -> Server:
        servers.append(Server(answer, **options))
        return servers[-1]

    yield start
    for server in servers:
        server.close()
