"""The configuration of a process that stays: loaded from a thread of its own, for the backend may not answer."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from grove.caches import BaseCache
from grove.exceptions import ConfigurationException, GroveException
from grove.health.facts import Facts, keys_at, read
from grove.models import ConnectorConfig
from grove.recovery import recover_unconfigured
from grove.runtime import Documents, DocumentSource, Handlers, Settings, keys_itself, state_key

__all__ = ["Loaded", "Loader", "NotLoaded", "StreamKey", "known_facts", "stream_key", "unique"]

logger = logging.getLogger(__name__)

StreamKey = tuple[str, ...]
"""What a stream's state is kept under: two documents with one key are one stream."""


@dataclass(frozen=True, slots=True)
class Loaded:
    """Every stream of this process, what is known of those that are new, and how many documents are unusable.

    `elsewhere` says that there are more, which other processes collect.
    """

    streams: dict[StreamKey, ConnectorConfig]
    facts: dict[StreamKey, Facts] = field(default_factory=dict)
    problems: int = 0
    elsewhere: bool = False


@dataclass(frozen=True, slots=True)
class NotLoaded:
    """Why nothing could be loaded; `fatal` where trying again would be no use."""

    error: BaseException
    fatal: bool = False


class Loader:
    """Opens the shared handlers, then loads documents whenever it is asked; sends `Loaded` or `NotLoaded`."""

    def __init__(self, settings: Settings, send: Callable[[Loaded | NotLoaded], None]) -> None:
        self._settings = settings
        self._send = send
        self._source: DocumentSource | None = None
        self._handlers: Handlers | None = None
        self._refused: set[tuple[str, str]] = set()
        self._recovered = False
        self._thread: threading.Thread | None = None

    @property
    def handlers(self) -> Handlers:
        """The cache and the output; only once something was loaded."""
        assert self._handlers is not None, "handlers are open once something was loaded"
        return self._handlers

    @property
    def alive(self) -> bool:
        """Whether its thread is still at work."""
        return self._thread is not None and self._thread.is_alive()

    def start(self, current: Mapping[StreamKey, str]) -> None:
        """Load, in the background. `current` are the names of the documents that are in use, by key."""
        self._thread = threading.Thread(target=self._run, args=(current,), name="grove-documents", daemon=True)
        self._thread.start()

    def _run(self, current: Mapping[StreamKey, str]) -> None:
        try:
            source, handlers = self._open()
        except BaseException as err:
            # Settings do not change while the process runs.
            self._send(NotLoaded(err, fatal=isinstance(err, ConfigurationException)))
            return
        try:
            documents = source.load()
            loaded = self._load(documents, handlers, current)
        except BaseException as err:
            self._send(NotLoaded(err))
            return
        self._send(loaded)
        if not self._recovered and self._settings.share.leads:
            self._recovered = True
            configured = {state_key(config) for config in documents.streams}
            recover_unconfigured(handlers.cache, handlers.output, configured, self._settings.lock_duration)

    def _open(self) -> tuple[DocumentSource, Handlers]:
        if self._source is None:
            self._source = DocumentSource(self._settings)
        if self._handlers is None:
            self._handlers = Handlers(self._settings)
        return self._source, self._handlers

    def _load(self, documents: Documents, handlers: Handlers, current: Mapping[StreamKey, str]) -> Loaded:
        share = self._settings.share
        streams, refused = unique((c for c in documents.streams if share.has(stream_key(c))), current)
        for name, other in refused - self._refused:
            logger.error(
                "A document is not collected, because another one has the same state.",
                extra={"stream": name, "other": other},
            )
        self._refused = refused
        new = {key: config for key, config in streams.items() if key not in current}
        facts = known_facts(handlers.cache, new)
        return Loaded(streams, facts, len(documents.problems), elsewhere=len(documents.streams) > len(streams))


def stream_key(config: ConnectorConfig) -> StreamKey:
    """What tells this stream from others. A connector that keeps its state apart by itself is trusted to do so."""
    key = state_key(config)
    return (*key, config.name) if keys_itself(config) else key


def unique(
    documents: Iterable[ConnectorConfig], current: Mapping[StreamKey, str]
) -> tuple[dict[StreamKey, ConnectorConfig], set[tuple[str, str]]]:
    """One document for each stream, by key, and the names of those left out, each with the one that is collected.

    The one whose name is in `current` stays; otherwise the first.
    """
    found: dict[StreamKey, ConnectorConfig] = {}
    refused = set()
    for config in documents:
        key = stream_key(config)
        other = found.setdefault(key, config)
        if other is config:
            continue
        running = current.get(key)
        if running == config.name and running != other.name:
            found[key], other, config = config, config, other
        refused.add((config.name, other.name))
    return found, refused


def known_facts(cache: BaseCache, streams: Mapping[StreamKey, ConnectorConfig]) -> dict[StreamKey, Facts]:
    """What the cache has of `streams`; of one whose state has keys of its own, its run will tell.

    Where the cache does not answer nothing is known: each stream's own run will say so.
    """
    plain = [key for key in streams if len(key) == 2]
    found: dict[StreamKey, Facts] = {}
    try:
        for key, facts in zip(plain, read(cache, [keys_at(*key) for key in plain]), strict=True):
            found[key] = facts
    except GroveException as err:
        logger.warning("The last runs could not be read from the cache.", extra={"exception": str(err)})
    return found
