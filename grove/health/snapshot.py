"""What a daemon shows of itself at one moment, taken by any thread without keeping another from its work."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from grove.__about__ import __version__
from grove.health.facts import Facts
from grove.health.standing import BAD, STATES, Standing, judge
from grove.history import Counts
from grove.models import ConnectorConfig

__all__ = ["Snapshot", "Totals", "View"]


@dataclass(slots=True)
class Totals:
    """What a stream has done since this process has it: runs by outcome, and what they committed."""

    runs: Counter[str] = field(default_factory=Counter)
    counts: Counts = field(default_factory=Counts)

    def add(self, outcome: str, counts: Counts) -> None:
        """One more run."""
        self.runs[outcome] += 1
        mine = self.counts
        mine.pages += counts.pages
        mine.entries += counts.entries
        mine.dropped += counts.dropped
        mine.quarantined += counts.quarantined


@dataclass(frozen=True, slots=True)
class View:
    """One stream: its document, what is known of it, since when it is looked after, and what is planned."""

    config: ConnectorConfig
    facts: Facts
    since: datetime
    next_run: datetime | None
    running: bool
    totals: Totals

    def standing(self, now: datetime) -> Standing:
        """How it stands."""
        return judge(self.config, self.facts, now, since=self.since, next_run=self.next_run, running=self.running)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The daemon: its streams with how they stand, its workers, and why it is not ready, if it is not."""

    now: datetime
    started: datetime
    streams: list[tuple[Standing, Totals]]
    waiting_for: tuple[str, ...]
    workers: int
    busy: int
    hanging: int
    document_problems: int

    @classmethod
    def of(cls, now: datetime, views: Iterable[View], **facts: Any) -> Snapshot:
        """From `views`, the worst streams first."""
        return cls(now=now, streams=_sorted((view.standing(now), view.totals) for view in views), **facts)

    @classmethod
    def merged(cls, now: datetime, parts: Sequence[Snapshot], **facts: Any) -> Snapshot:
        """From those of several processes, which have streams of their own and the same documents."""
        return cls(
            now=now,
            streams=_sorted(stream for part in parts for stream in part.streams),
            workers=sum(part.workers for part in parts),
            busy=sum(part.busy for part in parts),
            hanging=sum(part.hanging for part in parts),
            document_problems=max((part.document_problems for part in parts), default=0),
            **facts,
        )

    @property
    def states(self) -> dict[str, int]:
        """How many streams are in each state."""
        found = Counter(standing.state for standing, _ in self.streams)
        return {state: found[state] for state in STATES}

    def as_json(self, search: str = "", limit: int | None = None) -> dict[str, Any]:
        """What `/status.json` says: everything, or the first `limit` of the streams that have `search` in them."""
        standings = [standing for standing, _ in self.streams]
        if search:
            standings = [standing for standing in standings if _matches(standing.config, search.casefold())]
        return {
            "version": __version__,
            "time": _text(self.now),
            "started": _text(self.started),
            "ready": not self.waiting_for,
            "waiting_for": list(self.waiting_for),
            "well": not any(standing.state in BAD for standing, _ in self.streams),
            "states": self.states,
            "workers": {"count": self.workers, "busy": self.busy, "hanging": self.hanging},
            "document_problems": self.document_problems,
            "matching": len(standings),
            "streams": [standing.as_json() for standing in standings[:limit]],
        }


def _sorted(streams: Iterable[tuple[Standing, Totals]]) -> list[tuple[Standing, Totals]]:
    """The worst first."""
    order = {state: number for number, state in enumerate(STATES)}
    return sorted(streams, key=lambda stream: (order[stream[0].state], stream[0].config.name))


def _matches(config: ConnectorConfig, search: str) -> bool:
    texts = (config.name, config.connector, config.identity, config.operation)
    return any(search in text.casefold() for text in texts)


def _text(moment: datetime) -> str:
    return f"{moment.replace(tzinfo=None).isoformat(timespec='milliseconds')}Z"
