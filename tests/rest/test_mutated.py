"""R11, pages that no one wrote: a run ends as it should, nothing passes what is not there, and the next run goes on."""

from __future__ import annotations

import json
import random
import shutil
import threading
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from grove.caches.local_memory import Handler as MemoryCache
from grove.connectors.http_json import Connector
from grove.exceptions import GroveException, NotFoundException
from grove.helpers import clock
from grove.http import client
from grove.http._breaker import Breaker
from grove.models import ConnectorConfig
from tests.http.server import Received, Sent, Server, reply
from tests.http.test_mutated import mutated

from .conftest import CONTEXT, Streams

ENTRIES = [{"id": number, "at": f"2026-11-20T00:00:{number:02d}Z", "who": "ada"} for number in range(9)]
SIZE = 3
# How a run ends over where a page leads, rather than over the page.
TAKEN = ("cursor_loop", "is no text")
BEGINNING = "2026-11-17T12:00:00Z"


class Impatient(threading.Event):
    """Waits for nothing."""

    def wait(self, timeout: float | None = None) -> bool:
        return self.is_set()


class Source:
    """Three pages, one of which, `broken`, comes mutated until `healthy`."""

    def __init__(self, newest_first: bool, draw: random.Random) -> None:
        self.entries = ENTRIES[::-1] if newest_first else ENTRIES
        self.draw = draw
        self.broken = draw.randrange(3)
        self.healthy = self.accepted = False
        self.sent = b""
        self._asked = ""
        self._server = Server(self._answer)
        self.url = self._server.url

    def _answer(self, request: Received) -> Sent:
        query = {name: values[0] for name, values in parse_qs(urlsplit(request.target).query).items()}
        cursor = query.get("cursor", "0")
        place = int(cursor) if cursor in ("0", "1", "2") else 3
        # Nobody would ask for anything else if this one had been refused.
        self.accepted |= bool(self.sent) and request.target != self._asked
        entries = [entry for entry in self.entries if entry["at"] >= query["since"]]
        following = str(place + 1) if (place + 1) * SIZE < len(entries) else None
        page = {"list": entries[place * SIZE : (place + 1) * SIZE], "cursor": following}
        answer = reply(
            json.dumps(page, separators=(",", ":")).encode(), framing=self.draw.choice(["length", "chunked"])
        )
        if self.healthy or place != self.broken:
            return answer
        self.sent, self._asked = mutated(answer.data, self.draw), request.target
        return Sent(self.sent, "close")

    def close(self) -> None:
        self._server.close()


def run(streams: Streams, source: Source, newest_first: bool, gather: int) -> Any:
    document = {
        "name": "mutated",
        "identity": "corp",
        "connector": "http_json",
        "outputs": {"logs": "raw"},
        "url": f"{source.url}/logs",
        "params": {"since": "{since}"},
        "time_format": "iso",
        "entries": "list",
        "paging": {"type": "token", "path": "cursor", "param": "cursor"},
        "pointer_path": "at",
        "order": "newest_first" if newest_first else "oldest_first",
        "gather": gather,
    }
    connector = Connector(ConnectorConfig(**document), CONTEXT, cache=streams.cache, output=streams.output)
    connector.stopping = Impatient()
    connector.run()
    return connector


def empty(streams: Streams) -> None:
    """A stream that nothing is known of."""
    assert isinstance(streams.cache, MemoryCache)
    streams.cache.reset()
    client._breaker = Breaker()
    for path in streams.path.iterdir():
        if not path.name.startswith("."):
            shutil.rmtree(path)


def position_of(connector: Any) -> str:
    try:
        return str(connector.pointer)
    except NotFoundException:
        return ""


@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize("newest_first", [False, True], ids=["oldest_first", "newest_first"])
@pytest.mark.parametrize(
    ("seed", "count"),
    [(1, 60), *(pytest.param(seed, 1_000, marks=pytest.mark.long) for seed in range(2, 12))],
)
def test_a_page_that_no_one_wrote(
    streams: Streams, monkeypatch: pytest.MonkeyPatch, newest_first: bool, seed: int, count: int
) -> None:
    monkeypatch.setattr(client, "_breaker", Breaker())
    monkeypatch.setattr(clock, "now", lambda: clock.parse_datestamp("2026-11-24T12:00:00Z"))
    failures = 0
    for number in range(count):
        empty(streams)
        # A server for each, and its own draws: what a run had in hand when it ended may still ask for something.
        draw = random.Random(f"{seed} {newest_first} {number}")
        gather = draw.choice([1, 1, 1000])
        source = Source(newest_first, draw)
        try:
            told = f"seed {seed}, number {number}, page {source.broken}: "
            first = run(streams, source, newest_first, gather)
            told += repr(source.sent)
            assert first.outcome in ("succeeded", "failed"), told
            assert isinstance(first.failure, GroveException | None), told
            # Whatever it says, the pointer is that of something which is there, or where the first run began.
            delivered = streams.delivered()
            assert position_of(first) in {str(entry.get("at")) for entry in delivered} | {"", BEGINNING}, told
            if first.outcome == "succeeded" or source.accepted or any(text in str(first.failure) for text in TAKEN):
                # It was taken for a page; what that said is what counts.
                continue
            failures += 1
            source.healthy = True
            again = run(streams, source, newest_first, gather)
            assert again.outcome == "succeeded", f"{told} {again.failure}"
            assert sorted(entry["id"] for entry in streams.delivered()) == list(range(9)), told
        finally:
            source.close()
    assert 0 < failures < count
