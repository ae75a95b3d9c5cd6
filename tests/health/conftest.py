"""A status page over streams that a test makes up."""

from collections.abc import Iterator
from datetime import datetime
from typing import Any

import pytest

from grove.health.facts import Facts
from grove.health.server import Ping, StatusServer
from grove.health.snapshot import Snapshot, Totals, View
from grove.helpers import clock
from grove.models import ConnectorConfig


class Board:
    """What a daemon would show."""

    def __init__(self) -> None:
        self.views: list[View] = []
        self.waiting_for: tuple[str, ...] = ()
        self.started = clock.now()
        self.pings: list[Ping] = []
        self.answers = True
        self.taken = 0

    def add(self, name: str, facts: Facts | None = None, next_run: datetime | None = None, **fields: Any) -> None:
        config = ConnectorConfig(**{"name": name, "identity": name, "connector": "made_up", **fields})
        self.views.append(View(config, facts or Facts(), clock.now(), next_run, False, Totals()))

    def snapshot(self) -> Snapshot:
        self.taken += 1
        return Snapshot.of(
            clock.now(),
            self.views,
            started=self.started,
            waiting_for=self.waiting_for,
            workers=4,
            busy=0,
            hanging=0,
            document_problems=0,
        )

    def send(self, ping: Ping) -> None:
        self.pings.append(ping)
        if self.answers:
            ping.heard.set()


@pytest.fixture
def board() -> Board:
    return Board()


@pytest.fixture
def server(board: Board) -> Iterator[StatusServer]:
    server = StatusServer("127.0.0.1:0", board.snapshot, board.send)
    server.start()
    yield server
    server.close()
