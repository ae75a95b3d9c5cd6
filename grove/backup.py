"""Everything that a cache remembers, as one JSON file, and back: into the same cache, or into one of another kind.

A file holds each stream as it was at one moment. Restoring takes the stream's lease, finishes what it had pending, and
replaces all of it in one commit, whose sequence is above that of the cache and of the file: no object's name is used
twice, and a process that still had the stream is refused.
"""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import orjson

from grove.__about__ import __version__
from grove.caches import BaseCache, Key
from grove.collection import Collection, Stream
from grove.constants import CACHE_KEY_LAST, CACHE_KEY_LOCK, CACHE_KEY_POINTER, PLUGIN_GROUP_CONNECTOR
from grove.exceptions import ConflictError, DataFormatException, NotImplementedException
from grove.helpers import clock, files, plugin
from grove.models import ConnectorConfig
from grove.outputs import BaseOutput
from grove.runtime import construct
from grove.state import EPOCH, KINDS, LEASE, PENDING, REFRESH_TOKEN, SEQUENCE, STORE

__all__ = [
    "Backup",
    "Held",
    "StreamId",
    "adopt",
    "collection_of",
    "foreign_deliveries",
    "held",
    "is_token",
    "of_cache",
    "of_run",
    "of_streams",
    "restore",
    "save",
]

FORMAT = "grove-state"
VERSION = 1

FOLDER = "backups"
"""Where in a cache's directory the backups lie that commands make."""

NOT_SAVED = frozenset((CACHE_KEY_LOCK,))
"""What belongs to a process, and not to its stream."""

OF_THE_CACHE = frozenset((EPOCH, SEQUENCE, LEASE))
"""What restoring does not simply replace."""


class StreamId(NamedTuple):
    """What tells a stream's keys from others': all that follows the kind, and the operation."""

    reference: str
    operation: str

    @classmethod
    def of(cls, key: Key) -> StreamId | None:
        """The stream that a key belongs to; None for one that belongs to no stream."""
        _, dot, reference = key.pk.partition(".")
        return cls(reference, key.sk) if dot and reference else None

    def key(self, kind: str) -> Key:
        """Where the fact of that kind lies."""
        return Key(f"{kind}.{self.reference}", self.operation)

    def __str__(self) -> str:
        return f"{self.reference}/{self.operation}"


@dataclass(slots=True)
class Backup:
    """What a file holds: facts by kind, for each stream, and the store and host that they come from."""

    store: str | None
    host: str
    streams: dict[StreamId, dict[str, str]] = field(default_factory=dict)

    def encode(self) -> bytes:
        """The file's content."""
        streams = [
            {"reference": stream.reference, "operation": stream.operation, "facts": facts}
            for stream, facts in sorted(self.streams.items())
        ]
        document = {
            "format": FORMAT,
            "version": VERSION,
            "grove": __version__,
            "saved": clock.datestamp(clock.now()),
            "host": self.host,
            "store": self.store,
            "streams": streams,
        }
        try:
            return orjson.dumps(document, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)
        except orjson.JSONEncodeError as err:
            raise DataFormatException(f"The state cannot be written as JSON: {err}.") from err

    @classmethod
    def decode(cls, data: bytes, source: str) -> Backup:
        """What `encode` wrote; DataFormatException, which names `source`, where it is none."""
        try:
            document = orjson.loads(data)
            if document["format"] != FORMAT:
                raise ValueError
            version = document["version"]
            if version != VERSION:
                raise DataFormatException(
                    f"{source} has version {version!r} of the format; this Grove reads {VERSION}."
                )
            found = cls(document["store"], str(document["host"]))
            for stream in document["streams"]:
                facts = {str(kind): value for kind, value in stream["facts"].items()}
                if not all(isinstance(value, str) for value in facts.values()):
                    raise ValueError
                found.streams[StreamId(str(stream["reference"]), str(stream["operation"]))] = facts
        except (ValueError, KeyError, TypeError, AttributeError):
            raise DataFormatException(
                f"{source} is not a file that `grove state export` wrote, or not all of it."
            ) from None
        return found


# --- saving ---


def of_cache(cache: BaseCache, *, tokens: bool) -> tuple[Backup, int]:
    """All that `cache` holds, each stream as it was at one moment, and how many refresh tokens were left out.

    With `tokens` none are: they are secrets, and stored as they are. NotImplementedException where the cache cannot
    list its keys.
    """
    left_out = 0
    keys: dict[StreamId, list[Key]] = {}
    for key, _ in cache.scan(""):
        stream = StreamId.of(key)
        if stream is not None and is_token(key) and not tokens:
            left_out += 1
        elif stream is not None:
            keys.setdefault(stream, []).append(key)
    return of_streams(cache, keys), left_out


def of_streams(cache: BaseCache, streams: Mapping[StreamId, Iterable[Key]]) -> Backup:
    """What `cache` holds under the keys of `streams`."""
    saved = {stream: [key for key in keys if _kind(key) not in NOT_SAVED] for stream, keys in streams.items()}
    facts = {stream: _read(cache, keys) for stream, keys in saved.items()}
    return Backup(_store(cache), socket.gethostname(), facts)


