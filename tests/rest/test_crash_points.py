"""A REST connector dies, or its disk or cache fails, at every side effect of a run; its small pages are saved together.

The harness is that of the engine's own crash points; the pages come over HTTP, each fetched while an earlier one is
saved.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from grove.connectors.rest import CHRONOLOGICAL, DAY, REVERSE_CHRONOLOGICAL, RestConnector, Source, gathering
from grove.exceptions import RequestFailedException
from grove.http import client
from tests.http.server import Received, Sent, Server, reply
from tests.reliability.conftest import shm as shm
from tests.reliability.points import History, every_point
from tests.reliability.truth import CONTEXT
from tests.reliability.truth import Source as Offered
from tests.reliability.world import Setting, Tally, World

GATHER = 5
"""Entries that are saved together, of pages of two or three."""


class Api:
    """Serves what a world's source has: by token, from a moment on, as it was when the first page was asked for."""

    def __init__(self) -> None:
        self.source = Offered()
        self.newest_first = False
        self._everything: list[dict[str, Any]] = []
        self._server = Server(self._answer)
        self.url = self._server.url

    def _answer(self, request: Received) -> Sent:
        query = {name: values[0] for name, values in parse_qs(urlsplit(request.target).query).items()}
        offset = int(query.get("cursor", "0"))
        source = self.source
        try:
            source.before_page(offset // source.page_size)
        except RequestFailedException:
            return reply(b"{}", 400)
        if offset == 0 or source.live:
            self._everything = source.query(query["since"], self.newest_first)
        page = self._everything[offset : offset + source.page_size]
        following = offset + len(page)
        more = page and following < len(self._everything)
        return reply(json.dumps({"list": page, "cursor": str(following) if more else None}).encode())

    def close(self) -> None:
        self._server.close()


API: list[Api] = []


class Oldest(RestConnector):
    CONNECTOR = "made_up"
    POINTER_PATH = "at"
    LOG_ORDER = CHRONOLOGICAL

    def source(self) -> Source:
        return Source.model_validate(
            {
                "url": f"{API[0].url}/logs",
                "params": {"since": "{since}"},
                "entries": "list",
                "paging": {"type": "token", "path": "cursor", "param": "cursor"},
                "time_format": "epoch" if API[0].source.kind == "integer" else "iso",
                "first_run": 400 * DAY,
                "gather": GATHER,
            }
        )


class Newest(Oldest):
    LOG_ORDER = REVERSE_CHRONOLOGICAL


class RestWorld(World):
    """A world whose stream is one of a REST connector."""

    def connect(self) -> Any:
        made = super().connect()
        API[0].source, API[0].newest_first = self.source, self.setting.newest_first
        kind = Newest if self.setting.newest_first else Oldest
        self.connector = kind(made.configuration, CONTEXT, cache=made._cache, output=made._output)
        self.connector._processors = made._processors
        return self.connector


@pytest.fixture(autouse=True)
def _api(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    # Points come in one order only if no page is ever too slow.
    monkeypatch.setattr(gathering, "MOST_SECONDS", 60.0)
    monkeypatch.setattr(client, "_breaker", client.Breaker())
    API.append(Api())
    yield
    API.pop().close()


HISTORIES = [
    # A first run of several pages, the last of which are saved together with nothing.
    History(Setting(page_size=2), arrives=(3, 1, 4), after=(1,)),
    # Ties over the edges of pages, and of what is saved together; new entries that share the pointer.
    History(Setting(page_size=3, kind="integer", outputs=2), before=(1, 2), arrives=(5, 1), after=()),
    # After a run that the source ended early; for newest-first that leaves an interval.
    # What arrives meanwhile shifts its pages.
    History(Setting(page_size=2, live=True), before=(3,), opened=(1, 6, 2), opened_pages=3, arrives=(2, 1), after=()),
]


@pytest.mark.parametrize("newest_first", [False, True], ids=["oldest_first", "newest_first"])
@pytest.mark.parametrize("number", range(len(HISTORIES)))
def test_nothing_is_lost_or_repeated(number: int, newest_first: bool, shm: Path) -> None:
    history = HISTORIES[number]
    setting = replace(history.setting, newest_first=newest_first)
    tally = Tally()
    every_point(replace(history, setting=setting), shm, tally, seed=number, pairs=0.05, kind=RestWorld)
    assert tally.tried > 50
    assert not tally.failures, f"{len(tally.failures)} of {tally.tried}:\n" + "\n".join(tally.failures[:5])
