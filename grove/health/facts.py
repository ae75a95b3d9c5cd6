"""What the cache holds of streams, as far as it is to be shown: read many at a time, from any process."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from grove.caches import BaseCache, Key
from grove.connectors import BaseConnector
from grove.constants import CACHE_KEY_LAST, CACHE_KEY_LOCK, CACHE_KEY_POINTER, PLUGIN_GROUP_CONNECTOR
from grove.exceptions import CorruptStateError, GroveException
from grove.helpers import clock, plugin
from grove.history import History
from grove.lease import Record, owner
from grove.models import ConnectorConfig
from grove.outputs import BaseOutput
from grove.runtime import construct, keys_itself, state_key
from grove.state import HISTORY, LEASE

__all__ = ["Facts", "KeyOf", "key_of", "keys_at", "last_run", "of_connector", "read"]

KINDS = (HISTORY, CACHE_KEY_POINTER, CACHE_KEY_LAST, CACHE_KEY_LOCK, LEASE)

CHUNK = 20
"""Streams that are read at a time: a hundred keys are what one request to DynamoDB takes."""

KeyOf = Callable[[str], Key]
"""Where a stream keeps a fact of some kind."""


@dataclass(frozen=True, slots=True)
class Facts:
    """One stream, as the cache has it.

    `last` is when its last run began that was not stopped, which older versions keep too. While somebody holds it,
    `holder` names the process, and `expires` says until when, unless it is renewed. `damage` says why its state cannot
    be read.
    """

    history: History | None = None
    pointer: str | None = None
    last: datetime | None = None
    holder: str = ""
    expires: datetime | None = None
    damage: str = ""


class _Nowhere(BaseOutput):
    """For a connector that is asked for its keys only."""

    def submit(self, *args: Any, **kwargs: Any) -> None:
        """Never called."""


def key_of(config: ConnectorConfig, cache: BaseCache) -> KeyOf:
    """Where the stream of a document keeps its facts. Errors are those of a connector that has keys of its own."""
    if keys_itself(config):
        kind = plugin.load_class(config.connector, PLUGIN_GROUP_CONNECTOR)
        bare = config.model_copy(update={"processors": []})
        return _keys_of(construct(kind, bare, {}, cache, _Nowhere()))
    return keys_at(*state_key(config))


def keys_at(reference: str, operation: str) -> KeyOf:
    """Where a stream keeps its facts that has this part of its keys to itself."""
    return lambda kind: Key(f"{kind}.{reference}", operation)


def _keys_of(connector: BaseConnector) -> KeyOf:
    return lambda kind: Key(connector.cache_key(kind), connector.operation)


def of_connector(connector: BaseConnector) -> Facts | None:
    """What the cache holds of a connector's stream; None where it does not answer."""
    try:
        (found,) = read(connector._cache, [_keys_of(connector)])
    except GroveException:
        return None
    return found


def last_run(connector: BaseConnector, known: datetime | None) -> tuple[datetime | None, Facts | None]:
    """When a connector's stream ran last, and the facts of one that has run elsewhere since `known`: in one read.

    Errors are the cache's.
    """
    cache, place = connector._cache, _keys_of(connector)
    values = cache.read([place(kind) for kind in KINDS])
    last = _moment(values[KINDS.index(CACHE_KEY_LAST)], clock.parse_datestamp)
    return last, None if last == known else _facts(cache, *values)


def read(cache: BaseCache, streams: Sequence[KeyOf]) -> Iterator[Facts]:
    """What the cache holds of `streams`, in that order. AccessException where it does not answer."""
    for start in range(0, len(streams), CHUNK):
        yield from _read(cache, streams[start : start + CHUNK])


def _read(cache: BaseCache, streams: Sequence[KeyOf]) -> Iterator[Facts]:
    try:
        values = cache.read([place(kind) for place in streams for kind in KINDS])
    except CorruptStateError as err:
        if len(streams) == 1:
            yield Facts(damage=str(err))
            return
        for stream in streams:
            yield from _read(cache, [stream])
        return
    for index in range(0, len(values), len(KINDS)):
        yield _facts(cache, *values[index : index + len(KINDS)])


def _facts(
    cache: BaseCache, history: str | None, pointer: str | None, last: str | None, lock: str | None, lease: str | None
) -> Facts:
    holder, expires = _held(cache, lock, lease)
    if pointer == "":
        return Facts(damage="The cached pointer is empty: restore the cache from a backup, or reset the stream.")
    return Facts(History.decode(history), pointer, _moment(last, clock.parse_datestamp), holder, expires)


def _held(cache: BaseCache, lock: str | None, lease: str | None) -> tuple[str, datetime | None]:
    """Who holds a stream, and until when; nobody where the lock has run out, or its process has certainly ended."""
    expires = _moment(lock, clock.parse_lock_date)
    if expires is None or clock.seconds_until(expires) < 0:
        return "", None
    record = Record.decode(lease)
    if record is None:
        return "unknown", expires
    if owner().has_ended(record, cache.directory):
        return "", None
    return record.owner, expires


def _moment(text: str | None, parse: Callable[[str], datetime]) -> datetime | None:
    if text is None:
        return None
    try:
        return parse(text)
    except ValueError:
        return None