def of_run(run: Collection) -> Backup:
    """The stream that `run` holds."""
    cache, state = run.state.cache, run.state
    kinds = [kind for kind in (*KINDS, CACHE_KEY_LAST) if kind not in NOT_SAVED and kind != LEASE]
    keys = [*(state.key(kind) for kind in kinds), *state.lookback(1.0).records()]
    stream = StreamId.of(state.key(CACHE_KEY_POINTER)) or StreamId(state.key(CACHE_KEY_POINTER).pk, state.operation)
    return Backup(_store(cache), socket.gethostname(), {stream: _read(cache, keys)})


def save(backup: Backup, cache: BaseCache, occasion: str) -> Path:
    """Write `backup` beside its cache, and return where; `occasion` is a part of the name.

    A cache without a directory of this host has its backups below the directory in which the process runs.
    AccessException where they cannot be written.
    """
    folder = (cache.directory or Path.cwd() / "grove-state") / FOLDER
    name = f"{clock.now():%Y%m%dT%H%M%S%fZ}-{os.getpid()}-{occasion}.json"
    path = folder / files.safe_component(name)
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        files.write_new(path, backup.encode())
        files.sync_directory(folder)
    except OSError as err:
        raise files.disk_error(err, path) from err
    return path


def _store(cache: BaseCache) -> str | None:
    return cache.read([STORE])[0]


def _kind(key: Key) -> str:
    return key.pk.partition(".")[0]


def is_token(key: Key) -> bool:
    """Whether a refresh token lies there, which belongs to credentials and not to a stream."""
    return _kind(key) == REFRESH_TOKEN


def _read(cache: BaseCache, keys: list[Key]) -> dict[str, str]:
    values = zip(keys, cache.read(keys), strict=True)
    return {_kind(key): value for key, value in sorted(values) if value is not None}


# --- holding a stream ---


@dataclass(frozen=True, slots=True)
class Held:
    """A stream that this process holds; `order` is its connector's, None where no document names one."""

    run: Collection
    order: str | None


@contextlib.contextmanager
def held(
    cache: BaseCache, output: BaseOutput, stream: StreamId, config: ConnectorConfig | None, lock_duration: float
) -> Iterator[Held]:
    """The stream, under its lease, with nothing pending; `config` is its document, where it has one.

    ConcurrencyException where it is being collected.
    """
    run, order = collection_of(cache, output, stream, config, lock_duration)
    run.take()
    try:
        yield Held(run, order)
    except BaseException as err:
        run.fail(err)
        raise
    finally:
        if run.lease is not None:
            run.end({})


def collection_of(
    cache: BaseCache, output: BaseOutput, stream: StreamId, config: ConnectorConfig | None, lock_duration: float
) -> tuple[Collection, str | None]:
    """The stream's collection, which holds no lease yet, and its order; `config` as for `held`."""
    if config is None:
        return Collection(cache, output, _unconfigured(stream, lock_duration), {"stream": str(stream)}), None
    kind = plugin.load_class(config.connector, PLUGIN_GROUP_CONNECTOR)
    connector = construct(kind, config.model_copy(update={"processors": []}), {}, cache, output)
    return connector._collection(), connector.LOG_ORDER


def _unconfigured(stream: StreamId, lock_duration: float) -> Stream:
    return Stream(
        connector=stream.reference,
        identity="",
        operation=stream.operation,
        name=str(stream),
        key_of=lambda kind: stream.key(kind).pk,
        # Nothing is written, so there is nothing to name; what may have been left is swept once it is configured.
        descriptors=(),
        lock_duration=lock_duration,
        run_timeout=lock_duration,
    )


# --- restoring ---


def restore(run: Collection, facts: Mapping[str, str], present: Iterable[Key]) -> None:
    """Replace all that is remembered of the stream that `run` holds; `present` are the keys that it has by now.

    Its lease is given back: what an attempt before the backup may have left is swept by the next run.
    """
    state, lease = run.state, run.lease
    assert lease is not None, "only a stream that is held can be restored"
    changes: dict[Key, str | None] = {key: None for key in present if _kind(key) not in OF_THE_CACHE | NOT_SAVED}
    for kind, value in facts.items():
        if kind not in OF_THE_CACHE | NOT_SAVED:
            changes[state.key(kind)] = value
    state.sequence = max(state.sequence, _number(facts.get(SEQUENCE)))
    state.commit({}, changes)
    run.lease = None
    lease.give_back({LEASE: facts.get(LEASE)}, clean=False)


def adopt(cache: BaseCache, backup: Backup) -> None:
    """Make an empty store the one that `backup` was taken from. DataFormatException where it is another one.

    So objects keep their names, and what an attempt left is recognised.
    """
    if backup.store is None or _store(cache) == backup.store:
        return
    with contextlib.suppress(ConflictError):
        if _store(cache) is None and _is_empty(cache):
            cache.set(*STORE, backup.store, not_set=True)
    found = _store(cache)
    if found != backup.store:
        raise DataFormatException(
            f"The file was saved from the store {backup.store}, and this cache is the store {found}. "
            "Import into that cache, or into an empty one."
        )


def _is_empty(cache: BaseCache) -> bool:
    try:
        return next(iter(cache.scan("")), None) is None
    except NotImplementedException:
        return True


def _number(text: str | None) -> int:
    try:
        return int(text or 0)
    except ValueError:
        return 0


def foreign_deliveries(backup: Backup) -> list[StreamId]:
    """The streams with a delivery that only the host can finish on which the file was saved, where that is another."""
    if backup.host == socket.gethostname():
        return []
    return [stream for stream, facts in backup.streams.items() if PENDING in facts]
