"""What is kept about backfills, beside the streams whose past they collect.

Each has state of its own: the keys of its stream, with one more component at the end of their pk. So the live pointer
is never moved, both may run at once, and no two objects have one name. A record beside says which span it is, and
whether all of it has been delivered.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import Any

from blake3 import blake3

from grove.caches import BaseCache, Batch, Key
from grove.connectors.rest import times
from grove.constants import CACHE_KEY_POINTER
from grove.exceptions import ConcurrencyException, DataFormatException, NotFoundException
from grove.helpers import clock
from grove.lease import may_take
from grove.state import StreamState

__all__ = ["Backfill", "begin", "find", "finish", "forget", "listed", "namespace"]

KIND = "backfill"
RECORDS = "backfills"


@dataclass(frozen=True, slots=True)
class Backfill:
    """One span of the past of the document `name`, whose stream has the keys `reference` and `operation`.

    Moments are integers, as in `grove.connectors.rest.times`. Where nobody said when it ends (`open_ended`), `until` is
    when it began. `attempt` tells it from one that was forgotten; `finished` is when the last of it was delivered.
    """

    name: str
    reference: str
    operation: str
    since: int
    until: int
    open_ended: bool = False
    attempt: str = ""
    finished: str | None = None

    @property
    def key(self) -> Key:
        """Where its record lies: under what was asked for, apart from all that belongs to streams."""
        end = "" if self.open_ended else self.until
        span = blake3(f"{self.since} {end}".encode()).hexdigest(8)
        return Key(RECORDS, f"{self.reference}.{span}/{self.operation}")

    @property
    def suffix(self) -> str:
        """The component that its keys have, and its stream's do not."""
        return f"{KIND}-{self.attempt}"

    @property
    def command(self) -> str:
        """The command that begins it, or goes on with it."""
        until = "" if self.open_ended else f" --until {shown(self.until)}"
        return f"grove backfill {self.name} --since {shown(self.since)}{until}"

    def facts(self) -> dict[str, Any]:
        """What programs are told about it."""
        return {
            "name": self.name,
            "since": shown(self.since),
            "until": shown(self.until),
            "state": "unfinished" if self.finished is None else "finished",
            "finished": self.finished,
            "command": self.command,
        }


def shown(moment: int) -> str:
    """A moment as people write it, exactly."""
    form = next(form for form in ("iso", "iso_ms", "iso_us") if form == "iso_us" or times.is_exact(moment, form))
    return str(times.written(moment, form))


def namespace(cache_key: Callable[..., str], backfill: Backfill) -> Callable[..., str]:
    """A connector's own `cache_key`, for the state of `backfill`."""
    return lambda prefix=CACHE_KEY_POINTER: f"{cache_key(prefix)}.{backfill.suffix}"


# --- records ---


def find(cache: BaseCache, asked: Backfill) -> Backfill | None:
    """What is kept of `asked`: with the end that it had when it began. None where it never did."""
    try:
        return _decoded(cache.get(*asked.key))
    except NotFoundException:
        return None


def begin(cache: BaseCache, asked: Backfill) -> Backfill:
    """A record of what is `asked` for; the one that is there where another process was faster."""
    backfill = replace(asked, attempt=secrets.token_hex(8))
    try:
        cache.set(*backfill.key, json.dumps(asdict(backfill)), not_set=True)
    except DataFormatException:
        return find(cache, asked) or begin(cache, asked)
    return backfill


def finish(cache: BaseCache, backfill: Backfill) -> Backfill:
    """Note that all of `backfill` has been delivered."""
    backfill = replace(backfill, finished=clock.datestamp(clock.now()))
    cache.set(*backfill.key, json.dumps(asdict(backfill)))
    return backfill


def listed(cache: BaseCache) -> list[Backfill]:
    """Every backfill that was begun, by name and span. NotImplementedException where the cache cannot list its keys."""
    found = (_decoded(text) for _, text in cache.scan(RECORDS))
    return sorted(found, key=lambda one: (one.name, one.since, one.until))


def _decoded(text: str) -> Backfill:
    return Backfill(**json.loads(text))


def forget(cache: BaseCache, backfill: Backfill, lock_duration: float) -> None:
    """Remove all that is kept of `backfill`; what it has delivered stays where it is.

    ConcurrencyException while it runs, NotImplementedException where the cache cannot list its keys.
    """
    state = StreamState(cache, lambda kind: f"{kind}.{backfill.reference}.{backfill.suffix}", backfill.operation)
    state.load()
    if not may_take(state, lock_duration):
        raise ConcurrencyException(f"This backfill is running. Stop it first: {backfill.command}")
    batch = Batch().delete(backfill.key)
    for key, _ in cache.scan(""):
        if key.pk.endswith(f".{backfill.suffix}"):
            batch.delete(key)
    cache.apply(batch)
