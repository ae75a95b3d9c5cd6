"""A made-up source and the connectors that collect it: what was offered is known, so what arrives can be judged."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from grove.connectors import BaseConnector
from grove.constants import CHRONOLOGICAL, REVERSE_CHRONOLOGICAL
from grove.exceptions import NotFoundException
from grove.models import ConnectorConfig

BASE = datetime(2025, 3, 30, 0, 59, 0, tzinfo=UTC)


def pointer_of(rank: int, kind: str) -> Any:
    """The pointer of the moment `rank`, as an integer or as text."""
    if kind == "integer":
        return 1_743_296_340 + rank
    return (BASE + timedelta(seconds=rank)).strftime("%Y-%m-%dT%H:%M:%SZ")


@dataclass
class Source:
    """An API with an inclusive lower bound. `entries` are (rank, id) in the order in which they came to be.

    `live` pages by offset over whatever is there at that moment, so that arrivals shift what is newest first;
    otherwise a collection sees what was there when it began. `before_page` is called with each page's number.
    """

    kind: str = "iso"
    page_size: int = 3
    live: bool = False
    entries: list[tuple[int, int]] = field(default_factory=list)
    before_page: Callable[[int], None] = lambda number: None

    def add(self, *ranks: int) -> None:
        for rank in ranks:
            self.entries.append((rank, len(self.entries)))

    @property
    def newest(self) -> int:
        return max((rank for rank, _ in self.entries), default=0)

    def arrive(self, groups: list[int]) -> None:
        """New entries: as many ties per new moment as `groups` says."""
        rank = self.newest
        for ties in groups:
            rank += 1
            self.add(*[rank] * ties)

    def tie(self, count: int = 1) -> None:
        """More entries with the newest pointer there is."""
        self.add(*[self.newest] * count)

    def query(self, since: str | None, newest_first: bool) -> list[dict[str, Any]]:
        found = [
            (rank, number)
            for rank, number in self.entries
            if since is None or _not_before(pointer_of(rank, self.kind), since)
        ]
        found.sort(reverse=newest_first)
        return [{"id": number, "at": pointer_of(rank, self.kind), "what": f"event {number}"} for rank, number in found]

    def pages(self, since: str | None, newest_first: bool) -> Iterator[list[dict[str, Any]]]:
        number = offset = 0
        everything = self.query(since, newest_first)
        while True:
            self.before_page(number)
            if self.live:
                everything = self.query(since, newest_first)
            page = everything[offset : offset + self.page_size]
            if not page:
                return
            yield page
            offset += len(page)
            number += 1

    def pointer(self) -> str:
        """What the stream's pointer has to be once everything has been collected."""
        return str(pointer_of(self.newest, self.kind))


def _not_before(pointer: Any, since: str) -> bool:
    return pointer >= (int(since) if isinstance(pointer, int) else since)


class Halves:
    """A processor that makes two entries of one."""

    configuration = ()

    def process(self, entry: dict[str, Any]) -> list[dict[str, Any]]:
        return [{**entry, "half": half} for half in (0, 1)]

    def finalize(self) -> None:
        pass


class Oldest(BaseConnector):
    """Collects a `Source`, oldest entry first."""

    CONNECTOR = "made_up"
    POINTER_PATH = "at"
    LOG_ORDER = CHRONOLOGICAL
    source: Source
    script: Callable[[BaseConnector, int], None] | None = None

    def collect(self) -> None:
        try:
            since: str | None = self.since if self.configuration.lookback else self.pointer
        except NotFoundException:
            since = None
        number = -1
        for number, page in enumerate(self.source.pages(since, self.LOG_ORDER == REVERSE_CHRONOLOGICAL)):
            if self.script:
                self.script(self, number)
            self.save(page)
        if self.script:
            self.script(self, number + 1)


class Newest(Oldest):
    """Collects a `Source`, newest entry first."""

    LOG_ORDER = REVERSE_CHRONOLOGICAL


def document(**fields: Any) -> ConnectorConfig:
    return ConnectorConfig(
        **{"name": "test", "identity": "corp", "connector": "made_up", "key": "k", "outputs": {"logs": "raw"}, **fields}
    )


BOTH = {"logs": "raw", "processed": "processed"}
CONTEXT = {"runtime": "test", "runtime_id": "1", "runtime_host": "host"}
